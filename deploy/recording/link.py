"""The recorder's process as its parent sees it: starts it, feeds it from a thread, hears what it says, notices its death."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import robolearn
from robolearn.deploy.recording.frames import Buffer, pack, pack_arrays
from robolearn.deploy.recording.outbox import Batch, Message, Outbox

CHILD = "robolearn.deploy.recording.child"
PIPE_BYTES = 1 << 20
BATCH_BYTES = 256 << 10
PERIOD = 0.01  # [s] between two looks at what waits: callers signal nothing, so that a call costs them next to nothing
SILENT = 5.0  # [s] without a word from the process


class Link:
    """One child process and the thread that feeds it.

    Args:
        outbox: where the thread takes from; shut when the child dies.
        first: fields of the frame that opens the recording.
        log: file for what the child says on stderr.
        definition: ROS definition of a type, with those it is made of; asked once a type, on the thread.
        heard: called on the thread with each word of the child's.
    """

    def __init__(
        self, outbox: Outbox, first: Mapping[str, Any], log: Path, definition: Callable[[str], str], heard: Callable[[dict[str, Any]], None]
    ) -> None:
        self._outbox, self._definition, self._heard, self._log = outbox, definition, heard, log
        self._channels: dict[tuple[str, str, str], int] = {}
        self._pending: collections.deque[Buffer] = collections.deque(pack("open", first))
        self._batch = Batch([], 0, 0)
        self._words = b""
        self._last_word = time.monotonic()
        self.death: str | None = None
        self._ending = threading.Event()
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, env=_environment(), bufsize=0
            )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._out, self._in = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        with contextlib.suppress(OSError, AttributeError):  # a smaller pipe works too
            fcntl.fcntl(self._out, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._thread = threading.Thread(target=self._run, name="recorder-link", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    @property
    def silent_s(self) -> float:
        """How long the child has said nothing [s]; it says something twice a second."""
        return time.monotonic() - self._last_word

    def end(self, timeout: float) -> bool:
        """Send what waits and let the child finish its files; killed, and False, where that takes more than ``timeout`` [s]."""
        deadline = time.monotonic() + timeout
        self._ending.set()
        self._thread.join(timeout)
        whole = not self._thread.is_alive()
        if whole:
            try:
                self._process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                whole = False
        if not whole:
            self._process.kill()
            self._process.wait()
            self._thread.join()
        self._listen()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):
                stream.close()
        return whole

    # -- the thread's side -------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._feed()
        except BaseException:
            self._process.kill()
            self._process.wait()
            self._die()
            raise

    def _feed(self) -> None:
        while self.death is None:
            self._listen()
            if self._process.poll() is not None:
                self._die()
            elif self._pending:
                if select.select([], [self._out], [], PERIOD)[1]:
                    self._write()
            elif not self._outbox.empty:
                self._batch = self._outbox.take(BATCH_BYTES)
                for entry in self._batch.entries:
                    self._pending.extend(buffer for buffer in self._packed(entry) if len(buffer))
                self._write()
            elif self._ending.is_set():
                assert self._process.stdin is not None
                self._process.stdin.close()  # the last frame was sent, and this ends the child
                return
            else:
                self._ending.wait(PERIOD)

    def _packed(self, entry: Any) -> list[Buffer]:
        if not isinstance(entry, Message):
            return pack_arrays(entry.kind, entry.fields, entry.arrays) if entry.arrays is not None else pack(entry.kind, entry.fields)
        key = (entry.direction, entry.topic, entry.type)
        known = []
        if key not in self._channels:
            self._channels[key] = len(self._channels)
            fields = {"direction": entry.direction, "topic": entry.topic, "type": entry.type, "definition": self._define(entry.type)}
            known = pack("channel", {"channel": self._channels[key], **fields})
        return [*known, *pack("message", {"channel": self._channels[key], "stamp": entry.stamp}, [entry.raw])]

    def _define(self, type: str) -> str:
        try:
            return self._definition(type)
        except Exception as error:  # the message is still worth keeping
            return f"# no definition of {type}: {' '.join(str(error).split())}"

    def _write(self) -> None:
        while self._pending:
            try:
                written = os.writev(self._out, [self._pending[place] for place in range(min(64, len(self._pending)))])
            except BlockingIOError:
                return
            except OSError:  # a broken pipe: it is dead, or good for nothing
                self._process.kill()
                self._process.wait()
                self._die()
                return
            while written and len(self._pending[0]) <= written:
                written -= len(self._pending.popleft())
            if written:
                self._pending[0] = memoryview(self._pending[0])[written:]
        self._outbox.sent(self._batch)
        self._batch = Batch([], 0, 0)

    def _listen(self) -> None:
        with contextlib.suppress(BlockingIOError, ValueError, OSError):
            while data := os.read(self._in, 1 << 16):
                self._words += data
        *lines, self._words = self._words.split(b"\n")
        for line in lines:
            self._last_word = time.monotonic()
            self._heard(json.loads(line))

    def _die(self) -> None:
        self._listen()
        code = self._process.returncode
        how = f"killed by signal {-code}" if code < 0 else f"exit code {code}"
        self.death = f"the recorder died ({how}); see {self._log}"
        self._outbox.shut()
        self._heard({"kind": "died", "words": self.death})


def _environment() -> dict[str, str]:
    """That of this process; the child finds the same robolearn, and its numerics take one thread."""
    here = str(Path(robolearn.__file__).parents[1])
    paths = [here, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
