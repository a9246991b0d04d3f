"""Everything of a run is kept as it came, in another process: messages in an MCAP file, episodes in a store, events in a list."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from robolearn.datasets.store import DemoStore
from robolearn.deploy.recording.reading import read_log
from robolearn.deploy.recording.recorder import Recorder
from robolearn.errors import UserError
from robolearn.robot_run import RUN, read_run
from tests.deploy.recording.doubles import SPEC, assert_same, blob, definition, episode, joint_state, play, record


def test_messages_are_read_back_by_another_projects_decoder_as_they_were_sent(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # its own docstring says so of itself
        reader = pytest.importorskip("mcap_ros2.reader")
    with Recorder(tmp_path, definition, run={"robot": "toy", "policy": {"step": 5}}) as recorder:
        recorder.wait_ready()
        for number in range(40):
            recorder.received(joint_state(number))
        command = joint_state(99)
        recorder.sent("/command", command.type, command.raw, 77)
        recorder.mark("fault", "it broke", stamp=88, code=3)
    assert recorder.problems() == []
    decoded = list(reader.read_ros2_messages(tmp_path / "run.mcap", ["/joint_states", "/command"]))
    assert [message.channel.topic for message in decoded] == ["/command"] + ["/joint_states"] * 40
    for number, message in enumerate(decoded[1:]):
        assert message.log_time_ns == 1_000_000 + number
        assert message.ros_msg.header.stamp.sec == number and message.ros_msg.header.frame_id == "base"
        assert list(message.ros_msg.position) == [number, 0.5] and list(message.ros_msg.name) == ["a", "b"]
    raw = [entry for entry in read_log(tmp_path / "run.mcap") if entry.topic == "/joint_states"]
    assert [entry.raw for entry in raw] == [joint_state(number).raw for number in range(40)]
    by_topic = {entry.topic: entry for entry in read_log(tmp_path / "run.mcap")}
    assert (by_topic["/joint_states"].direction, by_topic["/command"].direction) == ("received", "sent")
    assert json.loads(by_topic["/robolearn/events"].raw) == {"stamp": 88, "event": "fault", "words": "it broke", "code": 3}
    assert metadata(tmp_path / "run.mcap")["run"] == {"robot": "toy", "policy": '{"step": 5}'}


def metadata(file: Path) -> dict[str, dict[str, str]]:
    from mcap.reader import make_reader

    with file.open("rb") as stream:
        return {entry.name: entry.metadata for entry in make_reader(stream).iter_metadata()}


def test_messages_of_ros_1_say_so(tmp_path: Path) -> None:
    from mcap.reader import make_reader

    with Recorder(tmp_path, lambda type: "string data", encoding="ros1", compression="lz4") as recorder:
        recorder.received(blob("/chatter", 0, 20))
    with (tmp_path / "run.mcap").open("rb") as stream:
        ((schema, channel, message),) = make_reader(stream).iter_messages()
    assert schema is not None
    assert (schema.name, schema.encoding, channel.message_encoding) == ("std_msgs/String", "ros1msg", "ros1")
    assert message.data == blob("/chatter", 0, 20).raw


def test_episodes_in_the_store_are_what_was_sent_and_a_discarded_one_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere" / "all.zarr"
    made = []
    for first in (0, 2):  # a second run adds to the first one's store
        run = tmp_path / f"run_{first}"
        run.mkdir()
        with Recorder(run, definition, SPEC, store=place) as recorder:
            recorder.wait_ready()
            made.append(record(recorder, first))
            recorder.begin("teleop", operator="ada")
            play(recorder, episode(7))
            recorder.discard()
            made.append(record(recorder, first + 1))
            assert recorder.wait(20)
            recorder.begin()
            play(recorder, episode(8))
        assert [entry.state for entry in recorder.episodes] == ["committed", "discarded", "committed", "discarded"]
        assert [entry.index for entry in recorder.episodes] == [first, None, first + 1, None]
        assert recorder.episodes[0].interventions == made[first].extras["intervention"].sum()
    there = DemoStore.open(place)
    assert there.num_episodes == 4 and there.check() == [] and there.torn_steps == 0
    for number, expected in enumerate(made):
        assert_same(there.episode(number), expected)
        provenance = there.provenance(number)
        assert (provenance["source"], provenance["seed"], provenance["note"]) == ("rollout", number, f"note {number}")
    (tmp_path / "run_2" / RUN).write_text("{}")
    told = read_run(tmp_path / "run_2").episodes  # as the report will tell them
    assert [entry.outcome for entry in told] == ["committed", "discarded", "committed", "discarded"]
    known = [[entry.told.get(name) for name in ("index", "seed", "success", "truncated", "steps", "note", "source")] for entry in told[:3]]
    assert known[0] == [2, 2, True, False, 12, "note 2", "rollout"]
    assert known[1] == [None, None, None, None, 12, None, "teleop"] and told[1].told["operator"] == "ada"
    assert known[2] == [3, 3, False, True, 12, "note 3", "rollout"]
    assert all(entry.began < entry.ended for entry in told)  # type: ignore[operator]


def test_an_episode_that_nobody_labelled_says_so(tmp_path: Path) -> None:
    with Recorder(tmp_path, definition, SPEC, raw=False) as recorder:
        recorder.begin("teleop")
        play(recorder, episode(1))
        recorder.finish(None)
    store = DemoStore.open(tmp_path / "episodes.zarr")
    assert store.provenance(0)["labelled"] is False and not store.episode(0).success
    assert list(store.column("outcome")) == ["unfinished"]
    assert not list(tmp_path.glob("*.mcap"))


def test_a_step_that_does_not_fit_costs_its_episode_and_no_other(tmp_path: Path) -> None:
    with Recorder(tmp_path, definition, SPEC) as recorder:
        for wrong in ({"joints": np.zeros(6, np.float32)}, {"joints": np.full(7, np.nan, np.float32)}, {"joints": None}):
            recorder.begin()
            play(recorder, episode(0), 3)
            recorder.step({"front": np.zeros((8, 6, 3), np.uint8), **wrong}, np.zeros(2))
            recorder.finish(success=True)
        made = record(recorder, 4)
    assert [entry.state for entry in recorder.episodes] == ["lost", "lost", "lost", "committed"]
    for entry, words in zip(recorder.episodes, ("shape (6,)", "NaN", "'joints' holds no numbers"), strict=False):
        assert words in entry.reason
    assert [problem.kind for problem in recorder.problems()] == ["lost"] * 3
    assert_same(DemoStore.open(tmp_path / "episodes.zarr").episode(0), made)


def test_a_store_of_another_spec_or_one_that_is_written_to_is_refused_before_the_run(tmp_path: Path) -> None:
    place = tmp_path / "episodes.zarr"
    writing = DemoStore.create(place, SPEC)
    with Recorder(tmp_path, definition, SPEC) as recorder, pytest.raises(UserError, match="is being written by process"):
        recorder.wait_ready()
    writing.close()
    with Recorder(tmp_path, definition, SPEC) as recorder, pytest.raises(UserError, match=r"another spec: its extras differ"):
        recorder.wait_ready()
    with Recorder(tmp_path, definition, compression="bzip") as recorder, pytest.raises(UserError, match="no compression 'bzip'"):
        recorder.wait_ready()


def test_a_tick_is_not_held_up_by_a_recorder_that_is_only_starting(tmp_path: Path) -> None:
    with Recorder(tmp_path, definition, SPEC) as recorder:
        recorder.begin()
        took = []
        made = episode(0, steps=200)
        for step in range(200):
            started = time.perf_counter()
            recorder.received(joint_state(0))
            recorder.step({name: values[step] for name, values in made.observations.items()}, made.actions[step])
            took.append(time.perf_counter() - started)
        recorder.finish(success=True)
    assert np.median(took) < 2e-3  # 50 us where nothing else runs
    assert DemoStore.open(tmp_path / "episodes.zarr").lengths.tolist() == [200]
