"""Trimming and labelling: what happens to the end, the outcome and the steps that the provenance names."""

import dataclasses

import numpy as np
import pytest

from robolearn.datasets.store import DemoStore
from tests.datasets.edit_commands import COUNT, fails, make_store, run
from tests.datasets.episodes import SPEC, make_episode


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_store(tmp_path / "demos.zarr", range(COUNT), operator="someone")


def test_a_cut_head_changes_nothing_about_the_end(store, capsys):
    run(capsys, "trim", "store=demos.zarr", "out=cut.zarr", "head=2", "episodes=[1-3]")
    made = DemoStore.open("cut.zarr")
    assert made.check() == []
    for number in range(COUNT):
        head = 2 if 1 <= number <= 3 else 0
        before, after = make_episode(number), made.episode(number)
        np.testing.assert_array_equal(after.actions, before.actions[head:])
        np.testing.assert_array_equal(after.observations["joints"], before.observations["joints"][head:])
        assert (after.success, after.terminated, after.truncated) == (before.success, before.terminated, before.truncated)
        assert after.provenance["parent_step"] == head
    assert made.column("digest")[0] == store.column("digest")[0]
    assert made.column("digest")[1] != store.column("digest")[1]


def test_an_episode_whose_end_is_cut_off_did_not_end_unless_told(store, capsys):
    success = int(np.flatnonzero(store.column("success"))[0])
    length = int(store.lengths[success])
    facts = run(capsys, "trim", "store=demos.zarr", "out=cut.zarr", f"ranges=[{success}::-1]")
    assert facts["changes"] == [f"episode {success}: steps 0 to {length - 1} of {length}; its end is cut off: unfinished (was success)"]
    cut = DemoStore.open("cut.zarr")
    episode = cut.episode(success)
    assert (len(episode), episode.success, episode.terminated, episode.truncated) == (length - 1, False, False, False)
    assert cut.column("outcome")[success] == "unfinished"
    assert cut.provenance(success)["edit"] == {"tool": "trim", "kept": [0, length - 1], "of": length, "ending": "cut"}
    run(capsys, "trim", "store=demos.zarr", "out=kept.zarr", f"ranges=[{success}::-1]", "ending=keep")
    episode = DemoStore.open("kept.zarr").episode(success)
    assert (len(episode), episode.success, episode.terminated) == (length - 1, True, True)


def test_steps_named_in_the_provenance_move_with_a_cut_head(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DemoStore.create("demos.zarr", SPEC) as store:
        for lost in (7, 1, 19):
            known = {"source": "teleop", "failure_step": lost, "bottlenecks": [2, 8, 18]}
            store.append(dataclasses.replace(make_episode(lost, steps=20), provenance=known))
    run(capsys, "trim", "store=demos.zarr", "out=cut.zarr", "head=5", "tail=1")
    made = [DemoStore.open("cut.zarr").provenance(index) for index in range(3)]
    assert [known.get("failure_step") for known in made] == [2, None, None]
    assert [known["bottlenecks"] for known in made] == [[3, 13]] * 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to trim"),
        (["ranges=[0:5:5]"], "nothing is left"),
        (["head=1000"], "nothing is left"),
        (["ranges=[0:1:2,0:3:5]"], "episode 0 is cut twice"),
        (["ranges=[0:1:2]", "head=1"], "episode 0 is cut twice"),
        (["ranges=[99:0:5]"], "has no episode 99"),
        (["ranges=[0-5]"], "such as ranges=[3:10:200"),
        (["head=1", "ending=cutt"], "did you mean 'cut'?"),
    ],
)
def test_a_trim_that_means_nothing_is_refused(store, tmp_path, capsys, words, says):
    assert says in fails(capsys, "trim", "store=demos.zarr", "out=cut.zarr", *words)
    assert not (tmp_path / "cut.zarr").exists()


def test_label_changes_the_outcome_and_says_what_it_was(store, capsys):
    failed = int(np.flatnonzero(~store.column("success"))[0])
    run(capsys, "label", "store=demos.zarr", "out=new.zarr", f"episode={failed}", "success=true", "note='late, but there'")
    made = DemoStore.open("new.zarr")
    assert made.check() == []
    assert (bool(made.column("success")[failed]), made.column("outcome")[failed]) == (True, "success")
    assert made.provenance(failed)["note"] == "late, but there"
    assert made.provenance(failed)["edit"]["outcome"] == ["timeout", "success"]
    assert made.column("digest").tolist() == store.column("digest").tolist()
    others = np.arange(COUNT) != failed
    assert made.column("outcome")[others].tolist() == store.column("outcome")[others].tolist()
    run(capsys, "label", "store=new.zarr", "out=newer.zarr", f"episodes=[{failed}]", "success=false", "failure_step=2")
    again = DemoStore.open("newer.zarr")
    assert (again.column("outcome")[failed], again.provenance(failed)["failure_step"]) == ("timeout", 2)
    run(capsys, "label", "store=newer.zarr", "out=newest.zarr", f"episodes=[{failed}]", "success=true")
    assert "failure_step" not in DemoStore.open("newest.zarr").provenance(failed)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["episode=0"], "nothing to label"),
        (["success=true"], "choose what to label"),
        (["episode=0", "episodes=[1]", "success=true"], "either episode= or episodes="),
        (["episode=0", "success=maybe"], "success takes true or false"),
        (["episode=0", "success=false", "failure_step=1000"], "steps, counted from 0"),
        (["where=[success=true]", "failure_step=0"], "give success=false too"),
        (["episode=99", "success=true"], "has no episodes 99"),
        (["where=[steps>1000]", "success=true"], "no episode of demos.zarr is chosen"),
    ],
)
def test_a_label_that_means_nothing_is_refused(store, tmp_path, capsys, words, says):
    assert says in fails(capsys, "label", "store=demos.zarr", "out=new.zarr", *words)
    assert not (tmp_path / "new.zarr").exists()
