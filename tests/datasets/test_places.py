"""A store is the same wherever it lies, and a place that cannot be read says why in one line."""

import re
import socket
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from robolearn.datasets import bucket as buckets
from robolearn.datasets.address import Url, address
from robolearn.datasets.bucket import Bucket
from robolearn.datasets.formats import archive
from robolearn.datasets.layout import StoreError
from robolearn.datasets.sampler import WindowSampler
from robolearn.datasets.store import DemoStore
from robolearn.datasets.transfer import copy
from robolearn.datasets.windows import WindowDataset
from robolearn.spec import ArraySpec, EnvSpec
from tests.datasets.edit_commands import fails
from tests.datasets.episodes import SPEC, assert_same, make_episode

CAMERA = EnvSpec("toy", {"joints": ArraySpec((3,)), "camera": ArraySpec((8, 6, 3), "uint8")}, SPEC.action, 10.0)
PLACES = ("zip", "deflated", "nested", "s3", "memory")


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    path = tmp_path_factory.mktemp("places") / "demos.zarr"
    with DemoStore.create(path, CAMERA) as store:
        store.extend([make_episode(number, spec=CAMERA, steps=40 + number, state_size=5) for number in range(4)])
    return DemoStore.open(path)


def packed(store, out, method=zipfile.ZIP_STORED, folder=""):
    with zipfile.ZipFile(out, "w", method) as file:
        for entry in sorted(store.path.rglob("*")):
            if entry.is_file():
                file.write(entry, folder + entry.relative_to(store.path).as_posix())
    return out


@pytest.fixture(params=PLACES)
def place(request, local, tmp_path):
    """The local store, somewhere else."""
    match request.param:
        case "zip":
            out = tmp_path / "demos.zarr.zip"
            copy(local, out, False)
            return out
        case "deflated":
            return packed(local, tmp_path / "demos.zarr.zip", zipfile.ZIP_DEFLATED)
        case "nested":
            return packed(local, tmp_path / "demos.zarr.zip", folder="demos.zarr/")
        case "s3":
            out = address(f"{request.getfixturevalue('bucket')}/people/demos.zarr")
        case "memory":
            pytest.importorskip("obstore")
            out = address(f"memory://{tmp_path.name}/demos.zarr")
    copy(local, out, False)
    return out


def test_episodes_windows_and_batches_are_the_same_everywhere(local, place):
    store = DemoStore.open(str(place))
    assert store.fingerprint() == local.fingerprint()
    assert store.check() == []
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number, spec=CAMERA, steps=40 + number, state_size=5))
    ours, theirs = (WindowDataset(entry, observation_horizon=2, prediction_horizon=8) for entry in (str(local.path), str(place)))
    assert len(ours) == len(theirs) > 100
    sampler = WindowSampler(len(ours), 32, seed=3)
    for _ in range(3):
        indices = next(sampler)
        one, other = ours.batch(indices), theirs.batch(indices)
        assert one.actions.tobytes() == other.actions.tobytes()
        assert all(one.observations[name].tobytes() == other.observations[name].tobytes() for name in CAMERA.observation)


def test_files_are_read_in_ranges_everywhere(local, place):
    files, key = DemoStore.open(place).files, "data/camera/c/0/0/0/0"
    whole = local.files.read(key)
    assert files.size(key) == local.files.size(key) == len(whole)
    assert files.read(key) == whole
    for offset, length in ((0, 10), (100, 1), (len(whole) - 5, 50), (len(whole), 3), (7, 0)):
        assert files.read(key, offset, length) == local.files.read(key, offset, length) == whole[offset : offset + length]
    assert files.size("data/camera/c/99/0/0/0") is None
    with pytest.raises(FileNotFoundError):
        files.read("data/camera/c/99/0/0/0")
    assert files.keys("data/camera") == local.files.keys("data/camera")
    assert set(files.keys()) == set(local.files.keys())


def test_several_threads_read_the_same_store(local, place):
    store = DemoStore.open(place, cache_bytes=20_000)
    expected = local.array("camera")
    wrong = []

    def read(seed):
        rng = np.random.default_rng(seed)
        for start in rng.integers(0, len(expected) - 5, 15).tolist():
            if not np.array_equal(store.array("camera", start, start + 5), expected[start : start + 5]):
                wrong.append(start)

    threads = [threading.Thread(target=read, args=[seed]) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_zip_and_a_bucket_are_only_read(place):
    with pytest.raises(StoreError, match=r"not appended to: `robolearn data copy"):
        DemoStore.open(place, "a")


def test_random_windows_of_a_bucket_are_fetched_once_and_within_the_bound(local):
    pytest.importorskip("obstore")
    out = address("memory://bound/demos.zarr")
    copy(local, out, True)
    rng = np.random.default_rng(0)
    starts = rng.integers(0, local.num_steps - 8, 60).tolist()
    size = sum(local.files.size(key) for key in local.files.keys("data/camera") if "/c/" in key)

    store = DemoStore.open(out, cache_bytes=1_000_000)
    for start in starts:
        assert np.array_equal(store.array("camera", start, start + 8), local.array("camera", start, start + 8))
    cache = store.files.cache
    assert cache.bytes_fetched == size + local.files.size("episodes/end/c/0")  # nothing twice, nothing else
    assert cache.hits > cache.misses

    store = DemoStore.open(out, cache_bytes=size // 2)
    for start in starts:
        assert np.array_equal(store.array("camera", start, start + 8), local.array("camera", start, start + 8))
        assert store.files.cache.bytes_held <= size // 2
    assert 0 < store.files.cache.peak <= size // 2
    assert store.files.cache.bytes_fetched > size


def without(files, key, out):
    with zipfile.ZipFile(out, "w") as file:
        for name in files.keys():  # noqa: SIM118 (a store's files, no dict)
            if name != key:
                file.writestr(name, files.read(name))
    return out


def test_a_lost_chunk_is_an_error_never_zeros(local, tmp_path):
    pytest.importorskip("obstore")
    remote = address("memory://lost/demos.zarr")
    copy(local, remote, True)
    Bucket(remote).delete(["data/action/c/0/0"])
    for store in (DemoStore.open(without(local.files, "data/action/c/0/0", tmp_path / "lost.zip")), DemoStore.open(remote)):
        with pytest.raises(StoreError, match="data/action lacks the file c/0/0"):
            store.array("action")
        assert any("data/action/c/0/0 is missing" in line for line in store.check())


def test_a_zip_of_two_stores_names_both(local, tmp_path, capsys):
    path = packed(local, tmp_path / "both.zip", folder="one.zarr/")
    with zipfile.ZipFile(path, "a") as file:
        for key in sorted(local.files.keys()):
            file.writestr(f"two.zarr/{key}", local.files.read(key))
    assert "holds 2 stores (one.zarr, two.zarr); unpack it" in fails(capsys, "info", f"store={path}")


# -- zips ------------------------------------------------------------------------------------------------------------


def test_a_damaged_zip_is_an_error_wherever_it_is_damaged(local, tmp_path, capsys):
    path = packed(local, tmp_path / "demos.zarr.zip")
    content, rng = path.read_bytes(), np.random.default_rng(0)
    bad = tmp_path / "bad.zip"
    for cut in (4, 100, len(content) // 2, len(content) - 1):
        bad.write_bytes(content[:cut])
        assert "copy it anew" in fails(capsys, "info", f"store={bad}")
    noticed = 0
    for place in rng.integers(0, len(content), 20).tolist():
        bad.write_bytes(content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
        try:
            noticed += bool(DemoStore.open(bad).check())
        except StoreError as error:
            assert "\n" not in str(error)
            noticed += 1
    assert noticed >= 15  # what is left are names, dates and headers of entries that nobody reads


def hostile(path, name, data=b"x", **fields):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("zarr.json", b"{}")
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_DEFLATED
        for key, value in fields.items():
            setattr(info, key, value)
        file.writestr(info, data)
    return path


@pytest.mark.parametrize(
    ("name", "data", "fields", "said"),
    [
        ("../../evil", b"x", {}, "leads out of the archive"),
        ("/etc/passwd", b"x", {}, "absolute name"),
        ("link", b"/etc/passwd", {"external_attr": 0o120777 << 16}, "is a link"),
        ("data/bomb", bytes(3_000_000), {}, "as zip bombs do"),
    ],
    ids=["traversal", "absolute", "link", "bomb"],
)
def test_a_hostile_zip_is_refused(tmp_path, capsys, monkeypatch, name, data, fields, said):
    monkeypatch.setattr(archive, "HARMLESS_BYTES", 1_000_000)
    path = hostile(tmp_path / "demos.zarr.zip", name, data, **fields)
    assert said in fails(capsys, "check", f"store={path}")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_a_zip_of_something_else_is_no_store(tmp_path, capsys):
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("cat.png", b"meow")
    assert "is no robolearn store" in fails(capsys, "info", f"store={path}")


# -- buckets that do not answer --------------------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch):
    pytest.importorskip("obstore")
    monkeypatch.setenv(buckets.TIMEOUT_VARIABLE, "0.3")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "someone")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "something")


def said_soon(capsys, store):
    begin = time.monotonic()
    error = fails(capsys, "info", f"store={store}")
    assert time.monotonic() - begin < 5
    return error


def test_an_endpoint_where_nobody_listens_is_told_soon(impatient, monkeypatch, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
        error = said_soon(capsys, "s3://lab/demos.zarr")
    assert "no answer at http://127.0.0.1" in error
    assert "check AWS_ENDPOINT_URL" in error


def test_an_endpoint_that_never_answers_is_told_soon(impatient, monkeypatch, capsys):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        error = said_soon(capsys, "s3://lab/demos.zarr")
    assert "no reply in time" in error
    assert "check AWS_ENDPOINT_URL" in error


def test_a_bucket_that_is_not_there_is_named(bucket, capsys):
    assert "there is no such bucket at http://127.0.0.1" in fails(capsys, "info", f"store={bucket}-else/demos.zarr")
    assert f"no store at {bucket}/demos.zarr" in fails(capsys, "info", f"store={bucket}/demos.zarr")


def test_without_credentials_the_variables_are_named(impatient, monkeypatch, capsys):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")
    error = said_soon(capsys, "s3://lab/demos.zarr")
    assert "AWS_ACCESS_KEY_ID" in error


def test_a_store_that_is_replaced_while_it_is_read_is_told(local, bucket):
    out = address(f"{bucket}/demos.zarr")
    copy(local, out, False)
    store = DemoStore.open(out)
    store.files.size("data/action/c/0/0")  # its folder is listed
    Bucket(out).put("data/action/c/0/0", b"another version")
    with pytest.raises(StoreError, match="replaced while it was read; open it again"):
        store.array("action")


def test_without_obstore_the_extra_is_named(monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "obstore", None)
    assert "pip install 'robolearn[s3]'" in fails(capsys, "info", "store=s3://lab/demos.zarr")


# -- addresses -------------------------------------------------------------------------------------------------------


def test_paths_and_addresses_are_told_apart(tmp_path):
    for text in ("./s3:x", "demos.zarr", "/data/demos.zarr.zip", "a:b.zarr"):
        assert address(text) == Path(text)
    for text in ("s3://lab/demos.zarr", "gs://lab/x/demos.zarr", "memory://x/demos.zarr"):
        assert isinstance(address(text), Url)
        assert address(Path(text)) == address(text) == text
        assert address(text).name == "demos.zarr"
    here = address("icechunk:folder/lab@v1")
    assert (here.base, here.ref, here.name, here.has_history) == ("icechunk:folder/lab", "v1", "lab", True)
    there = address("icechunk+s3://bucket/lab")
    assert (there.base, there.ref, there.name) == ("icechunk+s3://bucket/lab", None, "lab")
    assert address(Path("icechunk+s3://bucket/lab")) == there
    (tmp_path / "me@home").mkdir()  # a directory's name, not a branch
    assert address(f"icechunk:{tmp_path}/me@home/lab@v1").base == f"icechunk:{tmp_path}/me@home/lab"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftp://lab/x.zarr", "no stores at ftp://"),
        ("s3://", "names no bucket"),
        ("s3:x.zarr", "write it as s3://bucket/demos.zarr"),
        ("s3:/lab/x.zarr", "write it as s3://bucket/demos.zarr"),
        ("S3://lab/x.zarr", "write it as s3://bucket/demos.zarr"),
        ("icechunk:", "write it as icechunk:DIR"),
        ("icechunk:ice/lab@x/y", "after @ comes a branch, tag or snapshot, a name of letters, digits, _ . + -; got 'x/y'"),
        ("icechunk:lab@a b", "got 'a b'"),
        ("icechunk:lab@", "got ''"),
        ("icechunk+s3://bucket/lab@x/y@z", "got 'x/y@z'"),
    ],
)
def test_an_address_that_cannot_be_is_refused(text, said):
    with pytest.raises(StoreError, match=re.escape(said)):
        address(text)
