"""The editing tools on the command line: a new store, the old one untouched, and every episode says where it is from."""

import asyncio
import dataclasses
import time

import numpy as np
import pytest
from zarr.storage import LocalStore

from robolearn.cli import main
from robolearn.datasets import editing
from robolearn.datasets.editing import Plan, whole, write
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from robolearn.lock import LockedError, WriterLock
from robolearn.spec import ActionSpec, ArraySpec
from tests.datasets.edit_commands import COUNT, fails, make_store, run
from tests.datasets.episodes import SPEC, assert_same, make_episode


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_store(tmp_path / "demos.zarr", range(COUNT), operator="someone")


def content(store, index):
    """An episode without its provenance."""
    return dataclasses.replace(store.episode(index), provenance={})


def test_drop_keeps_the_others_to_the_bit_and_says_where_they_are_from(store, capsys):
    facts = run(capsys, "drop", "store=demos.zarr", "out=fewer.zarr", "episodes=[0,3-5]")
    made, kept = DemoStore.open("fewer.zarr"), [1, 2, 6, 7]
    assert facts["made"][0]["episodes"] == made.num_episodes == 4
    assert made.check() == []
    for index, number in enumerate(kept):
        assert_same(content(made, index), dataclasses.replace(make_episode(number), provenance={}))
        known = made.provenance(index)
        assert made.column("digest")[index] == store.column("digest")[number] == known["parent_digest"]
        assert (known["parent"], known["parent_step"], known["parent_store"]) == (number, 0, store.fingerprint())
        assert known["edit"] == {"tool": "drop"}
        assert (known["seed"], known["note"]) == (number, f"épisode {number}")
        assert made.column("parent")[index] == number
    assert made.attrs["operator"] == "someone"
    assert made.attrs["edited"]["tool"] == "drop"
    assert made.attrs["edited"]["made_of"][0]["fingerprint"] == store.fingerprint()


def test_lineage_goes_back_through_every_edit(store, capsys):
    run(capsys, "drop", "store=demos.zarr", "out=one.zarr", "episodes=[0]")
    run(capsys, "trim", "store=one.zarr", "out=two.zarr", "head=1")
    run(capsys, "drop", "store=two.zarr", "out=three.zarr", "episodes=[0]")
    known = DemoStore.open("three.zarr").provenance(0)
    lineage = [*known["ancestors"], known]
    assert [entry["edit"]["tool"] for entry in lineage] == ["drop", "trim", "drop"]
    assert [entry["parent"] for entry in lineage] == [2, 1, 1]
    assert [entry["parent_step"] for entry in lineage] == [0, 1, 0]
    assert lineage[0]["parent_store"] == store.fingerprint()
    assert lineage[1]["parent_store"] == DemoStore.open("one.zarr").fingerprint()
    assert lineage[0]["parent_digest"] == lineage[1]["parent_digest"] == store.column("digest")[2]


def test_merge_joins_stores_in_order(store, tmp_path, capsys):
    make_store(tmp_path / "more.zarr", range(20, 23), operator="another")
    run(capsys, "merge", "stores=[demos.zarr,more.zarr]", "out=all.zarr")
    made = DemoStore.open("all.zarr")
    assert made.check() == []
    for index, number in enumerate([*range(COUNT), *range(20, 23)]):
        assert_same(content(made, index), dataclasses.replace(make_episode(number), provenance={}))
    assert [entry["attributes"] for entry in made.attrs["edited"]["made_of"]] == [{"operator": "someone"}, {"operator": "another"}]
    assert "operator" not in made.attrs


def test_merge_refuses_the_same_episode_twice_unless_told(store, tmp_path, capsys):
    make_store(tmp_path / "more.zarr", [20, 5])
    words = ("merge", "stores=[demos.zarr,more.zarr]", "out=all.zarr")
    assert "episode 1 of more.zarr is episode 5 of demos.zarr once more; give duplicates=drop" in fails(capsys, *words)
    facts = run(capsys, *words, "duplicates=drop")
    assert facts["made"][0]["episodes"] == COUNT + 1
    assert facts["changes"] == ["left out: episode 1 of more.zarr is episode 5 of demos.zarr once more"]
    assert run(capsys, *words, "duplicates=keep", "overwrite=true")["made"][0]["episodes"] == COUNT + 2


def test_merge_names_what_differs_between_specs(store, tmp_path, capsys):
    wider = dataclasses.replace(SPEC, action=ActionSpec(("x", "y"), (-2.0, -1.0), (1.0, 1.0)))
    make_store(tmp_path / "wider.zarr", [20], wider)
    assert "action 'low' is (-1.0, -1.0) in demos.zarr" in fails(capsys, "merge", "stores=[demos.zarr,wider.zarr]", "out=all.zarr")
    make_store(tmp_path / "faster.zarr", [20], dataclasses.replace(SPEC, control_hz=20.0))
    assert "control_hz is 10.0 in demos.zarr" in fails(capsys, "merge", "stores=[demos.zarr,faster.zarr]", "out=all.zarr")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"extras": {"dones": ArraySpec((), "int64")}}, ("extras 'dones' is absent in", "int64")),
        ({"reward_dtype": "float64"}, ("reward_dtype is float32 in", "float64")),
        ({"action": dataclasses.replace(SPEC.action, dtype="float64")}, ("action 'dtype' is float32 in", "float64")),
    ],
)
def test_merge_refuses_what_would_not_be_what_was_written(store, capsys, tmp_path, changes, says):
    make_store(tmp_path / "other.zarr", [20], dataclasses.replace(SPEC, **changes))
    error = fails(capsys, "merge", "stores=[demos.zarr,other.zarr]", "out=all.zarr")
    assert all(part in error for part in says)
    assert "stores of one spec" in fails(capsys, "merge", "stores=[other.zarr,demos.zarr]", "out=all.zarr")
    make_store(tmp_path / "another.zarr", [21], dataclasses.replace(SPEC, **changes))
    run(capsys, "merge", "stores=[other.zarr,another.zarr]", "out=all.zarr")
    assert DemoStore.open("all.zarr").check() == []


def test_merged_tasks_need_a_name_and_stay_known_by_episode(store, tmp_path, capsys):
    make_store(tmp_path / "other.zarr", [20], dataclasses.replace(SPEC, task="other"))
    words = ("merge", "stores=[demos.zarr,other.zarr]", "out=all.zarr")
    assert "task_name=toy" in fails(capsys, *words)
    run(capsys, *words, "task_name=both")
    made = DemoStore.open("all.zarr")
    assert made.env_spec.task == "both"
    assert (made.provenance(0)["task"], made.provenance(COUNT)["task"]) == ("toy", "other")


def test_states_of_some_stores_alone_are_kept(store, tmp_path, capsys):
    with DemoStore.create(tmp_path / "stateful.zarr", SPEC) as other:
        other.append(make_episode(30, state_size=5))
    run(capsys, "merge", "stores=[demos.zarr,stateful.zarr]", "out=all.zarr")
    made = DemoStore.open("all.zarr")
    assert made.check() == []
    assert made.episode(0).sim_state is None
    np.testing.assert_array_equal(made.episode(COUNT).sim_state, make_episode(30, state_size=5).sim_state)


def test_split_shares_out_every_episode_and_depends_on_the_seed(store, capsys):
    words = ("split", "store=demos.zarr", "out=[a.zarr,b.zarr]", "overwrite=true")
    draws = set()
    for seed in (0, 0, 1, 2):
        run(capsys, *words, "fraction=0.75", f"seed={seed}")
        sides = [sorted(DemoStore.open(name).column("parent").tolist()) for name in ("a.zarr", "b.zarr")]
        assert [len(side) for side in sides] == [6, 2]
        assert sorted(sides[0] + sides[1]) == list(range(COUNT))
        draws.add((seed, *sides[1]))
    assert len({draw[0] for draw in draws}) == len(draws)  # the same seed, the same split
    assert len({draw[1:] for draw in draws}) > 1
    run(capsys, *words, "episodes=[0-1]")
    assert DemoStore.open("a.zarr").column("parent").tolist() == [0, 1]


def test_what_was_made_from_an_episode_is_split_with_it(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DemoStore.create("family.zarr", SPEC) as store:
        for number in range(12):
            known = {"source": "augmentation", "parent": number - 1} if number % 3 else {"source": "teleop"}
            store.append(dataclasses.replace(make_episode(number), provenance=known))
    for seed in range(2):
        run(capsys, "split", "store=family.zarr", "out=[a.zarr,b.zarr]", "fraction=0.5", f"seed={seed}", "overwrite=true")
        families = {number // 3 for number in DemoStore.open("a.zarr").column("parent").tolist()}
        assert len(families) == 2
        assert DemoStore.open("a.zarr").num_episodes == 6


def halves(capsys, store, seed):
    """The seeds that the episodes of the two sides of a split were drawn from, which name them through every edit."""
    run(capsys, "split", f"store={store}", "out=[a.zarr,b.zarr]", "fraction=0.5", f"seed={seed}", "overwrite=true")
    return [
        {known["family"] for known in map(side.provenance, range(side.num_episodes))} for side in map(DemoStore.open, ("a.zarr", "b.zarr"))
    ]


def test_kin_is_split_together_after_edits_and_across_merged_stores(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DemoStore.create("expert.zarr", SPEC) as expert, DemoStore.create("snippets.zarr", SPEC) as snippets:
        for number in range(6):
            expert.append(dataclasses.replace(make_episode(number), provenance={"source": "expert", "family": number}))
        for number in range(12):
            known = {"source": "augmentation", "family": number % 6, "parent": number % 6, "parent_store": expert.fingerprint()}
            snippets.append(dataclasses.replace(make_episode(20 + number), provenance=known))
    run(capsys, "merge", "stores=[snippets.zarr,expert.zarr]", "out=all.zarr")
    run(capsys, "label", "store=all.zarr", "out=labelled.zarr", "episode=0", "success=true")
    for store in ("all.zarr", "labelled.zarr"):
        for seed in range(3):
            first, second = halves(capsys, store, seed)
            assert len(first) == len(second) == 3
            assert not first & second


def test_kin_within_a_store_is_split_together_after_an_edit(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with DemoStore.create("family.zarr", SPEC) as store:
        for number in range(12):
            known = {"source": "augmentation", "parent": number % 4} if number >= 4 else {"source": "teleop"}
            store.append(dataclasses.replace(make_episode(number), provenance={**known, "family": number % 4}))
    run(capsys, "label", "store=family.zarr", "out=labelled.zarr", "episode=0", "success=true")
    run(capsys, "trim", "store=labelled.zarr", "out=cut.zarr", "head=1")
    for seed in range(3):
        first, second = halves(capsys, "cut.zarr", seed)
        assert len(first) == len(second) == 2
        assert not first & second


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fraction=0.01"], "a.zarr would get none"),
        (["fraction=0.99"], "b.zarr would get none"),
        (["fraction=1.5"], "between 0 and 1"),
        ([], "either fraction=0.9, or episodes"),
        (["fraction=0.5", "episodes=[1]"], "either fraction=0.9, or episodes"),
        (["out=[a.zarr,a.zarr]", "fraction=0.5"], "makes two stores"),
        (["out=[a.zarr,a.zarr/in]", "fraction=0.5"], "a.zarr/in lies within a.zarr"),
        (["out=[a.zarr/in,a.zarr]", "fraction=0.5", "dry_run=true"], "a.zarr/in lies within a.zarr"),
        (["out=a.zarr", "fraction=0.5"], "give a list of 2 or more"),
    ],
)
def test_a_split_that_means_nothing_is_refused(store, tmp_path, capsys, words, says):
    out = [] if any(word.startswith("out=") for word in words) else ["out=[a.zarr,b.zarr]"]
    assert says in fails(capsys, "split", "store=demos.zarr", *out, *words)
    assert not (tmp_path / "a.zarr").exists()
    assert not (tmp_path / "b.zarr").exists()


EDITS = [
    ["merge", "stores=[demos.zarr,more.zarr]", "out=out.zarr"],
    ["drop", "store=demos.zarr", "out=out.zarr", "episodes=[0]"],
    ["split", "store=demos.zarr", "out=[out.zarr,rest.zarr]", "fraction=0.5"],
    ["trim", "store=demos.zarr", "out=out.zarr", "head=1"],
    ["label", "store=demos.zarr", "out=out.zarr", "episode=0", "success=true"],
]


@pytest.mark.parametrize("words", EDITS, ids=lambda words: words[0])
def test_a_dry_run_says_what_would_be_made_and_writes_nothing(store, tmp_path, capsys, words):
    make_store(tmp_path / "more.zarr", range(20, 23))
    before = sorted(tmp_path.rglob("*"))
    dry = run(capsys, *words, "--dry-run")
    assert sorted(tmp_path.rglob("*")) == before
    assert dry["dry_run"] is True
    assert main(["data", *words, "dry_run=true"]) == 0
    assert capsys.readouterr().out.startswith("dry run, nothing is written; it would make\nout.zarr: ")
    wet = run(capsys, *words)
    for said, done in zip(dry["made"], wet["made"], strict=True):
        assert (said["store"], said["episodes"], said["steps"]) == (done["store"], done["episodes"], done["steps"])
    assert dry["changes"] == wet["changes"]


@pytest.mark.parametrize("words", EDITS, ids=lambda words: words[0])
def test_no_store_is_replaced_unasked_and_none_is_edited_in_place(store, tmp_path, capsys, words):
    make_store(tmp_path / "more.zarr", range(20, 23))
    make_store(tmp_path / "out.zarr", [40])
    for dry_run in ("dry_run=true", "dry_run=false"):
        assert "out.zarr exists" in fails(capsys, *words, dry_run)
    in_place = [word.replace("out.zarr", "demos.zarr") for word in words]
    for dry_run in ("dry_run=true", "dry_run=false"):
        assert "give another out=" in fails(capsys, *in_place, "overwrite=true", dry_run)
    assert DemoStore.open("out.zarr").fingerprint() != store.fingerprint()
    run(capsys, *words, "overwrite=true")
    assert DemoStore.open("out.zarr").attrs["edited"]["tool"] == words[0]
    assert DemoStore.open("demos.zarr").check() == []


def test_a_folder_that_is_no_store_is_never_replaced(store, tmp_path, capsys):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("years")
    assert "is no store" in fails(capsys, "drop", "store=demos.zarr", "out=precious", "episodes=[0]", "overwrite=true")
    assert (tmp_path / "precious" / "thesis.txt").read_text() == "years"


def test_dropping_everything_is_refused(store, capsys):
    assert "nothing of demos.zarr would be left" in fails(capsys, "drop", "store=demos.zarr", "out=out.zarr", "episodes=[0-]")


class Died(BaseException):
    """Stands for the end of the process."""


def test_an_edit_that_dies_leaves_no_half_store_and_both_halves_of_a_split_or_none(store, tmp_path, monkeypatch):
    def die(folder):
        deaths.append(folder)
        if len(deaths) == 2:
            raise Died

    deaths = []
    monkeypatch.setattr(editing, "sync_tree", die)
    plans = [Plan(tmp_path / name, [store], whole(0, store, [0], {}), SPEC, {}) for name in ("a.zarr", "b.zarr")]
    with pytest.raises(Died):
        write(plans, overwrite=False)
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")) == ["demos.zarr"]


def test_a_place_that_somebody_writes_to_is_left_alone(store, tmp_path):
    with WriterLock(tmp_path / "a.zarr"), pytest.raises(LockedError):
        write([Plan(tmp_path / "a.zarr", [store], whole(0, store, [0], {}), SPEC, {})], overwrite=False)
    assert not (tmp_path / "a.zarr").exists()


@pytest.fixture
def slow_disk(monkeypatch):
    """A disk that is full at the first file of numbers, and slow to take those written beside it; returns their number."""
    seen, real = [], LocalStore.set

    async def fills_up(self, key, value):
        if "/c/" in key:
            seen.append(key)
            if len(seen) == 1:
                raise OSError(28, "No space left on device")
            await asyncio.sleep(0.2)
        await real(self, key, value)

    monkeypatch.setattr(LocalStore, "set", fills_up)
    return seen


def test_what_is_still_being_written_when_the_disk_fills_up_is_gone_too(tmp_path, slow_disk, capsys):
    sources = [tmp_path / "a.zarr", tmp_path / "b.zarr"]
    for number, path in enumerate(sources):
        with DemoStore.create(path, SPEC) as store:
            store.append(make_episode(number, steps=1500))
    assert slow_disk == []  # a store is written through another class
    before = sorted(tmp_path.iterdir())
    assert "No space left" in fails(capsys, "merge", f"stores=[{sources[0]},{sources[1]}]", f"out={tmp_path / 'm.zarr'}")
    assert len(slow_disk) > 1
    time.sleep(0.3)
    assert [path for path in sorted(tmp_path.iterdir()) if path.suffix != ".lock"] == [path for path in before if path.suffix != ".lock"]


def test_a_full_disk_is_one_line_and_leaves_nothing(store, tmp_path, capsys, monkeypatch):
    def full(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(editing, "sync_tree", full)
    with pytest.raises(StoreError, match="No space left"):
        write([Plan(tmp_path / "a.zarr", [store], whole(0, store, [0], {}), SPEC, {})], overwrite=False)
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")) == ["demos.zarr"]


def test_no_step_of_an_edit_takes_in_more_than_a_block(tmp_path, monkeypatch):
    """Memory is bounded whatever the store's size: what is read at once and written at once is."""
    block, taken = 1 << 16, []
    monkeypatch.setattr("robolearn.datasets.blocks.rows_a_block.__defaults__", (None, block))
    make_long(tmp_path / "long.zarr")
    store = DemoStore.open(tmp_path / "long.zarr")
    real = DemoStore._read
    monkeypatch.setattr(DemoStore, "_read", lambda *call: (taken.append(real(*call)), taken[-1])[1])
    pieces = [dataclasses.replace(piece, start=1) for piece in whole(0, store, [0, 1], {})]
    write([Plan(tmp_path / "out.zarr", [store], pieces, SPEC, {})], overwrite=False)
    made = DemoStore.open(tmp_path / "out.zarr")
    assert made.check() == []
    sizes = [rows.nbytes for rows in taken if rows.dtype != object]
    assert len(sizes) > 50
    assert max(sizes) <= 2 * block


def make_long(path):
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(0, steps=40_000), make_episode(1, steps=20_000)])
