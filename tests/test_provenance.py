"""Provenance has one vocabulary, and an edited episode's says its whole lineage."""

import pytest

from robolearn.errors import UserError
from robolearn.provenance import KEYS, LINEAGE, SOURCES, STEPS, abridged, cut_steps, derive, describe


def test_every_key_that_is_written_here_is_described():
    assert {*LINEAGE, *STEPS, "ancestors", "source"} <= KEYS.keys()
    assert all(source in KEYS["source"] for source in SOURCES)


def test_what_is_unknown_is_left_out_and_a_wrong_source_is_refused():
    assert describe("teleop", note=None, seed=0) == {"source": "teleop", "seed": 0}
    with pytest.raises(UserError, match="did you mean 'teleop'"):
        describe("telop")


def test_a_parent_within_the_same_store_gets_its_name_when_the_episode_leaves_it():
    before = {"source": "augmentation", "parent": 3, "parent_step": 40}
    known = derive(before, store="f1", episode=7, step=0, digest="d7", edit={"tool": "drop"})
    assert known["ancestors"] == [{"parent": 3, "parent_step": 40, "parent_store": "f1"}]
    assert (known["source"], known["parent"], known["parent_store"], known["parent_digest"]) == ("augmentation", 7, "f1", "d7")
    again = derive(known, store="f2", episode=1, step=5, digest="d1", edit={"tool": "trim"})
    assert [entry["parent_store"] for entry in again["ancestors"]] == ["f1", "f1"]
    assert (again["parent"], again["parent_step"], again["parent_store"]) == (1, 5, "f2")


def test_steps_move_with_a_cut_head_and_go_with_what_is_cut():
    known = {"failure_step": 12, "bottlenecks": [3, 10, 19], "seed": 12}
    assert cut_steps(known, 10, 19) == {"failure_step": 2, "bottlenecks": [0], "seed": 12}
    assert cut_steps(known, 0, 12) == {"bottlenecks": [3, 10], "seed": 12}


def test_texts_and_flags_of_steps_move_with_a_cut_head():
    runs = [[0, "pick"], [10, "screw"], [20, "rest"]]
    known = {"tasks": runs, "texts": {"said": runs, "whole": "always"}, "flags": {"is_last": [4, 19]}, "task": "pick"}
    cut = cut_steps(known, 5, 20)
    assert cut["tasks"] == cut["texts"]["said"] == [[0, "pick"], [5, "screw"]]
    assert (cut["texts"]["whole"], cut["flags"], cut["task"]) == ("always", {"is_last": [14]}, "pick")
    assert cut_steps(known, 10, 12)["tasks"] == [[0, "screw"]]
    assert cut_steps(known, 12, 25)["tasks"] == [[0, "screw"], [8, "rest"]]


def test_where_a_snippet_was_judged_stays_with_the_parent_it_counts_in():
    before = {"source": "augmentation", "parent": 3, "parent_step": 40, "parent_store": "f0", "judged_at": 55}
    known = derive(before, store="f1", episode=7, step=2, digest="d7", edit={"tool": "trim"})
    assert "judged_at" not in known
    assert known["ancestors"] == [{"parent": 3, "parent_step": 40, "parent_store": "f0", "judged_at": 55}]


def test_long_texts_are_cut_wherever_they_are():
    cut = abridged({"a": ["x" * 500], "b": {"c": "x" * 500}, "d": 1})
    assert len(cut["a"][0]) < 300
    assert len(cut["b"]["c"]) < 300
    assert cut["d"] == 1
