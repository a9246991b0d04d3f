"""An export is whole or not there, replaces nothing but its own kind, and says what the format cannot hold."""

import json

import pytest

from robolearn.cli import main
from robolearn.datasets import tools
from robolearn.datasets.export import write_whole
from robolearn.datasets.formats import registry
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.episodes import SPEC, make_episode

WORD = "lengths of episodes:"


def write_lengths(store, out, suffix=""):
    out.write_text(f"{WORD}{store.lengths.tolist()}{suffix}")
    return ["observations", "actions"]


def recognises(path):
    return path.is_file() and path.read_text().startswith(WORD)


class ToyReader:
    """Two episodes of three: the third is missing, and one thing cannot be held."""

    def __init__(self, path, missing="error"):
        if missing == "error":
            raise StoreError(f"{path} lacks episode 2; missing=skip imports the others")
        self.env_spec, self.attrs = SPEC, {"colour": "green"}
        self.missing, self.lost = [], ["the smell"]

    def __len__(self):
        return 2

    def __iter__(self):
        yield from (make_episode(number) for number in range(2))
        self.missing.append("episode 2")


@pytest.fixture(autouse=True)
def toy_format(monkeypatch):
    entry = registry.Format("toy", recognises, ToyReader, ("missing",), write_lengths, ("json",))
    monkeypatch.setitem(registry.FORMATS, "toy", entry)


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.extend([make_episode(number) for number in range(3)])
    return tmp_path / "demos.zarr"


def write(store, *words):
    return main(["data", "export", f"store={store}", "format=toy", *words])


@pytest.fixture
def plain(monkeypatch):
    entry = registry.FORMATS["toy"]
    monkeypatch.setitem(registry.FORMATS, "toy", registry.Format(entry.title, entry.recognises, entry.open, entry.options, entry.write))


@pytest.mark.usefixtures("plain")
def test_what_the_format_cannot_hold_is_told_a_person_and_a_machine(store, tmp_path, capsys):
    out = tmp_path / "new" / "out.txt"
    assert write(store, f"out={out}") == 0
    text = capsys.readouterr().out.splitlines()
    assert text[0].startswith(f"{out}: 3 episodes")
    assert text[1:] == ["not held: observations", "not held: actions"]
    assert out.read_text().startswith(WORD)
    assert write(store, f"out={out}", "overwrite=true", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["lost"] == ["observations", "actions"]
    assert facts["bytes"] == out.stat().st_size
    assert sorted(file.name for file in out.parent.iterdir()) == [".out.txt.lock", "out.txt"]


def test_only_options_of_the_writer_reach_it(store, tmp_path, capsys):
    assert registry.FORMATS["toy"].write_options == ("json",)  # which the toy writer does not take: it must have been handed over
    with pytest.raises(TypeError, match="json"):
        write(store, f"out={tmp_path / 'out.txt'}")
    assert not (tmp_path / "out.txt").exists()


@pytest.mark.usefixtures("plain")
def test_nothing_but_the_same_format_is_replaced_and_only_when_told(store, tmp_path, capsys):
    out = tmp_path / "out.txt"
    out.write_text(f"{WORD}[]")
    assert write(store, f"out={out}") == 1
    assert "overwrite=true" in capsys.readouterr().err
    out.write_text("a letter to a friend")
    assert write(store, f"out={out}", "overwrite=true") == 1
    assert "exists and is not toy; it is not replaced" in capsys.readouterr().err
    assert out.read_text() == "a letter to a friend"
    assert write(store, f"out={store}", "overwrite=true") == 1
    assert DemoStore.open(store).num_episodes == 3


@pytest.mark.usefixtures("plain")
def test_an_error_while_writing_leaves_what_was_there(store, tmp_path, monkeypatch):
    out = tmp_path / "out.txt"
    out.write_text(f"{WORD}[]")

    def fails(store, draft):
        draft.mkdir()
        (draft / "half").write_text("x")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(registry.FORMATS, "toy", registry.Format("toy", recognises, ToyReader, (), fails))
    with pytest.raises(StoreError, match=r"No space left on device; nothing is left of it"):
        write_whole(DemoStore.open(store), out, "toy", overwrite=True)
    assert out.read_text() == f"{WORD}[]"
    assert sorted(file.name for file in tmp_path.iterdir()) == [".demos.zarr.lock", ".out.txt.lock", "demos.zarr", "out.txt"]


def test_a_format_that_cannot_be_written_is_named_with_those_that_can(store, tmp_path, capsys):
    for word, says in (("resip", "can be imported but not exported"), ("toyy", "no format 'toyy'")):
        assert main(["data", "export", f"store={store}", f"out={tmp_path / 'x'}", f"format={word}"]) == 1
        error = capsys.readouterr().err
        assert says in error
        assert "exported to " in error and "toy" in error


@pytest.mark.usefixtures("plain")
def test_other_formats_are_read_and_written_here_and_nowhere_else(store, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    for place in ("s3://lab/x.hdf5", "icechunk:lab", "s3:x.hdf5"):
        for words in (["export", f"store={store}", f"out={place}", "format=toy"], ["import", f"source={place}", "out=new.zarr"]):
            assert main(["data", *words]) == 1
            error = capsys.readouterr().err
            assert error.count("\n") == 1
            assert "write it as s3://" in error if place == "s3:x.hdf5" else f"error: {place}: other formats are " in error
    assert sorted(tmp_path.iterdir()) == before


def test_an_empty_store_is_not_exported(tmp_path, capsys):
    DemoStore.create(tmp_path / "empty.zarr", SPEC).close()
    assert write(tmp_path / "empty.zarr", f"out={tmp_path / 'out.txt'}") == 1
    assert "holds no episodes to export" in capsys.readouterr().err


def run_import(tmp_path, *words):
    source = tmp_path / "source.txt"
    source.write_text(WORD)
    return main(["data", "import", f"source={source}", f"out={tmp_path / 'new.zarr'}", *words])


def test_a_full_disk_ends_an_import_in_one_line_that_promises_nothing(tmp_path, capsys, monkeypatch):
    def full(file, data):
        raise OSError(28, "No space left on device")

    real = DemoStore.extend

    def extend(self, episodes):
        monkeypatch.setattr("robolearn.datasets.commit.write_synced", full)
        return real(self, episodes)

    monkeypatch.setattr(DemoStore, "extend", extend)
    assert run_import(tmp_path, "missing=skip") == 1
    error = capsys.readouterr().err
    assert error == f"error: could not write {tmp_path / 'new.zarr'}: [Errno 28] No space left on device; nothing is left of it\n"
    assert not list(tmp_path.glob("*new.zarr*/"))


def test_what_a_source_lacks_is_an_error_or_skipped_printed_and_recorded(tmp_path, capsys):
    assert run_import(tmp_path) == 1
    assert "lacks episode 2; missing=skip" in capsys.readouterr().err
    assert run_import(tmp_path, "missing=maybe") == 1
    assert "missing takes error or skip" in capsys.readouterr().err
    assert not (tmp_path / "new.zarr").exists()
    assert run_import(tmp_path, "missing=skip") == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["missing, skipped: episode 2", "not held: the smell"]
    attrs = DemoStore.open(tmp_path / "new.zarr").attrs
    assert attrs["imported"] == {"source": "source.txt", "format": "toy", "missing": ["episode 2"], "lost": ["the smell"]}
    assert attrs["colour"] == "green"
    assert run_import(tmp_path, "missing=skip", "overwrite=true", "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["missing"], facts["lost"]) == (["episode 2"], ["the smell"])
    assert tools.DemoStore.open(tmp_path / "new.zarr").num_episodes == 2
