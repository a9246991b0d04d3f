"""A store of any released version opens, or its error names the command that makes a new store of it."""

import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.cli import main
from robolearn.datasets import layout, schema
from robolearn.datasets.store import DemoStore, StoreError
from tests.datasets.episodes import SPEC, assert_same, make_episode

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, layout.SCHEMA_VERSION + 1))
def test_a_store_as_each_released_version_wrote_it_opens_or_can_be_upgraded(tmp_path, version):
    """``golden/v<version>.zarr.zip`` was written by that version: episodes 0 to 2 of tests/datasets/episodes.py, the last with states."""
    with zipfile.ZipFile(GOLDEN / f"v{version}.zarr.zip") as archive:
        archive.extractall(tmp_path / "old.zarr")
    path = tmp_path / "old.zarr"
    if version < layout.SCHEMA_VERSION:
        schema.upgrade(path, tmp_path / "new.zarr", overwrite=False)
        path = tmp_path / "new.zarr"
    store = DemoStore.open(path)
    assert store.check() == []
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number, state_size=4 if number == 2 else 0))
    assert number == 2


def add_outcome(group):
    """From the version 0 that this test makes up, which had no outcomes, to version 1."""
    flags = (group[f"episodes/{name}"][:] for name in ("success", "terminated", "truncated"))
    values = [layout.outcome_of(*(bool(flag) for flag in row)) for row in zip(*flags, strict=True)]
    array = group.create_array("episodes/outcome", shape=(len(values),), chunks=(512,), dtype=str, compressors=layout.state_codecs())
    array[:] = np.array(values, object)


@pytest.fixture
def old(tmp_path):
    path = tmp_path / "old.zarr"
    with DemoStore.create(path, SPEC, attrs={"operator": "someone"}) as store:
        store.extend([make_episode(number) for number in range(4)])
    shutil.rmtree(path / "episodes" / "outcome")
    zarr.open_group(path, mode="r+").attrs["schema_version"] = 0
    return path


def test_an_older_store_names_the_command_which_makes_a_new_one_of_it(old, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(schema.UPGRADES, 0, add_outcome)
    out = tmp_path / "new.zarr"
    with pytest.raises(StoreError, match=rf"`robolearn data upgrade store={old} out=NAME.zarr` makes a new store of it"):
        DemoStore.open(old)
    before = {file: file.read_bytes() for file in old.rglob("*") if file.is_file()}

    assert main(["data", "upgrade", f"store={old}", f"out={out}", "--dry-run"]) == 0
    assert "schema version 0 -> 1" in capsys.readouterr().out
    assert not out.exists()

    assert main(["data", "upgrade", f"store={old}", f"out={out}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["versions"], facts["episodes"]) == ([0, 1], 4)
    store = DemoStore.open(out)
    assert store.check() == []
    assert (store.attrs["operator"], store.attrs["upgraded"]["from_version"]) == ("someone", 0)
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number))
    assert {file: file.read_bytes() for file in old.rglob("*") if file.is_file()} == before
    assert not [entry for entry in tmp_path.iterdir() if entry.name.endswith(".new")]


def test_an_upgrade_that_fails_makes_nothing(old, tmp_path, monkeypatch):
    def fail(group):
        raise KeyError("episodes/outcome")

    monkeypatch.setitem(schema.UPGRADES, 0, fail)
    with pytest.raises(StoreError, match="cannot be upgraded"):
        schema.upgrade(old, tmp_path / "new.zarr", overwrite=False)
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")) == ["old.zarr"]


@pytest.mark.parametrize(("version", "says"), [(0, "no released robolearn wrote"), (1, "it opens as it is"), (99, "update robolearn")])
def test_versions_from_which_there_is_no_way_are_refused(old, tmp_path, version, says):
    zarr.open_group(old, mode="r+").attrs["schema_version"] = version
    with pytest.raises(StoreError, match=says):
        schema.upgrade(old, tmp_path / "new.zarr", overwrite=False)


def test_an_upgrade_never_replaces_unasked_nor_in_place(old, tmp_path, monkeypatch):
    monkeypatch.setitem(schema.UPGRADES, 0, add_outcome)
    DemoStore.create(tmp_path / "new.zarr", SPEC).close()
    with pytest.raises(StoreError, match="exists"):
        schema.upgrade(old, tmp_path / "new.zarr", overwrite=False)
    with pytest.raises(StoreError, match="give another out="):
        schema.upgrade(old, old, overwrite=True)
    schema.upgrade(old, tmp_path / "new.zarr", overwrite=True)
    assert DemoStore.open(tmp_path / "new.zarr").num_episodes == 4
