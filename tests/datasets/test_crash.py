"""Whatever stops a writer, at whatever byte: every episode whose append returned is there, the same to the bit."""

import errno
import multiprocessing
import random
import time

import pytest

from robolearn.datasets.commit import DurableStore, write_synced
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.lock import LockedError
from tests.datasets import crash_child
from tests.datasets.episodes import SPEC, assert_same, make_episode

KILLS = 50


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demos.zarr"
    DemoStore.create(path, SPEC).close()
    return path


@pytest.fixture(scope="module")
def server():
    """Starts children in milliseconds: forks of a process that has imported the store and nothing more."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.datasets.crash_child"])
    return context


def start(server, target, *arguments):
    ours, theirs = server.Pipe()
    child = server.Process(target=target, args=(*arguments, theirs), daemon=True)
    child.start()
    theirs.close()
    return child, ours


def assert_holds(path, count):
    store = DemoStore.open(path)
    assert store.num_episodes == count
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number))
    assert store.check() == []


def test_a_writer_killed_fifty_times_loses_nothing(path, server):
    rng = random.Random(0)
    acknowledged = torn = 0
    for _ in range(KILLS):
        child, replies = start(server, crash_child.append_forever, path)
        assert replies.recv() >= acknowledged  # open, and going
        for _ in range(rng.randrange(4)):
            acknowledged = replies.recv()
        time.sleep(rng.uniform(0.0, 0.08))
        child.kill()
        child.join()
        while True:
            try:
                acknowledged = max(acknowledged, replies.recv())
            except (EOFError, ConnectionResetError):
                break
        replies.close()
        store = DemoStore.open(path)  # a reader, before anything is repaired
        assert acknowledged <= store.num_episodes <= acknowledged + 1  # the one whose append had not returned may be in
        assert_same(store.episode(store.num_episodes - 1), make_episode(store.num_episodes - 1))
        torn += store.torn_steps > 0
    assert acknowledged > KILLS
    assert torn > 5  # the kills did hit appends
    DemoStore.open(path, "a").close()
    assert not list(path.rglob("*.partial"))
    assert_holds(path, DemoStore.open(path).num_episodes)


class Died(BaseException):
    """Stands for the end of the process."""


def fail_at(monkeypatch, write_number, failure):
    """Let the ``write_number``-th file from now fail after half its bytes; later ones fail at once."""
    count = 0

    def write(file, data):
        nonlocal count
        count += 1
        if count < write_number:
            return write_synced(file, data)
        if count == write_number:
            file.write_bytes(bytes(data)[: len(bytes(data)) // 2])
        raise failure

    monkeypatch.setattr("robolearn.datasets.commit.write_synced", write)
    return lambda: count


def writes_of_an_append(path, monkeypatch):
    with monkeypatch.context() as patch, DemoStore.open(path, "a") as store:
        count = fail_at(patch, 10**9, None)
        store.append(make_episode(store.num_episodes))
        return count()


def test_a_crash_at_any_write_leaves_the_committed_episodes(path, monkeypatch):
    writes = writes_of_an_append(path, monkeypatch)
    monkeypatch.setattr("pathlib.Path.unlink", lambda self, missing_ok=False: None)  # the dead tidy nothing up
    committed = 1
    for write_number in range(1, writes + 1):
        with monkeypatch.context() as patch:
            fail_at(patch, write_number, Died())
            store = DemoStore.open(path, "a")
            with pytest.raises(Died):
                store.append(make_episode(committed))
            store.close()
        reader = DemoStore.open(path)
        assert reader.num_episodes == committed, f"after a crash at write {write_number} of {writes}"
        assert_same(reader.episode(committed - 1), make_episode(committed - 1))
    monkeypatch.undo()
    with DemoStore.open(path, "a") as store:
        store.append(make_episode(committed))
    assert_holds(path, committed + 1)


def test_a_full_disk_at_any_write_is_an_error_and_the_writer_goes_on_after(path, monkeypatch):
    writes = writes_of_an_append(path, monkeypatch)
    with DemoStore.open(path, "a") as store:
        for write_number in range(1, writes + 1):
            with monkeypatch.context() as patch:
                fail_at(patch, write_number, OSError(errno.ENOSPC, "No space left on device"))
                with pytest.raises(StoreError, match=r"No space left on device.*1 committed episodes are whole"):
                    store.append(make_episode(1))
        store.append(make_episode(1))
        assert_same(store.episode(1), make_episode(1))
    assert_holds(path, 2)


def test_what_a_failed_append_still_writes_is_never_found_in_the_next_one(path, monkeypatch):
    seen = []

    def full(file, data):
        if "/data/" in str(file) and "/c/" in str(file):
            seen.append(file)
            if len(seen) == 1:
                raise OSError(errno.ENOSPC, "No space left on device")
            time.sleep(0.3)
        write_synced(file, data)

    with DemoStore.open(path, "a") as store:
        with monkeypatch.context() as patch:
            patch.setattr("robolearn.datasets.commit.write_synced", full)
            with pytest.raises(StoreError, match="No space left on device"):
                store.append(make_episode(5, steps=3000))
        assert len(seen) > 1
        store.append(make_episode(1, steps=3000))
        time.sleep(0.5)
        assert store.check() == []
        assert_same(store.episode(0), make_episode(1, steps=3000))


def test_a_file_size_limit_met_in_mid_write_loses_nothing(path, server):
    child, replies = start(server, crash_child.append_until_full, path, 6000)
    count, message = replies.recv()
    child.join()
    assert count > 3
    assert "File too large" in message
    assert_holds(path, count)


def test_the_commit_is_the_last_file_written(path, monkeypatch):
    written, real = [], DurableStore.write

    def write(self, file, data):
        written.append(file.relative_to(self.root).as_posix())
        real(self, file, data)

    monkeypatch.setattr(DurableStore, "write", write)
    with DemoStore.open(path, "a") as store:
        store.append(make_episode(0))
    assert written[-2:] == ["episodes/end/c/0", "episodes/end/zarr.json"]
    assert len(written) > 10


def test_a_torn_tail_is_reported_and_removed(path, monkeypatch, caplog):
    with DemoStore.open(path, "a") as store:
        store.append(make_episode(0))
        with monkeypatch.context() as patch:
            fail_at(patch, 12, Died())
            with pytest.raises(Died):
                store.append(make_episode(1))
    assert DemoStore.open(path).torn_steps == len(make_episode(1))
    with caplog.at_level("WARNING"):
        store = DemoStore.open(path, "a")
        store.close()
    assert f"removing {len(make_episode(1))} steps" in caplog.text
    assert DemoStore.open(path).torn_steps == 0


def test_one_writer_at_a_time_and_many_readers(path, server):
    child, replies = start(server, crash_child.hold_lock, path)
    replies.recv()
    with pytest.raises(LockedError, match=f"process {child.pid} on"):
        DemoStore.open(path, "a")
    assert DemoStore.open(path).num_episodes == 0
    child.kill()
    child.join()
    DemoStore.open(path, "a").close()  # the dead hold no lock


def test_the_lock_holds_within_a_process_too_and_ends_with_close(path):
    first = DemoStore.open(path, "a")
    with pytest.raises(LockedError):
        DemoStore.open(path, "a")
    first.close()
    with pytest.raises(StoreError, match="open for reading"):
        first.append(make_episode(0))
    DemoStore.open(path, "a").close()
