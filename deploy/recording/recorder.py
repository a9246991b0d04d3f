"""Records a run from the command process without ever holding it up: another process writes the messages, episodes and events."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.deploy.recording.episodes import INTERVENTION, with_intervention
from robolearn.deploy.recording.ledger import Ledger, Outcome, Problem
from robolearn.deploy.recording.link import SILENT, Link
from robolearn.deploy.recording.outbox import Dropped, Message, Order, Outbox
from robolearn.errors import UserError, check_positive
from robolearn.run import jsonable, write_whole
from robolearn.spec import EnvSpec

if TYPE_CHECKING:
    from robolearn.deploy.transport.base import Received

EVENTS = "events.jsonl"
START = 60.0  # [s] that the process may take to open a store


class Recorder:
    """Everything of a run: raw messages in ``run.mcap``, episodes in a store, events in ``events.jsonl``.

    No call waits for the disk or the process but :meth:`wait_ready`, :meth:`wait` and :meth:`close`; the others take some microseconds, and
    what is too much is dropped (messages) or costs the episode at hand (steps), is counted, and said by :meth:`problems`. They raise
    nothing when the process is dead: a robot does not stop for its diary, unless the runner says so.

    Args:
        folder: the run's, there already.
        definition: ROS definition of a message type with those it is made of, as ``Messages.definition`` gives it.
        spec: what episodes observe and do; None records no episodes. An extra array ``intervention`` is added.
        store: where episodes go, made or added to; ``episodes.zarr`` in the folder unless given.
        kind: ``store``, ``npz`` (``.npz`` files), or ``auto``: a store where zarr is installed.
        image_codec: of pictures in a new store.
        raw: whether to keep raw messages.
        encoding: of raw messages, ``cdr`` or ``ros1``.
        compression: of the log, ``zstd``, ``lz4`` or ``none``.
        run: what the log says of the run, JSON-ready.
        clock: stamps of steps and marks [ns]; the transport's.
        message_bytes: most memory that messages may take while they wait.
        step_bytes: and steps.
        nice: how far the process stands back behind others.
    """

    def __init__(
        self,
        folder: Path,
        definition: Callable[[str], str],
        spec: EnvSpec | None = None,
        *,
        store: str | Path | None = None,
        kind: str = "auto",
        image_codec: str = "zstd",
        raw: bool = True,
        encoding: str = "cdr",
        compression: str = "zstd",
        run: Mapping[str, Any] | None = None,
        clock: Callable[[], int] = time.time_ns,
        message_bytes: int = 128 << 20,
        step_bytes: int = 256 << 20,
        nice: int = 5,
    ) -> None:
        check_positive(message_bytes=message_bytes, step_bytes=step_bytes)
        self.folder, self._definition, self._clock = Path(folder), definition, clock
        self._first = {
            "folder": str(self.folder.resolve()),
            "store": str(Path(store or self.folder / "episodes.zarr").resolve()),
            "spec": with_intervention(spec).to_dict() if spec is not None else None,
            "kind": kind,
            "image_codec": image_codec,
            "raw": raw,
            "encoding": encoding,
            "compression": compression,
            "run": json.loads(json.dumps(run or {}, default=jsonable)),
            "nice": nice,
        }
        self._sizes = message_bytes, step_bytes
        self._log = self.folder / "recorder.log"
        self._ledger = Ledger(clock)
        self._dropped: dict[str, Dropped] = {}
        self._unsaid = self._closed = False
        self._start()

    def _start(self) -> None:
        self._ledger.words = {}
        self._outbox = Outbox(*self._sizes, self._dropped)
        self._link = Link(self._outbox, self._first, self._log, self._definition, self._ledger.heard)

    # -- the run's side ----------------------------------------------------------------------------------------------

    def wait_ready(self, timeout: float = START) -> None:
        """Wait until the process can record.

        Raises:
            UserError: it cannot, in its words (a store of another spec, somebody else writing there, a missing package), or it is late.
        """
        words = self._ledger.words
        with self._ledger.changed:
            self._ledger.changed.wait_for(lambda: words.keys() & {"ready", "refused", "died"}, timeout)
        if "refused" in words:
            raise UserError(words["refused"]["words"])
        if "ready" not in words:
            raise UserError(self._link.death or f"the recorder did not start within {timeout:g} s; see {self._log}")

    def received(self, message: Received) -> None:
        """Keep a message as it came."""
        self._outbox.put_message(Message("received", message.topic, message.type, message.raw, message.received))

    def sent(self, topic: str, type: str, raw: bytes, stamp: int) -> None:
        """Keep a message as it was sent at ``stamp`` [ns]."""
        self._outbox.put_message(Message("sent", topic, type, raw, stamp))

    def begin(self, source: str = "rollout", **provenance: Any) -> int:
        """Start an episode; one at hand is discarded. Returns its number in this run.

        Args:
            source: who acts, ``rollout`` (a policy) or ``teleop``.
            provenance: what else is known of its origin, JSON-ready, see :mod:`robolearn.provenance`.
        """
        self.discard()
        number = self._ledger.begin()
        known = json.loads(json.dumps({"source": source, **provenance}, default=jsonable))
        self._put(Order("begin", {"episode": number, "provenance": known}))
        if not self.alive:
            self._ledger.losing = self._link.death or ""
        self.mark("episode begun", source=source, **{name: known[name] for name in ("seed", "operator", "task") if name in known})
        return number

    def step(
        self,
        observation: Mapping[str, Any],
        action: Any,
        reward: float | None = None,
        intervention: bool = False,
        extras: Mapping[str, Any] | None = None,
        stamp: int | None = None,
    ) -> None:
        """Add a step to the episode at hand: what was seen, then what was done; copied. Nothing where none was begun.

        Args:
            observation: ``{name: (...)}`` as the spec has it.
            action: ``(A,)``, as executed.
            reward: 0 unless given.
            intervention: the operator acted.
            extras: the spec's other extra arrays.
            stamp: [ns]; now unless given.
        """
        if self._ledger.at_hand is None or self._ledger.losing:
            return
        named = {"action": action, **{f"o/{name}": value for name, value in observation.items()}}
        named |= {f"x/{name}": value for name, value in (extras or {}).items()}
        named[f"x/{INTERVENTION}"] = bool(intervention)
        arrays = {name: np.array(value, order="C") for name, value in named.items()}
        wrong = [name for name, array in arrays.items() if array.dtype.kind not in "biuf"]
        fields = {"reward": None if reward is None else float(reward), "stamp": self._clock() if stamp is None else int(stamp)}
        if wrong:
            self._ledger.losing = f"{wrong[0].removeprefix('o/')!r} holds no numbers"
        elif not self._outbox.put_order(Order("step", fields, arrays), sum(array.nbytes for array in arrays.values())):
            self._ledger.losing = self._link.death or "the recorder fell behind, and a step found no room"

    def finish(self, success: bool | None, terminated: bool | None = None, notes: str = "", *, truncated: bool = False) -> None:
        """End the episode at hand and commit it; :meth:`wait` waits for that. Nothing where none was begun.

        Args:
            success: its label, of the operator's or the simulation's; None: nobody said, and the episode says so.
            terminated: the task itself ended; as ``success`` unless given.
            notes: the operator's.
            truncated: a time limit cut it.
        """
        episode = self._ledger.at_hand
        if episode is None or self._ledger.losing:
            self.discard()
            return
        fields = {"success": success, "terminated": bool(success) if terminated is None else terminated, "truncated": truncated}
        self._ledger.change(episode.number, state="finishing", success=success)
        self._put(Order("finish", {**fields, "stamp": self._clock(), "provenance": {"note": notes} if notes else {}}))

    def discard(self) -> None:
        """Forget the episode at hand. Harmless where there is none."""
        episode, losing = self._ledger.at_hand, self._ledger.losing
        if episode is None:
            return
        if not self.alive:
            self._ledger.lose(episode.number, losing)
            return
        self._ledger.change(episode.number, state="lost" if losing else "discarded", reason=losing)
        self._put(Order("discard", {"stamp": self._clock(), "reason": losing}))

    def mark(self, event: str, words: str = "", stamp: int | None = None, **values: Any) -> None:
        """Note an event (a fault, a hold, the begin of an intervention, ...) in the log and in ``events.jsonl``."""
        at_hand = self._ledger.at_hand
        known: dict[str, Any] = {"stamp": self._clock() if stamp is None else int(stamp), "event": event, "words": words}
        known |= {"episode": at_hand.number} if at_hand is not None else {}
        known |= json.loads(json.dumps(values, default=jsonable)) if values else {}
        self._ledger.mark(known)
        self._put(Order("mark", known))

    def wait(self, timeout: float) -> bool:
        """Wait until no episode is being finished, at most ``timeout`` [s]; whether that is so."""
        with self._ledger.changed:
            return self._ledger.changed.wait_for(lambda: all(entry.state != "finishing" for entry in self.episodes), timeout)

    def restart(self) -> None:
        """After the process died: another, with a log of its own; the episode at hand is lost, those committed are there.

        Raises:
            UserError: it is alive.
        """
        if self.alive:
            raise UserError(f"the recorder (process {self.pid}) is alive; restart() is for one that died")
        self.discard()
        self._link.end(0.0)
        self._unsaid = True
        self._start()

    def close(self, timeout: float = 30.0) -> None:
        """Discard what was not ended, let the process finish its files, and end it, at the latest after ``timeout`` [s]."""
        if self._closed:
            return
        self.discard()
        self._closed = True
        if not self._link.end(timeout):
            self._ledger.heard({"kind": "died", "words": f"the recorder did not finish within {timeout:g} s and was killed"})
        if self._unsaid or {"died", "events"} & self._ledger.words.keys():
            with contextlib.suppress(OSError):  # a full disk, most likely, and said so
                write_whole(self.folder / EVENTS, "".join(json.dumps(mark) + "\n" for mark in self._ledger.marks))

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- how it goes -------------------------------------------------------------------------------------------------

    @property
    def alive(self) -> bool:
        """Whether the process is there."""
        return self._link.death is None

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._link.pid

    @property
    def episodes(self) -> list[Outcome]:
        """Of this run, in order."""
        return list(self._ledger.episodes)

    @property
    def lost(self) -> list[str]:
        """A line for each episode that could not be committed."""
        return [problem.words for problem in self._ledger.problems() if problem.kind == "lost"]

    @property
    def dropped(self) -> dict[str, int]:
        """Messages that were not recorded, by topic."""
        return {topic: entry.count for topic, entry in list(self._dropped.items())}

    def problems(self) -> list[Problem]:
        """What is wrong now, and what was lost so far."""
        found = self._ledger.problems()
        if self.alive and not self._closed and self._link.silent_s > (SILENT if "ready" in self._ledger.words else START):
            found.append(Problem("silent", f"the recorder has said nothing for {self._link.silent_s:.0f} s; its disk may be stuck"))
        if self.dropped:
            topics = ", ".join(f"{count} of {topic}" for topic, count in self.dropped.items())
            found.append(Problem("behind", f"the recorder fell behind; messages that were not recorded: {topics}"))
        return found

    def _put(self, order: Order) -> None:
        if not self._outbox.put_order(order, always=order.kind != "mark"):
            self._unsaid = True
