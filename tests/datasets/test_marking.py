"""Marks become provenance and outcomes of a new store, whoever sets them."""

import pytest

from robolearn.datasets.editing import Plan, write
from robolearn.datasets.layout import StoreError
from robolearn.datasets.marking import Mark, marked_pieces, read_mark
from robolearn.datasets.store import DemoStore
from tests.datasets.edit_commands import COUNT, make_store
from tests.datasets.episodes import SPEC


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "demos.zarr", range(COUNT))


def marked(store, marks, name="marked.zarr"):
    pieces, notes = marked_pieces(store, marks, "view")
    out = store.path.parent / name
    write([Plan(out, [store], pieces, SPEC, {"tool": "view"})], overwrite=False)
    return DemoStore.open(out), notes


def test_each_episode_takes_its_own_mark_and_the_others_stay(store):
    success = next(index for index in range(COUNT) if store.column("success")[index])
    made, notes = marked(store, {success: Mark(success=False, failure_step=1, bottlenecks=(0, 2)), 7: Mark(note="look again")})
    assert made.check() == []
    assert made.outcomes()[success] == "failure"
    assert bool(made.column("terminated")[success])  # as recorded
    known = made.provenance(success)
    assert (known["failure_step"], known["bottlenecks"]) == (1, [0, 2])
    assert known["edit"] == {"tool": "view", "outcome": ["success", "failure"], "failure_step": 1, "bottlenecks": [0, 2]}
    assert made.provenance(7)["note"] == "look again"
    assert notes == [
        f"episode {success}: success -> failure, failure_step 1, bottlenecks [0, 2]",
        "episode 7: note 'look again'",
    ]
    other = next(index for index in range(COUNT - 1) if index != success)
    assert made.provenance(other)["note"] == store.provenance(other)["note"]
    assert made.column("digest").tolist() == store.column("digest").tolist()


def test_empty_marks_take_off_what_was_known(store):
    first, _ = marked(store, {0: Mark(success=False, failure_step=1, bottlenecks=(1,))})
    made, _ = marked(first, {0: Mark(note="", failure_step=-1, bottlenecks=())}, "again.zarr")
    assert not {"note", "failure_step", "bottlenecks"} & made.provenance(0).keys()


def test_a_success_has_no_failure_step(store):
    first, _ = marked(store, {0: Mark(success=False, failure_step=1)})
    made, _ = marked(first, {0: Mark(success=True)}, "again.zarr")
    assert "failure_step" not in made.provenance(0)
    assert made.outcomes()[0] == "success"
    with pytest.raises(StoreError, match="is a success; mark it as a failure too"):
        marked_pieces(made, {0: Mark(failure_step=1)}, "view")


def test_dropped_episodes_are_left_out_and_lineage_says_which_is_which(store):
    made, notes = marked(store, {2: Mark(drop=True), 3: Mark(bottlenecks=(1,))})
    assert made.num_episodes == COUNT - 1
    assert made.provenance(2)["parent"] == 3
    assert made.provenance(2)["bottlenecks"] == [1]
    assert notes[0] == "episode 2: dropped"


def test_marks_that_do_not_fit_name_what_would(store):
    with pytest.raises(StoreError, match="no episode 99; it has 8"):
        marked_pieces(store, {99: Mark(drop=True)}, "view")
    with pytest.raises(StoreError, match="there is no step 500"):
        marked_pieces(store, {0: Mark(bottlenecks=(500,))}, "view")
    with pytest.raises(StoreError, match="there is no step -2"):
        marked_pieces(store, {0: Mark(success=False, failure_step=-2)}, "view")
    with pytest.raises(StoreError, match="nothing of"):
        marked_pieces(store, {index: Mark(drop=True) for index in range(COUNT)}, "view")


def test_a_mark_from_json_is_checked_value_by_value():
    assert read_mark({"bottlenecks": [5, 1, 5], "success": False}, "it") == Mark(success=False, bottlenecks=(1, 5))
    for entry, said in (
        ([], "expected an object"),
        ({"failure_step": 2.0}, "expected int"),
        ({"failure_step": True}, "expected int"),
        ({"note": "x" * 20_000}, "at most"),
        ({"drop": 1}, "expected bool"),
    ):
        with pytest.raises(StoreError, match=said):
            read_mark(entry, "it")
