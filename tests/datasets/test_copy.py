"""A copy is the store to the byte, wherever it goes, and none is ever seen half made."""

import filecmp
import threading
from pathlib import Path

import pytest

from robolearn.cli import main
from robolearn.datasets import transfer
from robolearn.datasets.address import address
from robolearn.datasets.bucket import Bucket
from robolearn.datasets.commit import grow
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.edit_commands import fails, make_store, run
from tests.datasets.episodes import assert_same, make_episode


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "demos.zarr", range(5))


@pytest.fixture
def far(tmp_path):
    """An object store without a server."""
    pytest.importorskip("obstore")
    return f"memory://{tmp_path.name}"


def same_tree(one, other):
    files = sorted(file.relative_to(one).as_posix() for file in one.rglob("*") if file.is_file())
    assert files == sorted(file.relative_to(other).as_posix() for file in other.rglob("*") if file.is_file())
    return filecmp.cmpfiles(one, other, files, shallow=False) == (files, [], [])


def test_there_and_back_through_every_place_is_the_same_to_the_byte(store, tmp_path, bucket, capsys):
    ways = [tmp_path / "a.zarr.zip", f"{bucket}/people/b.zarr", f"{bucket}/c.zarr", tmp_path / "d.zarr"]
    before = store.path
    for out in ways:
        facts = run(capsys, "copy", f"store={before}", f"out={out}")
        assert facts["fingerprint"] == DemoStore.open(str(out)).fingerprint() == store.fingerprint()
        assert facts["files"] == len(store.files.keys())
        before = out
    assert same_tree(store.path, tmp_path / "d.zarr")
    assert sorted(Bucket(address(f"{bucket}/c.zarr")).sizes()) == store.files.keys()  # nothing else is left there


def test_the_same_store_makes_the_same_zip(store, tmp_path):
    for name in ("a.zip", "b.zip"):
        transfer.copy(store, tmp_path / name, False)
    entries = [sorted(DemoStore.open(tmp_path / name).files._files.names) for name in ("a.zip", "b.zip")]
    assert entries[0] == entries[1] == store.files.keys()
    assert (tmp_path / "a.zip").stat().st_size == (tmp_path / "b.zip").stat().st_size


def test_a_dry_run_writes_nothing_and_says_what_it_would(store, tmp_path, far, capsys):
    before = sorted(tmp_path.iterdir())
    for out in (tmp_path / "a.zip", tmp_path / "a.zarr", f"{far}/a.zarr"):
        assert main(["data", "copy", f"store={store.path}", f"out={out}", "--dry-run"]) == 0
        text = capsys.readouterr().out
        assert "nothing is written; it would copy" in text
        assert f"{len(store.files.keys())} files" in text
    assert sorted(tmp_path.iterdir()) == before
    assert Bucket(address(f"{far}/a.zarr")).sizes() == {}


def test_what_is_there_is_replaced_only_when_asked(store, tmp_path, far, capsys):
    other = make_store(tmp_path / "other.zarr", [7], old=True)
    for out in (tmp_path / "a.zip", tmp_path / "a.zarr", f"{far}/a.zarr"):
        run(capsys, "copy", f"store={other.path}", f"out={out}")
        assert "overwrite=true" in fails(capsys, "copy", f"store={store.path}", f"out={out}")
        assert "overwrite=true" in fails(capsys, "copy", f"store={store.path}", f"out={out}", "--dry-run")
        assert DemoStore.open(str(out)).fingerprint() == other.fingerprint()
        run(capsys, "copy", f"store={store.path}", f"out={out}", "overwrite=true")
        assert DemoStore.open(str(out)).fingerprint() == store.fingerprint()
        assert "itself" in fails(capsys, "copy", f"store={out}", f"out={out}", "overwrite=true")
    (tmp_path / "notes.zip").write_text("no store")
    assert "is not replaced" in fails(capsys, "copy", f"store={store.path}", f"out={tmp_path / 'notes.zip'}", "overwrite=true")


def test_a_zip_that_is_replaced_is_there_at_every_moment(store, tmp_path, monkeypatch):
    path, renames = tmp_path / "a.zarr.zip", []
    for overwrite in (False, True):
        transfer.copy(store, path, overwrite)
    for name in ("rename", "replace"):
        real = getattr(Path, name)

        def renamed(self, target, real=real):
            assert DemoStore.open(path).num_episodes == 5
            made = real(self, target)
            assert DemoStore.open(path).num_episodes == 5
            renames.append(self.name)
            return made

        monkeypatch.setattr(Path, name, renamed)
    transfer.copy(store, path, True)
    assert len(renames) == 1


def test_a_bucket_with_other_things_is_left_alone(store, far, capsys):
    Bucket(address(f"{far}/work")).put("thesis.tex", b"years")
    for overwrite in ("false", "true"):
        error = fails(capsys, "copy", f"store={store.path}", f"out={far}/work", f"overwrite={overwrite}")
        assert "other objects, such as thesis.tex" in error
        assert "whole bucket" in fails(capsys, "copy", f"store={store.path}", f"out={far}", f"overwrite={overwrite}")
    assert Bucket(address(f"{far}/work")).get("thesis.tex") == b"years"


@pytest.mark.parametrize("place", ["far", "bucket"])
def test_what_others_put_beside_a_stores_files_is_never_deleted(request, store, capsys, place):
    out = f"{request.getfixturevalue(place)}/a.zarr"
    run(capsys, "copy", f"store={store.path}", f"out={out}")
    bucket = Bucket(address(out))
    foreign = ["notes.txt", "inner/zarr.json", "inner/data/action/c/0/0", "data/action/notes.txt", "data/inner/data/action/c/0"]
    for key in foreign:
        before = bucket.sizes()
        bucket.put(key, b"years")
        for words in ([], ["--dry-run"]):
            error = fails(capsys, "copy", f"store={store.path}", f"out={out}", "overwrite=true", *words)
            assert f"holds 1 other objects, such as {key}" in error
        bucket.delete([key])
        assert bucket.sizes() == before  # nothing else was touched
    run(capsys, "copy", f"store={store.path}", f"out={out}", "overwrite=true")


def test_a_store_is_not_copied_into_itself(store, far, capsys):
    run(capsys, "copy", f"store={store.path}", f"out={far}/lab/a.zarr")
    for out in (f"{far}/lab/a.zarr/inner", f"{far}/lab"):
        assert "itself" in fails(capsys, "copy", f"store={far}/lab/a.zarr", f"out={out}", "overwrite=true", "--dry-run")
    run(capsys, "copy", f"store={far}/lab/a.zarr", f"out={far}/lab/a.zarr-2")


@pytest.mark.parametrize(
    ("where", "count", "over"),
    [("far", 0, False), ("bucket", 11, False), ("far", 28, False), ("far", 0, True), ("far", 26, True)],
)
def test_a_torn_upload_is_no_store_and_the_same_copy_goes_on(request, store, tmp_path, capsys, monkeypatch, where, count, over):
    """After ``count`` of 29 files, 27 where two of the store that is replaced stay as they are; the note of the upload comes first."""
    out, left, lock = f"{request.getfixturevalue(where)}/demos.zarr", [count + 1], threading.Lock()
    if over:
        transfer.copy(make_store(tmp_path / "other.zarr", range(7, 9)), address(out), False)

    put = Bucket.put

    def failing(self, key, data):
        with lock:
            left[0] -= 1
            if left[0] < 0:
                raise StoreError(f"{self.url}: no answer")
        return put(self, key, data)

    with monkeypatch.context() as broken:
        broken.setattr(Bucket, "put", failing)
        error = fails(capsys, "copy", f"store={store.path}", f"out={out}", f"overwrite={str(over).lower()}")
    assert "the same command again goes on with it" in error
    assert "is being uploaded, or its upload was interrupted" in fails(capsys, "info", f"store={out}")
    other = make_store(tmp_path / "third.zarr", [3])
    assert "upload of another store" in fails(capsys, "copy", f"store={other.path}", f"out={out}")
    facts = run(capsys, "copy", f"store={store.path}", f"out={out}")
    assert facts["files_there_already"] == (count if where == "bucket" else 0)  # what S3 has is known by its MD5
    remote = DemoStore.open(out)
    assert remote.check() == []
    assert remote.fingerprint() == store.fingerprint()
    assert sorted(Bucket(address(out)).sizes()) == store.files.keys()


def test_what_was_never_committed_is_not_copied(store, tmp_path, far):
    with DemoStore.open(store.path, "a") as torn:  # a writer that died before its commit
        array = torn.step_arrays["action"]
        grow(array, torn.num_steps, array[: 1100 - torn.num_steps])
    torn = DemoStore.open(store.path)
    assert torn.torn_steps > 0
    for out in (tmp_path / "a.zarr", tmp_path / "a.zip", f"{far}/a.zarr"):
        transfer.copy(torn, address(out), False)
        copied = DemoStore.open(str(out))
        assert copied.torn_steps == 0
        assert copied.check() == []
        for number, episode in enumerate(copied):
            assert_same(episode, make_episode(number))


def test_damage_is_not_copied_and_leaves_nothing(store, tmp_path, far, capsys):
    file = store.path / "data" / "action" / "c" / "0" / "0"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    before = sorted(entry.name for entry in tmp_path.iterdir())
    for out in (tmp_path / "a.zarr", tmp_path / "a.zip", f"{far}/a.zarr"):
        assert "data/action/c/0/0 is damaged" in fails(capsys, "copy", f"store={store.path}", f"out={out}")
        with pytest.raises(StoreError):
            DemoStore.open(str(out))
    assert sorted(entry.name for entry in tmp_path.iterdir() if not entry.name.endswith(".lock")) == [
        name for name in before if not name.endswith(".lock")
    ]


def test_editing_reads_from_anywhere_and_writes_a_directory_or_a_zip(store, tmp_path, far, capsys):
    packed, remote = tmp_path / "demos.zip", f"{far}/demos.zarr"
    transfer.copy(store, packed, False)
    transfer.copy(store, address(remote), False)
    facts = [
        run(capsys, "drop", f"store={place}", f"out={tmp_path / f'dropped_{n}.zip'}", "episodes=[1]")
        for n, place in enumerate((store.path, packed, remote))
    ]
    assert len({entry["made"][0]["fingerprint"] for entry in facts}) == 1
    outs = f"out=[{tmp_path / 'one.zarr'},{tmp_path / 'two.zip'}]"
    run(capsys, "split", f"store={remote}", outs, "episodes=[0,2]")
    run(capsys, "trim", f"store={packed}", f"out={tmp_path / 'trimmed.zip'}", "head=1")
    merged = run(capsys, "merge", f"stores=[{tmp_path / 'one.zarr'},{tmp_path / 'two.zip'}]", f"out={tmp_path / 'merged.zip'}")
    assert merged["made"][0]["episodes"] == 5
    for name in ("dropped_0.zip", "one.zarr", "two.zip", "trimmed.zip", "merged.zip"):
        assert DemoStore.open(tmp_path / name).check() == []
    assert "`robolearn data copy" in fails(capsys, "drop", f"store={remote}", f"out={remote}-2", "episodes=[1]")
    assert "not appended to" in fails(capsys, "repair", f"store={packed}")


def test_tools_for_people_and_machines_read_any_place(store, tmp_path, far, capsys):
    for out in (tmp_path / "demos.zip", f"{far}/demos.zarr"):
        transfer.copy(store, address(out), False)
        facts = run(capsys, "info", f"store={out}")
        assert (facts["episodes"], facts["fingerprint"], facts["bytes"] > 1000) == (5, store.fingerprint(), True)
        assert run(capsys, "check", f"store={out}")["ok"]
        assert run(capsys, "stats", f"store={out}")["episodes"] == 5
        assert main(["data", "info", f"store={out}"]) == 0
        assert str(out) in capsys.readouterr().out
