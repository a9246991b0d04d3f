"""A store with history: any snapshot opens again, writers that meet lose nothing, and what cannot be joined is reported."""

import dataclasses
import subprocess
import sys
import threading

import pytest

from robolearn.datasets.address import address
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from robolearn.datasets.transfer import copy
from robolearn.datasets.windows import WindowDataset
from robolearn.spec import ArraySpec
from tests.datasets.edit_commands import fails, make_store, run
from tests.datasets.episodes import SPEC, assert_same, make_episode

pytest.importorskip("icechunk", reason="histories need icechunk: pip install 'robolearn[icechunk]'")


@pytest.fixture(params=["disk", "bucket"])
def place(request, tmp_path):
    if request.param == "disk":
        return f"icechunk:{tmp_path / 'lab'}"
    return f"icechunk+{request.getfixturevalue('bucket')}/lab"


@pytest.fixture
def here(tmp_path):
    return f"icechunk:{tmp_path / 'lab'}"


def begun(place, count, **options):
    with DemoStore.create(place, SPEC, **options) as store:
        for number in range(count):
            store.append(make_episode(number))
    return place


def numbers(store):
    return [int(seed) for seed in store.column("seed")]


def test_episodes_come_back_and_every_append_is_a_commit(here, capsys):
    begun(here, 3)
    store = DemoStore.open(here)
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number))
    assert store.check() == []
    log = run(capsys, "history", f"store={here}")["log"]
    assert [entry["episodes"] for entry in log][:3] == [1, 1, 1]
    assert "@" in log[0]["who"]
    then = DemoStore.open(here, at=log[1]["id"])
    assert numbers(then) == [0, 1]
    assert numbers(DemoStore.open(f"{here}@{log[2]['id']}")) == [0]


def test_episodes_longer_than_a_chunk_come_back(here):
    lengths = [1500, 3, 2100]
    with DemoStore.create(here, SPEC) as store:
        for number, steps in enumerate(lengths):
            store.append(make_episode(number, steps=steps, state_size=2))
    store = DemoStore.open(here)
    assert store.lengths.tolist() == lengths
    for number, steps in enumerate(lengths):
        assert_same(store.episode(number), make_episode(number, steps=steps, state_size=2))
    assert store.check() == []


def test_pictures_of_more_than_one_file_come_back(here):
    spec = dataclasses.replace(SPEC, observation={**SPEC.observation, "camera": ArraySpec((8, 6, 3), "uint8")})
    with DemoStore.create(here, spec) as store:
        for number in range(2):
            store.append(make_episode(number, spec=spec, steps=100))
    for number, episode in enumerate(DemoStore.open(here)):
        assert_same(episode, make_episode(number, spec=spec, steps=100))


def test_a_tag_stays_and_a_branch_goes_on(here, capsys):
    begun(here, 2)
    run(capsys, "tag", f"store={here}", "name=v1")
    with DemoStore.open(here, "a") as store:
        assert store.append(make_episode(2)) == 2
    run(capsys, "branch", f"store={here}", "name=trial", "at=v1")
    with DemoStore.open(f"{here}@trial", "a") as store:
        assert store.extend([make_episode(7), make_episode(8)]) == 2
    for ref, expected in (("v1", [0, 1]), ("main", [0, 1, 2]), ("trial", [0, 1, 7, 8])):
        assert numbers(DemoStore.open(here, at=ref)) == numbers(DemoStore.open(f"{here}@{ref}")) == expected
    facts = run(capsys, "history", f"store={here}@trial")
    assert set(facts["branches"]) == {"main", "trial"}
    assert set(facts["tags"]) == {"v1"}
    assert "has 'v1' already" in fails(capsys, "tag", f"store={here}", "name=v1")
    assert "no branch 'v1' to add to" in refused(lambda: DemoStore.open(f"{here}@v1", "a"))
    assert "did you mean 'trial'" in fails(capsys, "info", f"store={here}@trail")


@pytest.mark.parametrize("name", ["", "a b", "x/y", "a@b", "0123456789ABCDEFGHJK"])
def test_a_name_that_no_address_could_say_is_refused(here, capsys, name):
    begun(here, 1)
    for tool in ("tag", "branch"):
        assert "give a name of letters, digits, _ . + -" in fails(capsys, tool, f"store={here}", f"name='{name}'")
    facts = run(capsys, "history", f"store={here}")
    assert (set(facts["branches"]), facts["tags"]) == ({"main"}, {})


def refused(action):
    with pytest.raises(StoreError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_writers_that_meet_append_after_one_another(place):
    begun(place, 1)
    one, other = DemoStore.open(place, "a"), DemoStore.open(place, "a")
    assert one.append(make_episode(1, state_size=3)) == 1
    assert other.extend([make_episode(2), make_episode(3)]) == 2  # it had seen one episode
    assert [entry.episodes for entry in other.rebased] == [1]
    assert one.append(make_episode(4)) == 4
    store = DemoStore.open(place)
    assert numbers(store) == [0, 1, 2, 3, 4]
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number, state_size=3 if number == 1 else 0))
    assert store.check() == []


def test_many_writers_at_once_lose_nothing(here):
    begun(here, 0)
    wrong = []

    def write(first):
        try:
            with DemoStore.open(here, "a") as store:
                for number in range(first, first + 3):
                    store.append(make_episode(number))
        except Exception as error:  # told below: a thread's own error would not fail the test
            wrong.append(error)

    threads = [threading.Thread(target=write, args=[first]) for first in (10, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    store = DemoStore.open(here)
    assert sorted(numbers(store)) == [10, 11, 12, 20, 21, 22]
    assert store.check() == []


def test_a_conflict_that_cannot_be_joined_reports_who_did_what(here):
    begun(here, 2)
    late = DemoStore.open(here, "a")
    begun(here, 1, overwrite=True)  # somebody begins anew on the branch
    child = make_episode(5)
    child = dataclasses.replace(child, provenance={**child.provenance})
    error = refused(lambda: late.append(child))
    assert "others came first" in error
    assert "a new store by " in error
    assert "robolearn data branch store=" in error
    assert numbers(DemoStore.open(here)) == [0]


def test_episodes_that_name_one_another_are_not_moved(here):
    begun(here, 1)
    late = DemoStore.open(here, "a")
    with DemoStore.open(here, "a") as first:
        first.append(make_episode(1))
    child = make_episode(6)
    child = dataclasses.replace(child, provenance={**child.provenance, "parent": 1})
    assert "name one another as parents" in refused(lambda: late.extend([make_episode(5), child]))
    assert numbers(DemoStore.open(here)) == [0, 1]
    assert late.append(make_episode(5)) == 2  # it stands at the tip now


def test_an_append_that_fails_leaves_nothing(here, monkeypatch):
    begun(here, 1)
    store = DemoStore.open(here, "a")
    from robolearn.datasets import store as module

    calls = []

    def failing(array, start, rows):
        calls.append(array.path)
        if len(calls) == 4:
            raise OSError("the network is gone")
        return grow(array, start, rows)

    grow = module.grow
    monkeypatch.setattr(module, "grow", failing)
    assert "could not write" in refused(lambda: store.append(make_episode(1)))
    monkeypatch.undo()
    assert numbers(DemoStore.open(here)) == [0]
    assert store.append(make_episode(1)) == 1
    assert DemoStore.open(here).check() == []


def copy_with_small_files(*words):
    """Copy in a process of its own, in which no file may be larger than 8 kB: writes fail as on a full disk. Returns its error."""
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (8000,) * 2)"
    code = f"import resource, sys; from robolearn.cli import main; {limit}; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run([sys.executable, "-c", code, "data", "copy", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture
def large(tmp_path):
    with DemoStore.create(tmp_path / "large.zarr", SPEC) as store:
        store.append(make_episode(0, steps=2000))
    return DemoStore.open(tmp_path / "large.zarr")


def test_a_copy_that_fails_is_one_line_and_leaves_no_repository(here, tmp_path, large):
    error = copy_with_small_files(f"store={large.path}", f"out={here}")
    assert "File too large" in error
    assert error.endswith("; nothing was committed\n")
    assert not (tmp_path / "lab").exists()


def test_a_copy_that_fails_leaves_the_repository_that_was_there(here, large):
    begun(here, 2)
    copy_with_small_files(f"store={large.path}", f"out={here}", "overwrite=true")
    assert numbers(DemoStore.open(here)) == [0, 1]
    assert DemoStore.open(here).check() == []


def test_a_copy_to_a_branch_that_is_not_there_makes_no_repository(here, tmp_path, large, capsys):
    assert "no branch, tag or snapshot 'trial'" in fails(capsys, "copy", f"store={large.path}", f"out={here}@trial")
    assert not (tmp_path / "lab").exists()


def test_a_new_store_over_an_old_one_keeps_its_history(here, capsys):
    begun(here, 2)
    before = run(capsys, "history", f"store={here}")["log"][0]["id"]
    assert "exists; append" in refused(lambda: DemoStore.create(here, SPEC))
    begun(here, 1, overwrite=True)
    assert numbers(DemoStore.open(here)) == [0]
    assert numbers(DemoStore.open(here, at=before)) == [0, 1]


def test_copies_lead_in_and_out_and_windows_are_the_same(place, tmp_path, capsys):
    store = make_store(tmp_path / "demos.zarr", range(5))
    run(capsys, "copy", f"store={store.path}", f"out={place}")
    assert [entry["episodes"] for entry in run(capsys, "history", f"store={place}")["log"]] == [5, 0]
    assert "exists" in fails(capsys, "copy", f"store={store.path}", f"out={place}", "--dry-run")
    run(capsys, "copy", f"store={place}@main", f"out={tmp_path / 'back.zarr'}")
    assert DemoStore.open(tmp_path / "back.zarr").check() == []
    one, other = (WindowDataset(entry, prediction_horizon=4).batch([0, 5, 17]) for entry in (store, place))
    assert one.actions.tobytes() == other.actions.tobytes()
    run(capsys, "drop", f"store={place}", f"out={tmp_path / 'dropped.zip'}", "episodes=[0]")
    copy(DemoStore.open(tmp_path / "dropped.zip"), address(place), True)
    assert numbers(DemoStore.open(place)) == [1, 2, 3, 4]


def test_what_has_no_history_says_how_to_get_one(tmp_path, capsys, monkeypatch):
    store = make_store(tmp_path / "demos.zarr", [0])
    for words in (["history"], ["tag", "name=x"], ["branch", "name=x"]):
        assert "out=icechunk:DIR` makes a store that has" in fails(capsys, *words, f"store={store.path}")
    assert "has no history" in refused(lambda: DemoStore.open(store.path, at="v1"))
    assert "no store at icechunk:" in fails(capsys, "info", f"store=icechunk:{tmp_path / 'none'}")
    monkeypatch.setitem(sys.modules, "icechunk", None)
    assert "pip install 'robolearn[icechunk]'" in fails(capsys, "info", f"store=icechunk:{tmp_path / 'none'}")
