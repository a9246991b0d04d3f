"""Bottleneck states marked on the command line: by hand, by the gripper, by contacts, by stages; and read by augmentation."""

import dataclasses

import numpy as np
import pytest

from robolearn import cli
from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.learning.bottlenecks import ahead, find_bottlenecks, first_touches, toggles
from tests.datasets.edit_commands import fails, run
from tests.datasets.episodes import SPEC, make_episode


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Toy demonstrations whose last channel closes at step 9, opens at 14 and closes again at 20; the last one never closes."""
    monkeypatch.chdir(tmp_path)
    episodes = []
    for number in range(3):
        episode = make_episode(number, steps=30)
        command = np.full(30, -1.0, np.float32)
        if number < 2:
            command[9:14], command[20:] = 1.0, 1.0
        episodes.append(dataclasses.replace(episode, actions=np.stack([episode.actions[:, 0], command], 1)))
    with DemoStore.create("demos.zarr", SPEC) as store:
        store.extend(episodes)
    return DemoStore.open("demos.zarr")


@pytest.fixture(scope="module")
def expert(tmp_path_factory):
    """Three demonstrations of one_leg's expert."""
    path = tmp_path_factory.mktemp("expert") / "expert.zarr"
    assert cli.main(["collect", "task=one_leg", "episodes=3", "num_envs=4", f"store={path}"]) == 0
    return path


def marks(path):
    store = DemoStore.open(path)
    return [store.provenance(index).get("bottlenecks") for index in range(store.num_episodes)]


def test_by_hand_each_episode_takes_its_own_steps(store, capsys):
    facts = run(capsys, "annotate", "store=demos.zarr", "out=marked.zarr", "steps={0: [13], 2: [20, 4]}")
    assert facts["changes"] == ["episode 0: bottlenecks [13]", "episode 2: bottlenecks [4, 20]"]
    assert marks("marked.zarr") == [[13], None, [4, 20]]
    made = DemoStore.open("marked.zarr")
    assert made.check() == []
    assert made.fingerprint() == store.fingerprint()  # what was recorded is the same
    assert marks("demos.zarr") == [None] * 3


@pytest.mark.parametrize(
    ("toggle", "count", "found"),
    [("close", "1", [[6], [6], None]), ("close", "0", [[6, 17], [6, 17], None]), ("open", "0", [[11], [11], None]),
     ("both", "2", [[6, 11], [6, 11], None])],
)  # fmt: skip
def test_the_gripper_marks_steps_ahead_of_its_toggles(store, capsys, toggle, count, found):
    run(capsys, "annotate", "store=demos.zarr", "out=marked.zarr", "method=gripper", f"toggle={toggle}", f"count={count}", "before=3")
    assert marks("marked.zarr") == found


def test_another_number_than_expected_is_told(store, capsys):
    facts = run(capsys, "annotate", "store=demos.zarr", "out=marked.zarr", "method=gripper", "before=3")
    assert facts["changes"][:2] == [
        "episode 0: 2 found, 1 expected; the first 1 are marked",
        "episode 1: 2 found, 1 expected; the first 1 are marked",
    ]
    assert "episode 2: 0 found, 1 expected" in facts["changes"]


def test_what_is_marked_already_stays_unless_told(store, capsys):
    run(capsys, "annotate", "store=demos.zarr", "out=once.zarr", "steps={0: [2]}")
    run(capsys, "annotate", "store=once.zarr", "out=kept.zarr", "method=gripper", "before=3")
    run(capsys, "annotate", "store=once.zarr", "out=anew.zarr", "method=gripper", "before=3", "keep=false")
    assert (marks("kept.zarr"), marks("anew.zarr")) == ([[2], [6], None], [[6], [6], None])


def test_a_dry_run_says_what_it_would_mark_and_writes_nothing(store, capsys, tmp_path):
    facts = run(capsys, "annotate", "store=demos.zarr", "out=marked.zarr", "steps={1: [3]}", "--dry-run")
    assert facts["changes"] == ["episode 1: bottlenecks [3]"]
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")) == ["demos.zarr"]


def test_mistakes_are_told_in_a_line(store, capsys, tmp_path):
    words = ("annotate", "store=demos.zarr", "out=marked.zarr")
    assert "no method='griper'; there are stages, contact, gripper; did you mean 'gripper'?" in fails(capsys, *words, "method=griper")
    assert "no toggle='shut'" in fails(capsys, *words, "method=gripper", "toggle=shut")
    assert "there is no step 30" in fails(capsys, *words, "steps={0: [30]}")
    assert "no episode 7" in fails(capsys, *words, "steps={7: [3]}")
    assert "steps={0:[131]" in fails(capsys, *words, "steps=[131]")
    assert "needs simulator states" in fails(capsys, *words, "method=contact")
    assert "nothing to mark" in fails(capsys, *words, "method=gripper", "episodes=[2-]")
    assert "takes a whole number" in fails(capsys, *words, "method=gripper", "count=-1")
    assert "stages takes a list of at least one, got []" in fails(capsys, *words, "stages=[]")
    assert "at least one world, got 0" in fails(capsys, *words, "num_envs=0")
    for word in ("method=contact", "count=5", "before=3", "stages=[near]", "keep=false", "episodes=[1]", "where=[success=true]"):
        said = fails(capsys, *words, "steps={0: [10]}", word)
        assert f"steps marks by hand the episodes that it names; leave out {word.partition('=')[0]}= or steps=" in said
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.startswith(".")) == ["demos.zarr"]


def test_steps_ahead_of_the_start_are_none():
    assert ahead([3, 20, 12, 12], 8) == [4, 12]


def test_toggles_are_the_first_steps_of_a_command():
    command = np.array([1, 1, -1, -1, 1, 0, 1])
    assert (toggles(command, "close"), toggles(command, "open"), toggles(command, "both")) == ([4, 6], [2, 5], [2, 4, 5, 6])


def test_a_touch_counts_once_it_lasts():
    touching = np.array([[0, 1], [1, 0], [0, 0], [1, 0], [1, 0]], bool)
    assert first_touches(touching) == [3]
    assert first_touches(touching, least=1) == [0, 1]
    assert first_touches(touching[:1]) == []


def test_one_leg_has_one_bottleneck_and_it_lies_ahead_of_the_insertion(expert, tmp_path, capsys):
    """JUICER counts one for one_leg: the leg upright over its hole, held, before it touches the top."""
    from robolearn.sim.assembly import Assembly

    found = {}
    for method in ("stages", "contact"):
        run(capsys, "annotate", f"store={expert}", f"out={tmp_path / method}.zarr", f"method={method}")
        found[method] = marks(tmp_path / f"{method}.zarr")
        assert [len(steps) for steps in found[method]] == [1, 1, 1]
    np.testing.assert_allclose(np.ravel(found["stages"]), np.ravel(found["contact"]), atol=4)
    made = DemoStore.open(tmp_path / "stages.zarr")
    before = compose("augment_backward").bottlenecks
    env = Assembly("one_leg", 3)
    try:
        episodes = list(made)
        stages = env.env_spec.stages
        env.reset(seed=[0, 1, 2])
        env.set_state(np.stack([episode.sim_state[steps[0]] for episode, steps in zip(episodes, found["stages"], strict=True)]))
        reached = env.get_state()[:, -len(stages) :] > 0
        assert reached[:, stages.index("upright")].all()
        assert not reached[:, stages.index("inserted")].any()
        assert find_bottlenecks(env, episodes, list(before.stages), int(before.before)) == found["stages"]
        bare = list(DemoStore.open(expert))
        assert find_bottlenecks(env, bare, list(before.stages), int(before.before)) == found["stages"]
    finally:
        env.close()


@pytest.mark.parametrize(("task", "count"), [("one_leg", 1), ("round_table", 3), ("lamp", 5), ("square_table", 4)])
def test_a_task_marks_as_many_bottlenecks_as_juicer_counts(task, count):
    bottlenecks = compose("data_annotate", [f"task={task}", "store=a.zarr", "out=b.zarr"]).task.bottlenecks
    assert bottlenecks.count == len(bottlenecks.stages) == count
