"""A process of its own that goes once through an HDF5 file's structure, because a damaged one can make the HDF5 library hang or crash.

Run as a script, it reads paths (JSON, one a line) and answers each with dots while it is at work and ``!`` when it is through;
:func:`require_passable` starts it, listens, and ends it where it no longer answers.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0  # without a sign of life; a single read takes milliseconds
_SIGN_OF_LIFE_S = 0.5
_MEMORY_BYTES = 1 << 33
_MAX_TEXTS = 1 << 20
_lock = threading.Lock()
_process: subprocess.Popen[bytes] | None = None
_owner = 0  # the process that started it; a forked child starts its own
_passed: dict[str, tuple[int, int]] = {}  # (size, modification time) of files that are through


def require_passable(path: Path) -> str | None:
    """None where the HDF5 library gets through a file's structure; else what it does instead, in words."""
    status = path.stat()
    mark = (status.st_size, status.st_mtime_ns)
    key = str(path.resolve())
    with _lock:
        if _passed.get(key) == mark:
            return None
        what = _ask(key)
        if what is None:
            _passed[key] = mark
        return what


def _ask(path: str) -> str | None:
    global _process, _owner
    if _process is None or _owner != os.getpid() or _process.poll() is not None:
        _owner = os.getpid()
        _process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        atexit.register(_stop)
    assert _process.stdin is not None and _process.stdout is not None
    try:
        _process.stdin.write(json.dumps(path).encode() + b"\n")
        while True:
            ready, _, _ = select.select([_process.stdout], [], [], PATIENCE_S)
            signs = _process.stdout.read(4096) if ready else None
            if signs is None:
                what = f"hangs for {PATIENCE_S:g} s"
                break
            if not signs:
                what = "crashes"
                break
            if signs.endswith(b"!"):
                return None
    except BrokenPipeError:
        what = "crashes"
    _stop()
    return what


def _stop() -> None:
    global _process
    if _process is not None:
        _process.kill()
        _process.wait()
        for pipe in (_process.stdin, _process.stdout):
            if pipe is not None:
                pipe.close()
    _process = None


def main() -> None:
    """The process itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which then closes our input
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    allowed = _MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for line in sys.stdin.buffer:
        _Walk().file(json.loads(line))
        sys.stdout.buffer.write(b"!")
        sys.stdout.buffer.flush()


class _Walk:
    """Everything that a reader will ask for, once; ordinary errors are for the reader to report."""

    def __init__(self) -> None:
        import h5py

        self.h5py: Any = h5py
        self.seen: set[int] = set()
        self.last = time.monotonic()

    def file(self, path: str) -> None:
        with contextlib.suppress(Exception), self.h5py.File(path, "r") as file:
            self.visit(file)

    def visit(self, start: Any) -> None:
        waiting = [start]
        while waiting:
            found = waiting.pop()
            address = self.h5py.h5o.get_info(found.id).addr
            if address in self.seen:
                continue
            self.seen.add(address)
            names: list[str] = []
            with contextlib.suppress(Exception):
                names = list(found.attrs)
            for name in names:
                self.sign_of_life()
                with contextlib.suppress(Exception):
                    found.attrs[name]
            if isinstance(found, self.h5py.Dataset):
                self.array(found)
            elif isinstance(found, self.h5py.Group):
                waiting += self.members(found)

    def members(self, group: Any) -> list[Any]:
        found = []
        with contextlib.suppress(Exception):
            for name in group:
                self.sign_of_life()
                with contextlib.suppress(Exception):
                    if isinstance(group.get(name, getlink=True), self.h5py.HardLink):
                        found.append(group[name])
        return found

    def array(self, array: Any) -> None:
        with contextlib.suppress(Exception):
            if array.chunks is not None:
                array.id.get_num_chunks()
            if array.dtype.kind == "O" and array.ndim == 1:
                for index in range(min(len(array), _MAX_TEXTS)):
                    self.sign_of_life()
                    array[index]

    def sign_of_life(self) -> None:
        if time.monotonic() - self.last > _SIGN_OF_LIFE_S:
            self.last = time.monotonic()
            sys.stdout.buffer.write(b".")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
