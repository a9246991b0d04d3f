"""What was fetched is not fetched again while it is there, and never more is held than allowed."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from robolearn.datasets.cache import CACHE_VARIABLE, BlockCache, shared_cache
from robolearn.datasets.layout import StoreError

FILE = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8).tobytes()


class Source:
    """A file far away, which counts what is asked of it."""

    def __init__(self):
        self.asked = []

    def __call__(self, start, stop):
        self.asked.append((start, stop))
        return FILE[start:stop]


def test_any_range_is_what_the_file_holds_and_the_limit_holds():
    rng = np.random.default_rng(1)
    for limit in (0, 64, 100, 300, 10_000):
        cache, source = BlockCache(limit, block=64), Source()
        for _ in range(200):
            offset, length = int(rng.integers(0, 1100)), int(rng.integers(0, 400))
            assert cache.read("file", len(FILE), offset, length, source) == FILE[offset : offset + length]
            assert cache.bytes_held <= limit
        assert cache.peak <= limit
        assert cache.bytes_fetched == sum(stop - start for start, stop in source.asked)


def test_a_file_that_fits_is_fetched_once():
    cache, source = BlockCache(1000, block=64), Source()
    for _ in range(3):
        for offset in range(0, 1000, 50):
            cache.read("file", len(FILE), offset, 50, source)
    assert cache.bytes_fetched == cache.bytes_held == len(FILE)
    assert cache.misses == 16


def test_neighbouring_blocks_are_fetched_together():
    cache, source = BlockCache(1000, block=100), Source()
    cache.read("file", len(FILE), 450, 10, source)
    cache.read("file", len(FILE), 120, 700, source)
    assert source.asked == [(400, 500), (100, 400), (500, 900)]


def test_what_was_used_last_stays():
    cache, source = BlockCache(200, block=100), Source()
    for offset in (0, 100, 0, 200, 0):  # 100 goes for 200, 0 was used since
        cache.read("file", len(FILE), offset, 100, source)
    assert source.asked == [(0, 100), (100, 200), (200, 300)]


def test_threads_that_want_one_block_fetch_it_once():
    cache, begun, go = BlockCache(1000, block=100), threading.Event(), threading.Event()
    asked = []

    def slow(start, stop):
        asked.append(start)
        begun.set()
        assert go.wait(10)
        return FILE[start:stop]

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.read, "file", len(FILE), 0, 100, slow)
        assert begun.wait(10)
        others = [pool.submit(cache.read, "file", len(FILE), number, 50, slow) for number in range(3)]
        while cache.hits < 3:  # they wait for the first one's
            threading.Event().wait(0.001)
        go.set()
        assert first.result() == FILE[:100]
        assert [other.result() for other in others] == [FILE[number : number + 50] for number in range(3)]
    assert asked == [0]


def test_a_block_that_could_not_be_fetched_is_asked_for_again():
    cache = BlockCache(1000, block=100)

    def failing(start, stop):
        raise StoreError("no answer")

    with pytest.raises(StoreError, match="no answer"):
        cache.read("file", len(FILE), 0, 300, failing)
    assert cache.read("file", len(FILE), 0, 300, Source()) == FILE[:300]


def test_the_shared_limit_is_a_number_of_megabytes(monkeypatch):
    shared_cache.cache_clear()
    monkeypatch.setenv(CACHE_VARIABLE, "3")
    assert shared_cache().limit == 3_000_000
    shared_cache.cache_clear()
    monkeypatch.setenv(CACHE_VARIABLE, "much")
    with pytest.raises(StoreError, match=CACHE_VARIABLE):
        shared_cache()
    monkeypatch.undo()
    shared_cache.cache_clear()
