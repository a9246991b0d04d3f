"""Two cameras are being recorded and the process is killed, or the disk fills up: no committed episode is lost.

Some kills here; ``ROBOLEARN_CRASHES=200`` makes 200, in real time (30 Hz) instead of 4 times as fast.
"""

import multiprocessing
import os
import random
import subprocess
import time

import pytest

from robolearn.bench.recording import HZ
from robolearn.datasets.repair import repair
from robolearn.datasets.store import DemoStore
from tests.datasets import recording_child
from tests.datasets.camera_episodes import SPEC, assert_is
from tests.datasets.test_crash import start

pytest.importorskip("imagecodecs")
CRASHES = int(os.environ.get("ROBOLEARN_CRASHES", "0"))
SPEED = 1.0 if CRASHES else 4.0
CRASHES_A_STORE = 5


@pytest.fixture(scope="module")
def server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.datasets.recording_child"])
    return context


def crash(path, server, acknowledged, rng):
    """Record for 0 to 3 seconds, half the time counted from the first commit, and be killed; how many commits were known."""
    child, replies = start(server, recording_child.record_forever, path, SPEED * HZ)
    assert replies.recv() >= acknowledged  # open, and going
    if rng.random() < 0.5:
        acknowledged = replies.recv()
    time.sleep(rng.uniform(0.0, 3.0) / SPEED)
    child.kill()
    child.join()
    while True:
        try:
            acknowledged = max(acknowledged, replies.recv())
        except (EOFError, ConnectionResetError):
            replies.close()
            return acknowledged


@pytest.mark.timeout(3600)
def test_a_recorder_killed_at_random_moments_loses_no_committed_episode(tmp_path, server):
    rng, torn, committed = random.Random(CRASHES), 0, 0
    for number in range(CRASHES or 6):
        path = tmp_path / f"{number // CRASHES_A_STORE}.zarr"
        if not path.exists():
            DemoStore.create(path, SPEC, image_codec="jpeg").close()
            acknowledged = 0
        acknowledged = crash(path, server, acknowledged, rng)
        store = DemoStore.open(path)  # a reader, before anything is repaired
        assert acknowledged <= store.num_episodes <= acknowledged + 1  # the one whose end() had not returned may be in
        committed += store.num_episodes - acknowledged
        acknowledged = store.num_episodes
        for episode in range(max(0, acknowledged - 2), acknowledged):
            assert_is(store.episode(episode), episode)
        found = repair(path)
        torn += found.bytes > 0
        store = DemoStore.open(path)
        assert store.num_episodes == acknowledged
        assert store.check() == []
        assert repair(path, dry_run=True).bytes == 0
        print(f"kill {number + 1}: {acknowledged} episodes, repair removed {found.bytes} bytes", flush=True)
    stores = [DemoStore.open(place) for place in sorted(tmp_path.glob("*.zarr"))]
    for store in stores:
        for episode in range(store.num_episodes):
            assert_is(store.episode(episode), episode)
    episodes = sum(store.num_episodes for store in stores)
    print(f"{CRASHES or 6} kills, {episodes} episodes committed, 0 lost; {torn} kills left something that repair removed")
    assert episodes > 0
    assert torn >= CRASHES / 50  # the kills did hit what is written while an episode goes on


@pytest.fixture
def small_disk(tmp_path):
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", tmp_path], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_disk_that_fills_up_while_recording_loses_no_committed_episode(small_disk, server):
    path = small_disk / "demos.zarr"
    DemoStore.create(path, SPEC, image_codec="jpeg").close()
    child, replies = start(server, recording_child.record_until_full, path)
    count, message = replies.recv()
    child.join()
    assert count > 0
    assert "No space left on device" in message
    assert f"its {count} committed episodes are whole" in message
    store = DemoStore.open(path)
    assert store.num_episodes == count
    repair(path)
    store = DemoStore.open(path)
    assert store.check() == []
    for episode in range(count):
        assert_is(store.episode(episode), episode)
