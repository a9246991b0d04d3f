"""The recorder dies, hangs, or its disk fills up or its parent is killed: no committed episode is lost, the run goes on, and is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from mcap.reader import make_reader

from robolearn.datasets.store import DemoStore
from robolearn.deploy.recording.outbox import OVERHEAD
from robolearn.deploy.recording.raw_log import EVENTS, STEPS
from robolearn.deploy.recording.reading import read_log
from robolearn.deploy.recording.recorder import Recorder
from robolearn.errors import UserError
from tests.deploy.recording.doubles import SPEC, assert_same, blob, definition, episode, joint_state, play, record

ROOT = Path(__file__).parents[3]


def until(true: Callable[[], bool], timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kinds(recorder: Recorder) -> list[str]:
    return [problem.kind for problem in recorder.problems()]


def test_a_killed_recorder_loses_the_episode_at_hand_and_nothing_else_and_another_goes_on(tmp_path: Path) -> None:
    with Recorder(tmp_path, definition, SPEC) as recorder:
        recorder.wait_ready()
        os.kill(recorder.pid, signal.SIGINT)  # Ctrl-C is for the run
        os.kill(recorder.pid, signal.SIGTERM)
        made = [record(recorder, 0)]
        assert recorder.wait(20)
        for number in range(30):
            recorder.received(joint_state(number))
        recorder.begin()
        play(recorder, episode(1))
        time.sleep(1.2)  # the log is on the disk at least once a second
        os.kill(recorder.pid, signal.SIGKILL)
        until(lambda: not recorder.alive)
        play(recorder, episode(1))  # nothing raises
        recorder.received(joint_state(99))
        recorder.mark("fault", "while nobody listened")
        assert kinds(recorder) == ["died", "lost", "behind"]
        assert "signal 9" in recorder.problems()[0].words
        recorder.finish(success=True)
        assert [entry.state for entry in recorder.episodes] == ["committed", "lost"]
        store = DemoStore.open(tmp_path / "episodes.zarr")
        assert store.num_episodes == 1
        recorder.restart()
        recorder.wait_ready()
        with pytest.raises(UserError, match="alive"):
            recorder.restart()
        made.append(record(recorder, 2))
    assert [entry.state for entry in recorder.episodes] == ["committed", "lost", "committed"]
    store = DemoStore.open(tmp_path / "episodes.zarr")
    assert store.num_episodes == 2 and store.check() == [] and store.torn_steps == 0
    for index, expected in enumerate(made):
        assert_same(store.episode(index), expected)
    torn = list(read_log(tmp_path / "run.mcap"))
    assert [entry.stamp for entry in torn if entry.topic == "/joint_states"] == [1_000_000 + number for number in range(30)]
    assert [entry.topic for entry in torn].count(STEPS) == 24
    assert len(list(read_log(tmp_path / "run_1.mcap"))) == 12 + 2
    said = [json.loads(line)["event"] for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert said == ["episode begun", "episode committed", "episode begun", "fault", "episode lost", "episode begun", "episode committed"]


def test_a_recorder_whose_parent_is_killed_finishes_its_files(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.deploy.recording.run_child", str(tmp_path)]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    recorder, bystander, parent = (int(word) for word in run.stdout.readline().split())
    assert Path(f"/proc/{recorder}").exists() and run.pid == parent
    run.kill()
    run.wait()
    run.stdout.close()
    try:
        until(lambda: ended(recorder))
    finally:
        os.kill(bystander, signal.SIGKILL)
    store = DemoStore.open(tmp_path / "episodes.zarr", "a")  # nobody holds it
    assert store.num_episodes == 1 and store.check() == []
    assert_same(store.episode(0), episode(0))
    store.close()
    with (tmp_path / "run.mcap").open("rb") as stream:
        statistics = make_reader(stream).get_summary().statistics  # type: ignore[union-attr]
    assert statistics is not None and statistics.message_count == 20 + 24 + 3  # whole, with its index


def ended(pid: int) -> bool:
    """Whether a process that is not ours to wait for is gone; one that nobody waits for stays as a zombie."""
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except FileNotFoundError:
        return True


def test_a_recorder_that_hangs_costs_messages_but_neither_memory_nor_time(tmp_path: Path) -> None:
    size, most = 100_000, 2 << 20
    with Recorder(tmp_path, definition, SPEC, message_bytes=most, step_bytes=100_000) as recorder:
        recorder.wait_ready()
        record(recorder, 0)
        assert recorder.wait(20)
        os.kill(recorder.pid, signal.SIGSTOP)
        recorder.begin()
        play(recorder, episode(1, steps=8))
        took = []
        for number in range(200):
            message = blob("/camera", number, size)
            started = time.perf_counter()
            recorder.received(message)
            took.append(time.perf_counter() - started)
        assert np.median(took) < 1e-3
        waiting = sum(len(message.raw) + OVERHEAD for message in recorder._outbox._messages)
        assert waiting <= most
        assert recorder.dropped["/camera"] >= 200 - 2 * most // size
        assert kinds(recorder) == ["behind"] and "of /camera" in recorder.problems()[0].words
        play(recorder, episode(1, steps=400))
        assert kinds(recorder) == ["lost", "behind"]
        recorder.finish(success=True)  # no episode with a hole in it
        recorder._link._last_word -= 60  # as if a minute had gone by
        assert kinds(recorder) == ["lost", "silent", "behind"]
        os.kill(recorder.pid, signal.SIGCONT)
        until(lambda: recorder._outbox.empty)
        made = record(recorder, 2)
    assert [entry.state for entry in recorder.episodes] == ["committed", "lost", "committed"]
    assert kinds(recorder) == ["lost", "behind"]
    store = DemoStore.open(tmp_path / "episodes.zarr")
    assert store.num_episodes == 2 and store.check() == []
    assert_same(store.episode(1), made)
    kept = [entry for entry in read_log(tmp_path / "run.mcap") if entry.topic == "/camera"]
    assert len(kept) == 200 - recorder.dropped["/camera"] > 10
    numbers = [entry.stamp - 1_000_000 for entry in kept]
    assert numbers == sorted(set(numbers))
    assert [entry.raw for entry in kept] == [blob("/camera", number, size).raw for number in numbers]


def test_a_recorder_that_does_not_end_is_ended(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, definition)
    recorder.wait_ready()
    recorder.mark("fault", "before the hang")
    os.kill(recorder.pid, signal.SIGSTOP)
    started = time.monotonic()
    recorder.close(timeout=0.5)
    assert time.monotonic() - started < 5.0
    assert "did not finish within 0.5 s and was killed" in recorder.problems()[0].words
    assert json.loads((tmp_path / "events.jsonl").read_text())["words"] == "before the hang"


def test_an_episode_that_a_hung_process_was_to_commit_is_lost_by_name(tmp_path):
    with Recorder(tmp_path, definition, SPEC) as recorder:
        recorder.wait_ready()
        os.kill(recorder.pid, signal.SIGSTOP)
        record(recorder, 0)
        assert recorder.lost == []
        recorder.close(timeout=0.5)
        (line,) = recorder.lost
    assert line.startswith("episode 0 is lost: the recorder did not finish within 0.5 s and was killed")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", tmp_path], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def test_a_full_disk_loses_no_committed_episode_and_recording_goes_on_when_there_is_room(small_disk: Path) -> None:
    with Recorder(small_disk, definition, SPEC, compression="none") as recorder:
        recorder.wait_ready()
        record(recorder, 0)
        assert recorder.wait(20)
        ballast = small_disk / "ballast"
        ballast.write_bytes(bytes(6 << 20))
        for number in range(90):
            recorder.received(blob("/camera", number, 100_000))
        until(lambda: "disk" in kinds(recorder))
        assert "the disk is full" in recorder.problems()[0].words
        record(recorder, 1)
        assert recorder.wait(20)
        assert [entry.state for entry in recorder.episodes] == ["committed", "lost"]
        assert "No space left" in recorder.episodes[1].reason
        assert_same(DemoStore.open(small_disk / "episodes.zarr").episode(0), episode(0))
        ballast.unlink()
        until(lambda: "disk" not in kinds(recorder))
        record(recorder, 2)
    assert [entry.state for entry in recorder.episodes] == ["committed", "lost", "committed"]
    store = DemoStore.open(small_disk / "episodes.zarr")
    assert store.num_episodes == 2 and store.check() == []
    for index, number in enumerate((0, 2)):
        assert_same(store.episode(index), episode(number))
    logged = list(read_log(small_disk / "run.mcap"))
    kept = [entry.raw for entry in logged if entry.topic == "/camera"]
    assert kept == [blob("/camera", number, 100_000).raw for number in range(90)]  # what had waited in memory is there too
    assert [json.loads(entry.raw)["event"] for entry in logged if entry.topic == EVENTS][-1] == "episode committed"
