"""A bounded cache of blocks of bytes, so that what was fetched from far away is not fetched again while it is there."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import cache

from robolearn.datasets.layout import StoreError

CACHE_VARIABLE = "ROBOLEARN_CACHE_MB"  # how much all remote stores of a process keep
_DEFAULT_MB = 256
BLOCK_BYTES = 1 << 20

Block = tuple[Hashable, int]  # whose, which


class BlockCache:
    """Blocks of files, the least recently used ones dropped when ``limit`` bytes are held.

    A block that several threads want at once is fetched once. What a read returns, and what is being fetched, is beside the limit.

    Args:
        limit: most bytes held; 0 holds nothing.
        block: bytes of a block; the last of a file is shorter.

    Attributes:
        hits: blocks that were there, or on their way.
        misses: blocks that had to be fetched.
        bytes_fetched: what these came to.
        bytes_held: in the cache now.
        peak: most bytes ever held.
    """

    def __init__(self, limit: int, block: int = BLOCK_BYTES) -> None:
        if limit < 0 or block < 1:
            raise StoreError(f"a cache holds 0 bytes or more, in blocks of at least 1; got {limit} and {block}")
        self.limit, self.block = limit, block
        self.hits = self.misses = self.bytes_fetched = self.bytes_held = self.peak = 0
        self._blocks: OrderedDict[Block, bytes] = OrderedDict()
        self._coming: dict[Block, Future[bytes]] = {}
        self._lock = threading.Lock()

    def read(self, owner: Hashable, size: int, offset: int, length: int, fetch: Callable[[int, int], bytes]) -> bytes:
        """Bytes ``offset`` to ``offset + length`` of a file, as far as it goes.

        Args:
            owner: which file, in which version.
            size: bytes of the whole file.
            offset: first byte.
            length: how many.
            fetch: gets bytes ``start`` to ``stop`` of the file from where it lies; what it raises is passed on.
        """
        stop = min(offset + length, size)
        if stop <= offset:
            return b""
        first, last = offset // self.block, (stop - 1) // self.block
        parts, mine = self._look_up(owner, first, last)
        try:
            for begin, end in _runs(mine):
                data = fetch(begin * self.block, min(end * self.block, size))
                for number in range(begin, end):
                    part = data if end - begin == 1 else data[(number - begin) * self.block : (number - begin + 1) * self.block]
                    self._deliver((owner, number), part)
        except BaseException as error:
            self._give_up([(owner, number) for number in mine], error)
            raise
        got = [part if isinstance(part, bytes) else part.result() for part in parts]
        if len(got) == 1:
            return got[0][offset - first * self.block : stop - first * self.block]
        got[0], got[-1] = got[0][offset - first * self.block :], got[-1][: stop - last * self.block]
        return b"".join(got)

    def _look_up(self, owner: Hashable, first: int, last: int) -> tuple[list[bytes | Future[bytes]], list[int]]:
        """The blocks, there or on their way, and the numbers of those that the caller has to fetch."""
        parts: list[bytes | Future[bytes]] = []
        mine: list[int] = []
        with self._lock:
            for number in range(first, last + 1):
                there = self._blocks.get((owner, number))
                if there is not None:
                    self._blocks.move_to_end((owner, number))
                    parts.append(there)
                    continue
                if (owner, number) not in self._coming:
                    self._coming[owner, number] = Future()
                    mine.append(number)
                parts.append(self._coming[owner, number])
            self.misses += len(mine)
            self.hits += len(parts) - len(mine)
        return parts, mine

    def _deliver(self, block: Block, data: bytes) -> None:
        with self._lock:
            self.bytes_fetched += len(data)
            if len(data) <= self.limit:
                while self._blocks and self.bytes_held + len(data) > self.limit:
                    self.bytes_held -= len(self._blocks.popitem(last=False)[1])
                self._blocks[block] = data
                self.bytes_held += len(data)
                self.peak = max(self.peak, self.bytes_held)
            waiting = self._coming.pop(block)
        waiting.set_result(data)

    def _give_up(self, blocks: list[Block], error: BaseException) -> None:
        with self._lock:
            waiting = [self._coming.pop(block) for block in blocks if block in self._coming]
        for future in waiting:
            future.set_exception(error)


def _runs(numbers: list[int]) -> list[tuple[int, int]]:
    """Increasing numbers as ranges, the second end not counted."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number:
            runs[-1] = (runs[-1][0], number + 1)
        else:
            runs.append((number, number + 1))
    return runs


@cache
def shared_cache() -> BlockCache:
    """The cache of all stores of this process that have none of their own.

    Raises:
        StoreError: ``ROBOLEARN_CACHE_MB`` is no number of megabytes.
    """
    text = os.environ.get(CACHE_VARIABLE, str(_DEFAULT_MB))
    if not text.isdecimal():
        raise StoreError(f"{CACHE_VARIABLE}={text!r} is no whole number of megabytes, such as {_DEFAULT_MB}")
    return BlockCache(int(text) * 1_000_000)
