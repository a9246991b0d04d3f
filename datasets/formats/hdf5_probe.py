"""A process of its own that goes once through an HDF5 file's structure, because a damaged one can make the HDF5 library hang or crash.

Run as a script, it reads paths (JSON, one a line) and answers each with dots while it is at work and a line when it is through: empty,
or what is wrong. :func:`fault` starts it, listens, and ends it where it no longer answers. A file with any fault is read no further: past
the first one, nobody knows which call will hang.
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
_answers: dict[str, tuple[tuple[int, int], str]] = {}  # by path: (size, modification time) and what was found


def fault(path: Path) -> str:
    """What is wrong with a file's structure, in words; empty where the HDF5 library gets through all of it."""
    status = path.stat()
    mark, key = (status.st_size, status.st_mtime_ns), str(path.resolve())
    with _lock:
        known, what = _answers.get(key, (None, ""))
        if known != mark:
            what = _ask(key)
            _answers[key] = (mark, what)
        return what


def _ask(path: str) -> str:
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
    answer = b""
    try:
        _process.stdin.write(json.dumps(path).encode() + b"\n")
        while not answer.endswith(b"\n"):
            ready, _, _ = select.select([_process.stdout], [], [], PATIENCE_S)
            signs = _process.stdout.read(4096) if ready else None
            if not signs:
                _stop()
                return "the HDF5 library crashes on it" if ready else f"the HDF5 library hangs on it, for {PATIENCE_S:g} s"
            answer += signs
    except BrokenPipeError:
        _stop()
        return "the HDF5 library crashes on it"
    return answer.decode(errors="replace").strip(". \n")


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
        what = _Walk().file(json.loads(line))
        sys.stdout.buffer.write(" ".join(what.split()).encode(errors="replace") + b"\n")
        sys.stdout.buffer.flush()


class _Walk:
    """Everything that a reader will ask for, once."""

    def __init__(self) -> None:
        import h5py

        self.h5py: Any = h5py
        self.seen: set[int] = set()
        self.last = time.monotonic()

    def file(self, path: str) -> str:
        """The first fault of a file, or nothing."""
        try:
            with self.h5py.File(path, "r") as file:
                self.visit(file)
        except Exception as error:  # h5py raises many kinds for damaged bytes
            return str(error) or type(error).__name__
        return ""

    def visit(self, start: Any) -> None:
        """A group or array and all below it, each once."""
        waiting = [start]
        while waiting:
            found = waiting.pop()
            address = self.h5py.h5o.get_info(found.id).addr
            if address in self.seen:
                continue
            self.seen.add(address)
            for name in found.attrs:
                self.sign_of_life()
                with contextlib.suppress(TypeError):  # a type that numpy does not know, and no reader asks for
                    found.attrs[name]
            if isinstance(found, self.h5py.Dataset):
                self.array(found)
            elif isinstance(found, self.h5py.Group):
                for name in found:
                    self.sign_of_life()
                    if isinstance(found.get(name, getlink=True), self.h5py.HardLink):
                        waiting.append(found[name])

    def array(self, array: Any) -> None:
        """Where an array's chunks lie, and texts, which lie elsewhere."""
        if array.is_virtual or array.external:
            return
        if array.chunks is not None:
            array.id.get_num_chunks()
        with contextlib.suppress(TypeError):
            if array.dtype.kind == "O" and array.ndim == 1:
                for index in range(min(len(array), _MAX_TEXTS)):
                    self.sign_of_life()
                    array[index]

    def sign_of_life(self) -> None:
        """Tell whoever waits that this one is alive."""
        if time.monotonic() - self.last > _SIGN_OF_LIFE_S:
            self.last = time.monotonic()
            sys.stdout.buffer.write(b".")
            sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
