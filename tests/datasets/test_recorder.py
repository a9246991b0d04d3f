"""What is recorded while it happens is what would have been appended after; the loop waits for nobody, and nothing is lost in silence."""

import errno
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from robolearn.bench import recording
from robolearn.datasets import layout
from robolearn.datasets import recorder as recorder_module
from robolearn.datasets.commit import write_synced
from robolearn.datasets.recorder import Recorder
from robolearn.datasets.repair import repair
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.datasets.unfinished import Unfinished
from robolearn.errors import UserError
from robolearn.spec import ArraySpec, EnvSpec, SpecError
from tests.datasets.episodes import SPEC, assert_same, make_episode

CAMERA = EnvSpec(
    "toy",
    {"joints": ArraySpec((3,)), "front": ArraySpec((8, 6, 3), "uint8"), "depth": ArraySpec((8, 6), "uint16")},
    SPEC.action,
    30.0,
    extras={"grasped": ArraySpec((), "bool")},
)


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", CAMERA) as store:
        yield store


def play(recorder, episode, steps=None):
    """Hand an episode over, step by step."""
    for step in range(steps or len(episode)):
        state = {} if episode.sim_state is None else {"sim_state": episode.sim_state[step]}
        recorder.add(
            {name: values[step] for name, values in episode.observations.items()},
            episode.actions[step],
            reward=float(episode.rewards[step]),
            **{name: values[step] for name, values in episode.extras.items()},
            **state,
        )


def record(recorder, episode):
    recorder.begin(**{"task": None, **episode.provenance})
    play(recorder, episode)
    return recorder.end(success=episode.success, terminated=episode.terminated, truncated=episode.truncated)


def test_a_recorded_store_is_the_same_to_the_bit_as_one_appended_to(tmp_path, store):
    episodes = [make_episode(number, spec=CAMERA, steps=70, state_size=(0, 4, 4, 0)[number]) for number in range(4)]
    with Recorder(store) as recorder:
        assert [record(recorder, episode) for episode in episodes] == [0, 1, 2, 3]
    with DemoStore.create(tmp_path / "appended.zarr", CAMERA) as appended:
        appended.extend(episodes)
    for recorded, expected in zip(DemoStore.open(store.path), episodes, strict=True):
        assert_same(recorded, expected)
    assert store.fingerprint() == appended.fingerprint()
    assert DemoStore.open(store.path).check() == []
    store.append(episodes[0])  # and appending goes on where recording ended
    assert store.check() == []


def test_an_episode_longer_than_a_chunk_is_written_while_it_goes_on(store):
    episode = make_episode(0, spec=CAMERA, steps=2500)
    with Recorder(store) as recorder:
        recorder.begin(**episode.provenance)
        play(recorder, episode, 2400)
        deadline = time.monotonic() + 60
        while not list((store.path / "data/front/c").rglob("0")):  # another thread writes it
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert DemoStore.open(store.path).num_steps == 0  # nothing of it is there for a reader
        for step in range(2400, 2500):
            recorder.add({name: rows[step] for name, rows in episode.observations.items()}, episode.actions[step], grasped=True)
        recorder.end(success=True)
        assert recorder.report.steps == 2500
        assert recorder.report.frames == 5000
    assert (store.array("depth") == episode.observations["depth"]).all()
    assert store.check() == []


@pytest.mark.parametrize("image_codec", ["jpeg", "jpegxl"])
def test_lossy_pictures_are_digested_as_they_are_encoded(tmp_path, image_codec):
    pytest.importorskip("imagecodecs")
    with DemoStore.create(tmp_path / "demos.zarr", CAMERA, image_codec=image_codec) as store, Recorder(store) as recorder:
        for number in range(2):
            record(recorder, make_episode(number, spec=CAMERA, steps=40))
        assert store.check() == []
        assert len(store.episode(1)) == 40


def test_the_clock_ticks_and_the_last_step_of_a_success_is_rewarded(tmp_path):
    spec = replace(SPEC, observation={**SPEC.observation, "timestamp": ArraySpec((1,), "float64")})
    with DemoStore.create(tmp_path / "demos.zarr", spec) as store, Recorder(store) as recorder:
        recorder.begin(operator="ada")
        for _ in range(3):
            recorder.add({"joints": np.zeros(3)}, [0.0, 1.0])
        recorder.end(success=True, note="slow")
    episode = DemoStore.open(tmp_path / "demos.zarr").episode(0)
    assert episode.observations["timestamp"][0, 0] == 0
    assert (np.diff(episode.observations["timestamp"][:, 0]) > 0).all()
    assert episode.rewards.tolist() == [0, 0, 1]
    assert (episode.terminated, episode.truncated) == (True, False)
    assert dict(episode.provenance) == {"source": "teleop", "task": "toy", "operator": "ada", "note": "slow"}


def test_a_camera_may_reuse_its_buffer(store):
    with Recorder(store) as recorder:
        recorder.begin()
        picture = np.zeros((8, 6, 3), np.uint8)
        for value in range(100):
            picture[:] = value
            recorder.add({"joints": np.zeros(3), "front": picture, "depth": np.zeros((8, 6), np.uint16)}, [0, 0], grasped=False)
        recorder.end(success=False)
    assert store.array("front")[:, 0, 0, 0].tolist() == list(range(100))


def test_what_is_discarded_leaves_no_trace(store):
    kept = make_episode(0, spec=CAMERA, steps=70)
    with Recorder(store) as recorder:
        record(recorder, kept)
        recorder.begin()
        play(recorder, make_episode(1, spec=CAMERA, steps=90))
        recorder.discard()
        record(recorder, make_episode(2, spec=CAMERA, steps=10))
        recorder.begin()
        play(recorder, make_episode(3, spec=CAMERA, steps=90))
    store.close()
    store = DemoStore.open(store.path)
    assert store.lengths.tolist() == [70, 10]
    assert_same(store.episode(1), make_episode(2, spec=CAMERA, steps=10))
    assert store.check() == []
    assert repair(store.path, dry_run=True).bytes == 0


def test_a_step_that_does_not_fit_is_refused_and_the_episode_goes_on(store):
    episode = make_episode(0, spec=CAMERA, steps=5)
    seen = {name: values[0] for name, values in episode.observations.items()}
    with Recorder(store) as recorder:
        with pytest.raises(StoreError, match="call begin"):
            recorder.add(seen, [0, 0], grasped=True)
        recorder.begin()
        with pytest.raises(StoreError, match="being recorded"):
            recorder.begin()
        with pytest.raises(StoreError, match="no step to commit"):
            recorder.end(success=True)
        with pytest.raises(SpecError, match="'grasped' is missing"):
            recorder.add(seen, [0, 0])
        with pytest.raises(SpecError, match=r"'front' is float64 of shape \(8, 6, 3\), expected uint8"):
            recorder.add({**seen, "front": seen["front"] / 255}, [0, 0], grasped=True)
        with pytest.raises(SpecError, match="front is uint16, and uint8 does not hold it: it goes from 300 to 300"):
            recorder.add({**seen, "front": np.full((8, 6, 3), 300, np.uint16)}, [0, 0], grasped=True)
        with pytest.raises(SpecError, match="joints is float64, and float32 does not hold it"):
            recorder.add({**seen, "joints": np.full(3, 1e300)}, [0, 0], grasped=True)
        with pytest.raises(SpecError, match=r"sim_state has shape \(2, 2\), expected \(S,\)"):
            recorder.add(seen, [0, 0], grasped=True, sim_state=np.zeros((2, 2)))
        with pytest.raises(SpecError, match="'joints' holds NaN or infinity at step 0"):
            recorder.add({**seen, "joints": np.full(3, np.nan)}, [0, 0], grasped=True)
        with pytest.raises(SpecError, match="'wrist' is not in the store's spec"):
            recorder.add({**seen, "wrist": 0}, [0, 0], grasped=True)
        play(recorder, episode)
        recorder.end(success=True)
    assert store.lengths.tolist() == [5]


class Slow:
    """Holds the writing thread back until it is released."""

    def __init__(self, monkeypatch):
        self.go = threading.Event()
        real = Unfinished.add

        def add(episode, row):
            assert self.go.wait(20)
            real(episode, row)

        monkeypatch.setattr(recorder_module.Unfinished, "add", add)


def test_a_full_queue_makes_the_loop_wait_and_says_so(store, monkeypatch, caplog):
    slow, episode = Slow(monkeypatch), make_episode(0, spec=CAMERA, steps=20)
    with Recorder(store, queue_bytes=3000) as recorder:  # some ten steps
        recorder.begin()
        threading.Timer(0.3, slow.go.set).start()
        play(recorder, episode)
        recorder.end(success=True)
        report = recorder.report
    assert report.waits >= 1
    assert report.waited_s > 0.05
    assert 5 < report.deepest_queue < 20
    assert report.deepest_queue_bytes <= 3000
    assert "the loop waited" in caplog.text
    assert (store.array("front") == episode.observations["front"]).all()


def test_a_full_queue_raises_where_that_is_asked_for(store, monkeypatch):
    slow, episode = Slow(monkeypatch), make_episode(0, spec=CAMERA, steps=20)
    with Recorder(store, queue_bytes=3000, when_full="raise") as recorder:
        recorder.begin()
        with pytest.raises(StoreError, match=r"steps wait to be written, all that queue_bytes=3000 holds"):
            play(recorder, episode)
        slow.go.set()
        recorder.end(success=False)  # the steps that were taken
        assert store.num_steps == recorder.report.steps < 20
    with pytest.raises(UserError, match="when_full takes wait or raise"):
        Recorder(store, when_full="drop")
    with pytest.raises(UserError, match="queue_bytes must hold a step"):
        Recorder(store, queue_bytes=10)


@pytest.mark.parametrize("moment", ["add", "end"])
def test_a_full_disk_is_an_error_of_the_next_call_and_the_next_episode_is_recorded(store, monkeypatch, moment):
    first = make_episode(0, spec=CAMERA, steps=70)
    with Recorder(store) as recorder:
        record(recorder, first)
        with monkeypatch.context() as patch:

            def full(file, data):
                if "front" in file.parts or moment == "end":
                    raise OSError(errno.ENOSPC, "No space left on device")
                write_synced(file, data)

            patch.setattr("robolearn.datasets.commit.write_synced", full)
            recorder.begin()
            with pytest.raises(StoreError, match=r"No space left on device.*1 committed episodes are whole"):
                play(recorder, make_episode(1, spec=CAMERA, steps=5 if moment == "end" else 3000))
                recorder.end(success=True)
        assert DemoStore.open(store.path).num_episodes == 1
        record(recorder, make_episode(2, spec=CAMERA, steps=10))
    assert_same(store.episode(0), first)
    assert_same(store.episode(1), make_episode(2, spec=CAMERA, steps=10))
    assert store.check() == []


def test_a_store_that_is_read_only_is_not_recorded_to(store):
    with pytest.raises(StoreError, match="open for reading"):
        Recorder(DemoStore.open(store.path))


@pytest.mark.alone
def test_recording_two_cameras_at_30_hz_does_not_hold_the_loop_up(tmp_path):
    pytest.importorskip("imagecodecs")
    figures = {figure.name.removeprefix("data/record_jpeg_"): figure for figure in recording.figures({"seconds": 2, "folder": tmp_path})}
    assert figures["overrun_p99"].n == 60
    assert figures["overrun_p99"].value < 5
    assert 10 < figures["size"].value < 40
    assert figures["frames_busy"].value > 60  # it keeps up


def test_two_recorders_of_a_store_and_an_append_meanwhile_do_not_write_over_one_another(store):
    kept, other = make_episode(0, spec=CAMERA, steps=30), make_episode(1, spec=CAMERA, steps=30)
    with Recorder(store) as recorder, Recorder(store) as second:
        recorder.begin(**{"task": None, **kept.provenance})
        play(recorder, kept)
        with pytest.raises(StoreError, match="has an episode at hand"):
            second.begin()
        with pytest.raises(StoreError, match="has an episode at hand"):
            store.append(other)
        second.close()  # tidies nothing of the other's
        recorder.end(success=kept.success, terminated=kept.terminated, truncated=kept.truncated)
        assert store.append(other) == 1
    for number, episode in enumerate(DemoStore.open(store.path)):
        assert_same(episode, (kept, other)[number])
    assert store.check() == []


def test_a_recorder_of_a_closed_store_adds_nothing_where_others_write_now(store):
    recorder = Recorder(store)
    recorder.begin()
    play(recorder, make_episode(0, spec=CAMERA, steps=20))
    recorder._drain()  # all of it lies behind the last commit
    store.close()
    with DemoStore.open(store.path, "a") as other:
        other.append(make_episode(1, spec=CAMERA, steps=25))
        with pytest.raises(StoreError, match="was closed"):
            recorder.end(success=True)
        recorder.close()
        other.append(make_episode(2, spec=CAMERA, steps=5))
    for number, episode in enumerate(DemoStore.open(store.path), 1):
        assert_same(episode, make_episode(number, spec=CAMERA, steps=(0, 25, 5)[number]))


def test_an_episode_finds_out_that_others_were_committed_in_its_place(store):
    rows = {name: rows[0] for name, rows in layout.step_arrays(make_episode(0, spec=CAMERA), CAMERA).items()}
    unfinished = Unfinished(store, rows)
    unfinished.add(rows)
    store.append(make_episode(1, spec=CAMERA))
    for late in (lambda: unfinished.add(rows), lambda: unfinished.commit(layout.Ended(True, True, False), {})):
        with pytest.raises(StoreError, match="got other episodes"):
            late()
    with pytest.raises(StoreError, match="got other episodes"):
        store.commit([], np.array([1]))
    assert_same(DemoStore.open(store.path).episode(0), make_episode(1, spec=CAMERA))


def test_a_closed_recorder_takes_nothing_more(store):
    episode = make_episode(0, spec=CAMERA, steps=3)
    recorder = Recorder(store)
    recorder.close()
    with pytest.raises(StoreError, match="the recorder is closed"):
        recorder.begin()
    with pytest.raises(StoreError, match="the recorder is closed"):
        play(recorder, episode)
    assert store.append(episode) == 0
