"""A file for HDF5 to write into that never fails in its face: the library crashes where a disk is full when it closes a file."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType


class Sink:
    """A new file, open for reading and writing; after the first failed write, what is written stays in memory.

    :meth:`check` raises what failed. It is called now and then, so that what memory holds is little, and at the end.

    Args:
        path: the file, replaced where there is one.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self._place = self._end = 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the first error, if there was one."""
        if self._error is not None:
            raise self._error

    def __enter__(self) -> Sink:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()

    # -- what h5py calls ---------------------------------------------------------------------------------------------

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to a byte, counted from the start (0), from here (1) or from the end (2)."""
        self._place = offset + (0, self._place, self._end)[whence]
        return self._place

    def tell(self) -> int:
        """Where the next byte is read or written."""
        return self._place

    def write(self, data: bytes | memoryview) -> int:
        """Write all of ``data`` here, or keep it."""
        content = memoryview(data).cast("B")
        done = 0
        try:
            while self._error is None and done < len(content):
                self._file.seek(self._place + done)
                done += self._file.write(content[done:]) or 0
        except OSError as error:
            self._error = error
        if done < len(content):
            self._unwritten.append((self._place + done, bytes(content[done:])))
        self._place += len(content)
        self._end = max(self._end, self._place)
        return len(content)

    def readinto(self, buffer: bytearray | memoryview) -> int:
        """Fill ``buffer`` with what was written here; zeros where nothing was."""
        view = memoryview(buffer).cast("B")
        length = max(0, min(len(view), self._end - self._place))
        view[:length] = bytes(length)
        self._file.seek(self._place)
        found = self._file.read(length) or b""
        view[: len(found)] = found
        for start, content in self._unwritten:
            low, high = max(start, self._place), min(start + len(content), self._place + length)
            if low < high:
                view[low - self._place : high - self._place] = content[low - start : high - start]
        self._place += length
        return length

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes from here (by this method h5py knows a file)."""
        content = bytearray(size)
        return bytes(content[: self.readinto(content)])

    def truncate(self, size: int | None = None) -> int:
        """Let the file end after ``size`` bytes."""
        self._end = self._place if size is None else size
        try:
            if self._error is None:
                self._file.truncate(self._end)
        except OSError as error:
            self._error = error
        return self._end

    def flush(self) -> None:
        """Nothing is buffered."""
