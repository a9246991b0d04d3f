"""One writer at a time: an advisory lock that the kernel drops when its holder dies."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
import weakref
from pathlib import Path
from types import TracebackType
from typing import Protocol

from robolearn.errors import UserError

_held: set[int] = set()


class LockedError(UserError):
    """Somebody else is writing."""


class Held(Protocol):
    """The right to write."""

    def release(self) -> None:
        """Let the next writer in."""


def lock_file(target: Path) -> Path:
    """The lock of a store or folder, beside it: the same one whichever link it is reached by."""
    target = target.resolve()
    return target.with_name(f".{target.name}.lock")


class WriterLock:
    """An exclusive ``flock`` on a file beside the thing written, held until :meth:`release`, garbage collection or death.

    The file stays behind (removing it would race with the next writer) and names its last holder.

    Args:
        target: what is written, a store or a folder.
        file: the lock; :func:`lock_file` beside the target unless given, so that it survives the target's replacement.
        instead: what else than waiting helps, for the error.
        patience_s: how long to wait for a holder that is just leaving.

    Raises:
        LockedError: another writer holds it.
    """

    def __init__(self, target: Path, file: Path | None = None, *, instead: str = "read with mode='r'", patience_s: float = 0.2) -> None:
        self.path = file or lock_file(target)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _acquire(descriptor, time.monotonic() + patience_s)
        except BlockingIOError:
            holder = _describe(descriptor)
            os.close(descriptor)
            raise LockedError(f"{target} is being written by {holder}; wait for it, or {instead}") from None
        except BaseException:
            os.close(descriptor)
            raise
        _held.add(descriptor)
        note = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        # The note is a courtesy to whoever waits: a full disk must not stop a writer here.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(note).encode(), 0)
        self._finalizer = weakref.finalize(self, _close, descriptor, os.getpid())

    def release(self) -> None:
        """Let the next writer in; harmless when repeated."""
        self._finalizer()

    def __enter__(self) -> WriterLock:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.release()


def _acquire(descriptor: int, deadline: float) -> None:
    while True:
        try:
            return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _describe(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 4096, 0))
        return f"process {note['pid']} on {note['host']} since {note['since']}"
    except (ValueError, KeyError, TypeError, OSError):
        return "another process"


def _close(descriptor: int, owner: int) -> None:
    if os.getpid() == owner and descriptor in _held:
        _held.discard(descriptor)
        os.close(descriptor)


def _drop_in_child() -> None:
    """A forked child shares its parent's open files, and would go on holding the locks of a dead parent."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_drop_in_child)
