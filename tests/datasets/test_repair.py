"""Repair removes what an interrupted writer left, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from robolearn.cli import main
from robolearn.datasets.repair import repair
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.lock import LockedError
from tests.datasets.episodes import SPEC, assert_same, make_episode

ROOT = Path(__file__).parents[2]
KILLED = """
import os, sys
from pathlib import Path
from robolearn.datasets import commit
from robolearn.datasets.store import DemoStore
from tests.datasets.episodes import make_episode
store = DemoStore.open(sys.argv[1], "a")
count, real = 0, commit.write_synced
def write(file, data):
    global count
    count += 1
    if count == int(sys.argv[2]):
        file.write_bytes(bytes(data)[:5])
        os.kill(os.getpid(), 9)
    real(file, data)
commit.write_synced = write
store.append(make_episode(3, steps=2500))
"""


def files(folder):
    return {entry.relative_to(folder): entry.read_bytes() for entry in folder.rglob("*") if entry.is_file() and entry.suffix != ".lock"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demos.zarr"
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(number) for number in range(3)])
    return path


def kill_a_writer(path, write):
    child = subprocess.run([sys.executable, "-c", KILLED, str(path), str(write)], env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert child.returncode == -9


def test_what_a_killed_writer_left_is_told_and_removed(path, capsys):
    whole = files(path)
    kill_a_writer(path, 9)  # among the columns: steps are written, the commit is not
    torn = files(path)
    assert torn != whole

    assert main(["data", "repair", f"store={path}", "--dry-run", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["clean"], facts["dry_run"]) == (False, True)
    assert facts["partial_files"] >= 1  # files are written side by side
    assert facts["files"] > 0
    assert facts["steps"] == 2500
    assert files(path) == torn  # a dry run writes nothing

    assert main(["data", "repair", f"store={path}"]) == 0
    assert "removed 2,500 steps beyond the last committed episode" in capsys.readouterr().out
    store = DemoStore.open(path)
    assert (store.num_episodes, store.torn_steps, store.check()) == (3, 0, [])
    assert files(path).keys() == whole.keys()
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number))

    assert main(["data", "repair", f"store={path}"]) == 0
    assert "nothing to repair" in capsys.readouterr().out


def test_a_living_writer_is_not_disturbed(path):
    with DemoStore.open(path, "a"):
        for dry_run in (False, True):
            with pytest.raises(LockedError, match="is being written by process"):
                repair(path, dry_run)
    assert repair(path).is_clean


def test_a_link_to_a_store_has_the_lock_and_the_leftovers_of_the_store(path):
    link = path.parent / "elsewhere" / "link.zarr"
    link.parent.mkdir()
    link.symlink_to(path)
    for one, other in ((path, link), (link, path)):
        with DemoStore.open(one, "a"):
            for dry_run in (False, True):
                with pytest.raises(LockedError, match="is being written by process"):
                    repair(other, dry_run)
            with pytest.raises(LockedError, match="is being written by process"):
                DemoStore.open(other, "a")
            with pytest.raises(LockedError, match="is being written by process"):
                DemoStore.create(other, SPEC, overwrite=True)
    path.with_name(f".{path.name}.123.new").mkdir()
    assert len(repair(link).drafts) == 1
    with DemoStore.create(link, SPEC, overwrite=True) as store, pytest.raises(LockedError):
        DemoStore.open(path, "a")
    assert link.is_symlink()
    assert DemoStore.open(path).num_episodes == store.num_episodes == 0


def test_drafts_of_dead_writers_beside_the_store_are_removed(path):
    draft = path.with_name(f".{path.name}.123.new")
    shutil.copytree(path, draft)
    other = path.with_name(".others.zarr.123.new")
    other.mkdir()
    assert repair(path, dry_run=True).drafts == (draft.name,)
    assert draft.exists()
    assert repair(path).drafts == (draft.name,)
    assert not draft.exists()
    assert other.exists()


def test_a_store_set_aside_by_a_writer_that_died_while_replacing_it_is_put_back(path, capsys):
    path.rename(path.with_name(f".{path.name}.123.old"))
    assert repair(path, dry_run=True).put_back == f".{path.name}.123.old"
    assert not path.exists()
    shutil.copytree(path.with_name(f".{path.name}.123.old"), path.with_name("demo.zarr"))  # which is not what is meant
    assert main(["data", "info", f"store={path}"]) == 1
    assert f"`robolearn data repair store={path}` puts it back" in capsys.readouterr().err
    assert main(["data", "repair", f"store={path}"]) == 0
    assert "put back the store" in capsys.readouterr().out
    assert DemoStore.open(path).check() == []


def test_what_is_no_store_or_damaged_in_what_is_committed_is_left_alone(tmp_path, path):
    with pytest.raises(StoreError, match="no store at"):
        repair(tmp_path / "nowhere.zarr")
    (path / "episodes" / "end" / "c" / "0").unlink()
    before = files(path)
    with pytest.raises(StoreError, match="restore"):
        repair(path)
    assert files(path) == before
