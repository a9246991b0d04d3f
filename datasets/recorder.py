"""Records episodes while they happen: a control loop hands over its steps, threads encode and write them, and the loop never waits."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robolearn.datasets.layout import ACTION, REWARD, SIM_STATE, Ended, StoreError, array_dtypes, array_shapes, fitted
from robolearn.datasets.store import DemoStore
from robolearn.datasets.unfinished import Row, Unfinished
from robolearn.errors import UserError
from robolearn.provenance import describe
from robolearn.spec import SpecError

log = logging.getLogger(__name__)

QUEUE_BYTES = 256 << 20  # 18 s of two cameras of 240 x 320 at 30 Hz
CLOCK = "timestamp"  # an observation of this name is filled in: seconds since the episode's first step
WHEN_FULL = ("wait", "raise")


@dataclass(frozen=True)
class Report:
    """What recording came to, over all episodes so far.

    Args:
        episodes: committed.
        steps: handed over; none is ever dropped from an episode that is committed.
        frames: images encoded.
        deepest_queue: the most steps that waited at once.
        deepest_queue_bytes: and bytes.
        waits: calls of ``add`` that found the queue full.
        waited_s: time they waited, in all [s].
        longest_add_s: the slowest call of ``add`` [s].
        busy_s: time that encoding and writing took [s].
    """

    episodes: int = 0
    steps: int = 0
    frames: int = 0
    deepest_queue: int = 0
    deepest_queue_bytes: int = 0
    waits: int = 0
    waited_s: float = 0.0
    longest_add_s: float = 0.0
    busy_s: float = 0.0


class Recorder:
    """``begin``, ``add`` every step, then ``end`` or ``discard``; usable as a context, which discards what was not ended.

    Steps wait in a bounded queue for a thread that encodes and writes them while the episode goes on; what is written lies behind
    the last commit until :meth:`end`, so a crash loses the episode at hand and nothing else.

    Args:
        store: open for appending; while an episode is at hand, nothing else is added to it.
        queue_bytes: the most that may wait to be written.
        when_full: ``wait`` until there is room, which the report counts, or ``raise`` a ``StoreError``, the step not being taken.
    """

    def __init__(self, store: DemoStore, *, queue_bytes: int = QUEUE_BYTES, when_full: str = "wait") -> None:
        if when_full not in WHEN_FULL:
            raise UserError(f"when_full takes {' or '.join(WHEN_FULL)}, got {when_full!r}")
        if not isinstance(store.path, Path):
            raise StoreError(f"{store.path} is not recorded to; record into a directory, then `robolearn data copy` puts it there")
        store.require_writable()
        self.store, self.report = store, Report()
        self._dtypes, self._shapes = array_dtypes(store.env_spec), array_shapes(store.env_spec)
        self._images = sum(dtype.kind == "u" and len(self._shapes[name]) >= 2 for name, dtype in self._dtypes.items())
        least = sum(int(np.prod(self._shapes[name])) * dtype.itemsize for name, dtype in self._dtypes.items())
        if queue_bytes < least:
            raise UserError(f"queue_bytes must hold a step, {least} bytes; got {queue_bytes}")
        self._most, self._when_full = queue_bytes, when_full
        self._steps: collections.deque[tuple[Row, int]] = collections.deque()
        self._waiting = 0  # bytes in the queue, or being written
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._provenance: dict[str, Any] | None = None  # of the episode at hand
        self._unfinished: Unfinished | None = None
        self._began = 0.0
        self._added, self._rewarded, self._closing = 0, False, False
        self._worker = threading.Thread(target=self._work, name="recorder", daemon=True)
        self._worker.start()

    # -- the loop's side ---------------------------------------------------------------------------------------------

    def begin(self, source: str = "teleop", **provenance: Any) -> None:
        """Start an episode; what is known of its origin (``operator``, ``seed``, ``note``, ...) is given by keyword.

        Raises:
            StoreError: one is going on, here or in another recorder, or the recorder or its store is closed.
            UserError: a source that there is not.
        """
        self._require_running()
        if self._provenance is not None:
            raise StoreError("an episode is being recorded; end() or discard() it before the next begin()")
        known = describe(source, **{"task": self.store.env_spec.task, **provenance})
        self.store.claim()
        self._provenance = known
        self._added, self._rewarded = 0, False

    def add(self, observation: Mapping[str, ArrayLike], action: ArrayLike, *, reward: float | None = None, **extras: ArrayLike) -> None:
        """Hand over a step: what was seen, then what was done. Copies, and returns; neither the disk nor a codec is waited for.

        Args:
            observation: ``{name: (...)}``; ``timestamp``, where the spec has one, is filled in unless given.
            action: ``(A,)``.
            reward: 0 unless given; where no step of a success has one, its last gets 1.
            extras: the spec's extra arrays, and ``sim_state`` (at every step or at none).

        Raises:
            SpecError: the step does not fit the store's spec, or holds NaN (extras may); it is not taken, the episode may go on.
            StoreError: no episode was begun, the recorder or its store is closed, writing failed (the episode is lost, those
                committed are whole), or the queue is full with ``when_full=raise`` (the step is not taken).
        """
        started = time.monotonic()
        self._require_running()
        if self._provenance is None:
            raise StoreError("no episode was begun; call begin() first")
        self._began = started if self._added == 0 else self._began
        values = {CLOCK: np.full(self._shapes[CLOCK], started - self._began)} if CLOCK in self._dtypes and CLOCK not in observation else {}
        row = self._checked({**values, **observation, **extras, ACTION: action, REWARD: 0.0 if reward is None else reward})
        self._enqueue(row, sum(entry.nbytes for entry in row.values()))
        self._added += 1
        self._rewarded = self._rewarded or reward is not None
        self._count(steps=1, frames=self._images)
        self.report = replace(self.report, longest_add_s=max(self.report.longest_add_s, time.monotonic() - started))

    def end(self, *, success: bool, terminated: bool | None = None, truncated: bool = False, **provenance: Any) -> int:
        """Commit the episode; when this returns, it survives a crash. Returns its index.

        Args:
            success: the task was solved.
            terminated: the task itself ended; as ``success`` unless given.
            truncated: a time limit cut it.
            provenance: what came to be known meanwhile, such as ``note`` or ``failure_step``.

        Raises:
            StoreError: nothing was recorded, or writing failed: the episode is lost, those committed are whole.
        """
        if self._provenance is None or not self._added:
            raise StoreError("there is no step to commit; begin() an episode and add() to it, or discard() it")
        try:
            self._drain()
            assert self._unfinished is not None
            ended = Ended(success, success if terminated is None else terminated, truncated)
            known = {**self._provenance, **provenance}
            index = self._unfinished.commit(ended, known, last_reward=1.0 if success and not self._rewarded else None)
        finally:
            self._forget()
        self._count(episodes=1)
        if self.report.waits:
            log.warning(
                "%s: the loop waited %d times, %.2f s in all, for the recorder", self.store.path, self.report.waits, self.report.waited_s
            )
        return index

    def discard(self) -> None:
        """Forget the episode at hand; its rows are removed. Harmless where there is none."""
        self._forget()

    def close(self) -> None:
        """Discard what was not ended, remove what it left, and stop the thread; the store stays open."""
        if self._closing:
            return
        self.discard()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._worker.join()
        self.store.tidy()

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _require_running(self) -> None:
        if self._closing:
            raise StoreError(f"{self.store.path}: the recorder is closed; make another Recorder")

    def _checked(self, values: Mapping[str, ArrayLike]) -> dict[str, NDArray[Any]]:
        """The row's arrays, copied, of the store's types."""
        row = {}
        for name, dtype in self._dtypes.items():
            if name not in values:
                raise SpecError(f"{name!r} is missing; expected {sorted(self._dtypes)}, got {sorted(values)}")
            value = np.asarray(values[name])
            if value.shape != self._shapes[name] or not np.can_cast(value.dtype, dtype, "same_kind"):
                raise SpecError(f"{name!r} is {value.dtype} of shape {value.shape}, expected {dtype} of shape {self._shapes[name]}")
            row[name] = np.array(fitted(name, value, dtype), order="C")
        if SIM_STATE in values:
            row[SIM_STATE] = np.array(values[SIM_STATE], np.float64)
            if row[SIM_STATE].ndim != 1:
                raise SpecError(f"sim_state has shape {row[SIM_STATE].shape}, expected (S,)")
        for name in values.keys() - row.keys():
            raise SpecError(f"{name!r} is not in the store's spec; it has {sorted(self._dtypes)}")
        for name, value in row.items():
            if value.dtype.kind == "f" and name not in self.store.env_spec.extras and not np.isfinite(value).all():
                raise SpecError(f"{name!r} holds NaN or infinity at step {self._added}")
        return row

    def _enqueue(self, row: Row, size: int) -> None:
        with self._changed:
            if not self._has_room(size) and self._error is None:
                self._count(waits=1)
                if self._when_full == "raise":
                    raise StoreError(
                        f"{self.store.path}: {len(self._steps)} steps wait to be written, all that queue_bytes={self._most} holds; "
                        "record fewer or smaller pictures, take image_codec=jpeg, or a faster disk"
                    )
                started = time.monotonic()
                self._changed.wait_for(lambda: self._has_room(size) or self._error is not None)
                self._count(waited_s=time.monotonic() - started)
            if self._error is not None:
                error = self._error
                self._forget()
                raise error
            self._steps.append((row, size))
            self._waiting += size
            deepest = max(self.report.deepest_queue, len(self._steps)), max(self.report.deepest_queue_bytes, self._waiting)
            self.report = replace(self.report, deepest_queue=deepest[0], deepest_queue_bytes=deepest[1])
            self._changed.notify_all()

    def _has_room(self, size: int) -> bool:
        return self._waiting == 0 or self._waiting + size <= self._most

    def _drain(self) -> None:
        """Wait until every step is with the unfinished episode; raise what went wrong."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting == 0 or self._error is not None)
            if self._error is not None:
                raise self._error

    def _forget(self) -> None:
        """No episode is at hand any more, and the thread is idle."""
        with self._changed:
            self._waiting -= sum(size for _, size in self._steps)
            self._steps.clear()
            self._changed.wait_for(lambda: self._waiting == 0)
            if self._provenance is not None:
                self.store.unclaim()
            self._provenance = self._unfinished = self._error = None

    def _count(self, **more: float) -> None:
        with self._changed:
            self.report = replace(self.report, **{name: getattr(self.report, name) + value for name, value in more.items()})

    # -- the thread's side -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._steps) or self._closing)
                if self._closing:
                    return
                row, size = self._steps.popleft()
            started = time.monotonic()
            error = self._error or _caught(lambda row=row: self._write(row))  # type: ignore[misc]
            with self._changed:
                self._waiting -= size
                self._error = error
                self._count(busy_s=time.monotonic() - started)
                self._changed.notify_all()

    def _write(self, row: Row) -> None:
        if self._unfinished is None:
            self._unfinished = Unfinished(self.store, row)
        self._unfinished.add(row)


def _caught(task: Callable[[], None]) -> BaseException | None:
    try:
        task()
    except BaseException as error:
        return error
    return None
