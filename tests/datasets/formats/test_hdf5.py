"""HDF5 made by an enemy, or broken in any way: one line, nothing read from elsewhere, nothing written."""

import contextlib
import random
import time

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.datasets.formats import hdf5, hdf5_probe
from robolearn.datasets.formats.json_values import pack, unpack
from robolearn.datasets.formats.registry import open_source, recognise
from robolearn.datasets.layout import StoreError
from robolearn.errors import UserError
from tests.datasets.formats.fuzzing import fuzz_settings
from tests.datasets.formats.hdf5_files import robomimic_file, robosuite_file


@pytest.fixture
def path(tmp_path):
    return robomimic_file(tmp_path / "a.hdf5")


def refused(path, says, **options):
    start = time.monotonic()
    with pytest.raises(StoreError, match=says) as caught:
        list(open_source(path, **options)[1])
    assert "\n" not in str(caught.value)
    assert path.name in str(caught.value)
    assert time.monotonic() - start < 10


def edited(path, change):
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replaced(name, **options):
    """Puts another dataset in the place of one."""

    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


def test_links_lead_nowhere_out_of_the_data(path, tmp_path):
    secret = tmp_path / "secret.hdf5"
    robomimic_file(secret)

    def external(file):
        file["data/demo_3"] = h5py.ExternalLink(str(secret), "data/demo_1")

    refused(edited(path, external), r"data/demo_3 is a link to another file, .*secret\.hdf5")
    robomimic_file(path)
    refused(
        edited(path, lambda file: file["data/demo_1"].__setitem__("obs/soft", h5py.SoftLink("/data"))),
        "obs/soft is a link to another place",
    )


def test_data_in_other_files_are_not_read(path, tmp_path):
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(5 * 7 * 8))
    external = replaced("data/demo_1/actions", shape=(5, 7), dtype="f8", external=[(str(raw), 0, 5 * 7 * 8)])
    refused(edited(path, external), "data/demo_1/actions keeps its data in other files")
    robomimic_file(path)

    def virtual(file):
        layout = h5py.VirtualLayout((5, 7), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "x", (5, 7))
        del file["data/demo_1/actions"]
        file.create_virtual_dataset("data/demo_1/actions", layout)

    refused(edited(path, virtual), "keeps its data in other files")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shape": (5, 10**12), "chunks": (1, 1 << 20)}, "the file would unpack from"),
        ({"shape": (5, 1 << 16), "chunks": (5, 1 << 16)}, "was never written in full"),
        ({"shape": (5, 1 << 21), "chunks": (1, 1)}, "claims 10485760 chunks in a file of"),
        ({"shape": (5, 3), "chunks": (1 << 14, 1 << 14), "maxshape": (None, None)}, "has chunks of the absurd shape"),
        ({"shape": (5, 3)}, "was never written in full"),
        ({"shape": (5, 1, 1, 1, 1, 1, 1, 1)}, "has the absurd shape"),
        ({"shape": None}, "has the absurd shape"),
    ],
    ids=["huge", "unwritten", "many chunks", "huge chunk", "unwritten contiguous", "many axes", "no shape"],
)
def test_absurd_claims_are_refused_before_anything_is_read(path, options, says):
    if "chunks" in options:
        options = {**options, "compression": "gzip"}
    empty = {"data": h5py.Empty("f8")} if options["shape"] is None else options
    refused(
        edited(
            path,
            replaced("data/demo_1/obs/eef_pos", dtype="f8", **empty)
            if "data" not in empty
            else replaced("data/demo_1/obs/eef_pos", **empty),
        ),
        says,
    )


def test_a_bomb_of_zeros_is_refused_by_what_it_would_unpack_to(path, monkeypatch):
    zeros = np.zeros((5, 1 << 21))
    edited(path, replaced("data/demo_1/obs/eef_pos", data=zeros, compression="gzip", compression_opts=9))
    assert path.stat().st_size < zeros.nbytes / 200
    monkeypatch.setattr(hdf5, "_ALWAYS_BYTES", 1 << 20)  # as if the bomb had a thousand times the size
    refused(path, "the file would unpack from .* bytes, which no demonstrations do")


def test_many_names_for_one_array_are_one_bomb(path, monkeypatch):
    def change(file):
        file["data/demo_1/obs/big"] = np.ones((5, 1 << 12))
        for number in range(200):
            file[f"data/demo_1/obs/b{number}"] = file["data/demo_1/obs/big"]

    edited(path, change)
    monkeypatch.setattr(hdf5, "_ALWAYS_BYTES", 1 << 20)
    refused(path, "the file would unpack from")


def test_a_group_that_contains_itself_ends(path):
    refused(
        edited(path, lambda file: file["data/demo_1/obs"].__setitem__("again", file["data/demo_1"])),
        "lies deeper than any demonstration's data",
    )
    robomimic_file(path)

    def ladder(file):
        for level in range(3):
            file.create_group(f"l{level}")
        for level in range(2):
            for name in range(200):
                file[f"l{level}/{name}"] = file[f"l{level + 1}"]
        file["data/demo_1/obs/ladder"] = file["l0"]

    refused(edited(path, ladder), "claims more groups and arrays than fit")


def test_an_unknown_compression_is_named_with_the_way_out(path, monkeypatch):
    monkeypatch.setattr(hdf5, "_FILTERS", {})  # as if gzip were one that HDF5 does not bring
    edited(path, replaced("data/demo_1/obs/eef_pos", data=np.ones((5, 3)), compression="gzip"))
    refused(path, r"data/demo_1/obs/eef_pos is compressed with deflate, which is not here; `h5repack -f GZIP=4` makes it gzip")


@pytest.mark.parametrize("size", [0, 7, 8, 100, 2000, 0.5, 0.99])
def test_a_truncated_file_is_one_line(path, size):
    content = path.read_bytes()
    path.write_bytes(content[: int(size * len(content)) if isinstance(size, float) else size])
    refused(path, "is not HDF5|is damaged or incomplete", format="robomimic")


def test_other_files_are_no_hdf5(tmp_path):
    (tmp_path / "a.hdf5").write_text("no")
    with pytest.raises(StoreError, match="in no format that can be imported"):
        recognise(tmp_path / "a.hdf5")
    with pytest.raises(StoreError, match="is not HDF5"):
        open_source(tmp_path / "a.hdf5", "robomimic")
    with pytest.raises(StoreError, match="there is no file"):
        open_source(tmp_path, "robosuite")
    with h5py.File(tmp_path / "empty.hdf5", "w"):
        pass
    refused(tmp_path / "empty.hdf5", "has no group 'data'")
    with h5py.File(tmp_path / "empty.hdf5", "w") as file:
        file.create_group("data/episode_0")
    refused(tmp_path / "empty.hdf5", "no demonstrations data/demo_<number>; data has episode_0")


def test_without_h5py_the_extra_is_named(path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "h5py", None)
    with pytest.raises(UserError, match=r"pip install 'robolearn\[formats\]'"):
        open_source(path)


def endless(path):
    """A file on which libhdf5 2.0 loops for ever: a text in its heap is 16 bytes less than 2**64 long, header and text together none."""
    content = path.read_bytes()
    heap = content.index(b"GCOL") + 16
    path.write_bytes(content[: heap + 8] + (2**64 - 16).to_bytes(8, "little") + content[heap + 16 :])


def test_a_file_on_which_the_library_hangs_is_refused_once_and_the_next_one_read(path, tmp_path, monkeypatch):
    monkeypatch.setattr(hdf5_probe, "PATIENCE_S", 1.5)
    other = robosuite_file(tmp_path / "b.hdf5")
    for file in (path, other):
        endless(file)
        start = time.monotonic()
        refused(file, r"\(the HDF5 library hangs on it, for 1\.5 s\)")
        assert time.monotonic() - start < 2 * 1.5  # although two formats look at it
    monkeypatch.setattr(hdf5_probe, "PATIENCE_S", 20.0)  # a new probe may start slowly
    assert len(open_source(robomimic_file(path))[1]) == 3


def test_a_file_on_which_the_library_crashes_is_refused_and_the_next_one_read(path, tmp_path, monkeypatch):
    script = tmp_path / "crashes.py"
    script.write_text("import os\ninput()\nos.abort()")
    hdf5_probe._stop()
    with monkeypatch.context() as patch:
        patch.setattr(hdf5_probe, "__file__", str(script))
        refused(path, "the HDF5 library crashes on it")
    assert len(open_source(robomimic_file(tmp_path / "b.hdf5"))[1]) == 3


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "é" * 5000,
        "",
        3,
        np.float32(0.1),
        np.array([np.nan, np.inf, -0.0]),
        np.arange(500),
        np.array([b"a", b"bc"]),
        np.zeros((0, 3), "i2"),
        True,
    ],
)
def test_values_survive_json(value):
    import json

    back = unpack(json.loads(json.dumps(pack(value))))
    if isinstance(value, str):
        assert back == value
    else:
        assert (back.dtype, back.shape, back.tobytes()) == (np.asarray(value).dtype, np.asarray(value).shape, np.asarray(value).tobytes())


def test_a_list_of_texts_survives_and_strange_things_are_refused():
    names = np.array(["a", "ü" * 5000], object)
    assert unpack(pack(names)).tolist() == names.tolist()
    for strange in (np.array([object()]), "\udcff", np.array([1j])):
        with pytest.raises(ValueError, match=r"neither text nor numbers|surrogates"):
            pack(strange)
    for broken in (
        {"dtype": "<f8"},
        {"dtype": "<f8", "shape": [2], "bytes": "!"},
        5,
        {"text": "AAAA"},
        {"dtype": "x", "shape": [], "data": [1]},
    ):
        with pytest.raises(ValueError, match="no packed value"):
            unpack(broken)


# -- fuzzing ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    options = [{}, {"image": True, "compression": "gzip"}, {"mimicgen": True}]
    files = [
        robomimic_file(folder / "a.hdf5", lengths={"demo_1": 5, "demo_2": 3}, masks={"train": ["demo_1"]}, **entry).read_bytes()
        for entry in options
    ]
    return [*files, robosuite_file(folder / "b.hdf5", model="model_1.xml").read_bytes(), robosuite_file(folder / "c.hdf5").read_bytes()]


def damaged(content, rng):
    """Cut short, or with bits, bytes and blocks changed."""
    if rng.random() < 0.15:
        return content[: rng.randrange(len(content))]
    raw = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20, 100))):
        place, kind = rng.randrange(len(raw)), rng.random()
        if kind < 0.4:
            raw[place] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            raw[place] = rng.randrange(256)
        elif kind < 0.85:
            raw[place : place + 8] = bytes([rng.choice((0, 127, 128, 255))]) * min(8, len(raw) - place)
        else:
            length, other = rng.randrange(1, 64), rng.randrange(len(raw))
            raw[place : place + length] = raw[other : other + length][: len(raw) - place]
    return bytes(raw)


def survives(source, folder, **options):
    """Imports; only a line may come of it, and nothing but the store may be left."""
    before = {file.name for file in folder.iterdir()}
    try:
        episodes = list(open_source(source, **options)[1])
    except UserError as error:
        assert "\n" not in str(error)
        episodes = []
    assert {file.name for file in folder.iterdir()} == before
    return bool(episodes)


@pytest.mark.fuzz
@fuzz_settings
@given(number=st.integers(0, 2**63), format=st.sampled_from(["auto", "robomimic", "robosuite"]), missing=st.sampled_from(["error", "skip"]))
def test_damaged_bytes_never_give_more_than_a_line(seeds, tmp_path_factory, number, format, missing):
    hdf5_probe.PATIENCE_S = 3.0
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    rng = random.Random(number)
    source = folder / "a.hdf5"
    source.write_bytes(damaged(rng.choice(seeds), rng))
    survives(source, folder, format=format, missing=missing)


def put(file, place, values):
    """Another array, or none, where there may be one or a group already."""
    with contextlib.suppress(KeyError, ValueError, OSError):  # an array lies where the place needs a group
        if place in file:
            del file[place]
        if values is not None:
            file[place] = values


ARRAYS = st.one_of(
    st.sampled_from(
        [np.zeros(()), np.zeros((0, 7)), np.zeros((5, 0)), np.array([b"x"] * 5), np.ones((5, 7), "c16"), np.ones((5, 7), bool)]
    ),
    st.builds(
        lambda dtype, shape: np.ones(shape, dtype),
        st.sampled_from(["f2", "f4", ">f8", "i1", ">u4", "u8", "f8"]),
        st.sampled_from([(5,), (5, 7), (5, 2, 3), (4, 7), (1,)]),
    ),
    st.sampled_from([np.full((5, 7), np.nan), np.full((5, 7), np.inf), np.full((5, 3), 1e300)]),
)
PLACES = st.sampled_from(
    [
        "actions",
        "states",
        "rewards",
        "dones",
        "obs/eef_pos",
        "obs/x/y",
        "obs/é ü",
        "next_obs/eef_pos",
        "states/a",
        "datagen_info/a/b",
        "obs",
        "states",
    ]
)
TEXTS = st.sampled_from(
    ["", "{", "[]", "null", '{"type": []}', '{"env_kwargs": {"control_freq": "x"}}', '{"env_name": 5, "env_kwargs": [1]}', "é" * 70_000]
)
ATTRIBUTES = st.one_of(
    TEXTS, st.sampled_from([3, -1, 2.5, np.nan, 10**18, np.array([5, 5]), np.array([], "f8"), b"\xff\xfe", np.array([b"\xff"]), True])
)


@pytest.mark.fuzz
@fuzz_settings
@given(
    arrays=st.lists(st.tuples(st.sampled_from(["demo_1", "demo_2"]), PLACES, st.one_of(st.none(), ARRAYS)), max_size=4),
    attributes=st.lists(
        st.tuples(
            st.sampled_from(["data", "data/demo_1", "data/demo_2", "/"]),
            st.sampled_from(["env_args", "env_info", "env", "num_samples", "model_file", "success", "robolearn", "x", "total"]),
            ATTRIBUTES,
        ),
        max_size=3,
    ),
    raw=st.booleans(),
    missing=st.sampled_from(["error", "skip"]),
    filter_key=st.sampled_from([None, "train", "x"]),
)
def test_wrong_types_shapes_keys_and_attributes_never_give_more_than_a_line(tmp_path_factory, arrays, attributes, raw, missing, filter_key):
    folder = tmp_path_factory.getbasetemp() / "fuzz"
    folder.mkdir(exist_ok=True)
    source = folder / "b.hdf5"
    make = robosuite_file if raw else robomimic_file
    make(source, **({} if raw else {"lengths": {"demo_1": 5, "demo_2": 5}, "masks": {"train": ["demo_1"]}}))
    with h5py.File(source, "a") as file:
        for name, key, values in arrays:
            put(file, f"data/{name}/{key}", values)
        for place, name, value in attributes:
            if place in file:
                file[place].attrs[name] = value
    survives(source, folder, missing=missing, filter_key=filter_key)


def test_what_fuzzing_reads_is_sometimes_whole(seeds, tmp_path):
    """Else the tests above could pass on errors alone."""
    rng = random.Random(1)
    source = tmp_path / "a.hdf5"
    outcomes = []
    for _ in range(20):
        source.write_bytes(damaged(rng.choice(seeds), rng))
        outcomes.append(survives(source, tmp_path, missing="skip"))
    assert {True, False} == set(outcomes)
