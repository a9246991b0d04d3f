"""Foreign zarr 2: every codec and layout read as zarr does, every promise of the metadata held against the bytes."""

import json
import sys

import numcodecs
import numpy as np
import pytest
import zarr

from robolearn.datasets.formats import zarr2, zarr2_codecs
from robolearn.datasets.formats.zarr2 import ZarrSource
from robolearn.datasets.formats.zarr2_codecs import CodecError, decompress
from robolearn.datasets.layout import StoreError
from robolearn.errors import UserError

VALUES = np.random.default_rng(0).integers(-100, 100, (17, 6)).astype(np.float32)
COMPRESSORS = [
    None,
    numcodecs.Blosc("lz4", 5, 0),
    numcodecs.Blosc("zstd", 5, 2),
    numcodecs.Blosc("blosclz", 1, 1),
    numcodecs.Blosc("zlib", 1, 1),
    numcodecs.Zstd(3),
    numcodecs.LZ4(),
    numcodecs.Zlib(1),
    numcodecs.GZip(1),
    numcodecs.BZ2(1),
    numcodecs.LZMA(),
]


def write(root, name="x", values=VALUES, chunks=(5, 4), compressor=None, **options):
    """An array written by numcodecs and hand, as zarr 2 would."""
    folder = root / name
    folder.mkdir(parents=True)
    (root / ".zgroup").write_text('{"zarr_format": 2}')
    meta = {
        "zarr_format": 2,
        "shape": list(values.shape),
        "chunks": list(chunks),
        "dtype": values.dtype.str,
        "compressor": compressor.get_config() if compressor else None,
        "fill_value": 0,
        "order": "C",
        "filters": None,
        **options,
    }
    (folder / ".zarray").write_text(json.dumps(meta))
    padded = np.zeros([-(-size // chunk) * chunk for size, chunk in zip(values.shape, chunks, strict=True)], values.dtype)
    padded[tuple(map(slice, values.shape))] = values
    for place in np.ndindex(*(size // chunk for size, chunk in zip(padded.shape, chunks, strict=True))):
        piece = padded[tuple(slice(at * size, (at + 1) * size) for at, size in zip(place, chunks, strict=True))]
        plain = np.asarray(piece, order=meta["order"]).tobytes(order="A")
        file = folder / meta.get("dimension_separator", ".").join(map(str, place or (0,)))
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(compressor.encode(plain) if compressor else plain)
    return root


def change(root, name="x", **changes):
    meta = {**json.loads((root / name / ".zarray").read_text()), **changes}
    (root / name / ".zarray").write_text(json.dumps(meta))
    return ZarrSource(root)


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=str)
def test_every_codec_gives_what_zarr_reads(tmp_path, compressor):
    write(tmp_path, compressor=compressor)
    np.testing.assert_array_equal(ZarrSource(tmp_path).read("x", every_chunk=True), VALUES)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x", mode="r", zarr_format=2)[...], VALUES)


@pytest.mark.parametrize("options", [{"order": "F"}, {"dimension_separator": "/"}, {"order": "F", "dimension_separator": "/"}])
def test_every_layout_gives_what_zarr_reads(tmp_path, options):
    write(tmp_path, **options)
    np.testing.assert_array_equal(ZarrSource(tmp_path).read("x", every_chunk=True), VALUES)
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "x", mode="r", zarr_format=2)[...], VALUES)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "|u1", "|b1", ">i8", "<f2"])
def test_every_type_is_read(tmp_path, dtype):
    values = (VALUES > 0 if dtype == "|b1" else np.abs(VALUES)).astype(dtype)
    read = ZarrSource(write(tmp_path, values=values)).read("x")
    assert read.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(read, values)


@pytest.mark.parametrize(("start", "stop"), [(0, 17), (0, 1), (4, 6), (16, 17), (7, 7), (3, 15)])
def test_rows_are_those_of_the_whole(tmp_path, start, stop):
    np.testing.assert_array_equal(ZarrSource(write(tmp_path)).rows("x", start, stop), VALUES[start:stop])


def test_going_forward_decodes_each_chunk_once(tmp_path, monkeypatch):
    source = ZarrSource(write(tmp_path))
    calls = []
    decode = zarr2_codecs.decode
    monkeypatch.setattr(zarr2, "decode", lambda *given: calls.append(1) or decode(*given))
    for step in range(17):
        source.rows("x", step, step + 1)
    assert len(calls) == 4 * 2


@pytest.mark.parametrize(("fill", "expected"), [(0, 0.0), (None, 0.0), (-2.5, -2.5), ("NaN", np.nan)])
def test_a_chunk_that_was_never_written_is_the_fill_value_where_that_is_allowed(tmp_path, fill, expected):
    write(tmp_path, fill_value=fill)
    (tmp_path / "x" / "1.0").unlink()
    source = ZarrSource(tmp_path)
    np.testing.assert_array_equal(source.read("x")[5:10, :4], np.full((5, 4), expected))
    with pytest.raises(StoreError, match=r"incomplete: 1 chunks of x are missing, first x/1\.0"):
        source.read("x", every_chunk=True)


@pytest.mark.parametrize("fill", [[1], {}, "x", 10**400, 1e300])
@pytest.mark.parametrize("dtype", ["<f4", "|u1"])
def test_a_fill_value_that_is_none_is_refused_where_it_is_needed(tmp_path, fill, dtype):
    write(tmp_path, values=np.abs(VALUES).astype(dtype), fill_value=fill)
    (tmp_path / "x" / "1.0").unlink()
    with pytest.raises(StoreError, match=r"x cannot be read: x/1\.0: its fill_value"):
        ZarrSource(tmp_path).read("x")


@pytest.mark.parametrize("fill", [-1, 256, 0.5, 1e30, "NaN"])
def test_a_fill_value_beyond_its_type_is_refused(tmp_path, fill):
    write(tmp_path, values=np.abs(VALUES).astype(np.uint8), fill_value=fill)
    (tmp_path / "x" / "1.0").unlink()
    with pytest.raises(StoreError, match="its fill_value"):
        ZarrSource(tmp_path).read("x")


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": [10**12, 6]},
        {"shape": [10**30, 6]},
        {"shape": [0, 10**30]},
        {"shape": [-1, 6]},
        {"shape": [17.0, 6]},
        {"shape": [True, 6]},
        {"shape": "17"},
        {"shape": [17]},
        {"shape": [1] * 40, "chunks": [1] * 40},
        {"shape": None},
        {"chunks": [0, 4]},
        {"chunks": [10**10, 4]},
        {"chunks": [-5, 4]},
        {"chunks": [1, 1], "shape": [10**6, 10**3]},
        {"dtype": "|O"},
        {"dtype": "<f16"},
        {"dtype": "<U999999"},
        {"dtype": "<c8"},
        {"dtype": "f4,f4"},
        {"dtype": [["a", "<f4"]]},
        {"dtype": "<f3"},
        {"dtype": "float32"},
        {"dtype": 5},
        {"order": "K"},
        {"zarr_format": 3},
        {"dimension_separator": "../"},
        {"compressor": "zlib"},
        {"compressor": {}},
        {"compressor": {"id": "unheard_of"}},
        {"compressor": {"id": "imagecodecs_unheard_of"}},
        {"compressor": {"id": "imagecodecs_png", "unheard_of": 1}},
        {"compressor": {"id": ["zlib"]}},
        {"compressor": {"id": "zstd"}},
        {"compressor": {"id": "blosc"}},
        {"filters": [{"id": "unheard_of"}]},
        {"filters": [{"id": "delta", "dtype": "<f4"}]},
        {"filters": "delta"},
        {"filters": [5]},
    ],
    ids=str,
)
def test_metadata_that_lie_are_refused_at_once(tmp_path, changes):
    write(tmp_path)
    with pytest.raises(StoreError, match=r": x cannot be read|of x are missing") as caught:
        change(tmp_path, **changes).read("x", every_chunk=True)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("where", ["filters", "compressor", "plain object"])
def test_pickles_are_refused_with_the_way_out(tmp_path, where):
    write(tmp_path)
    changes = {"filters": {"filters": [{"id": "pickle"}]}, "compressor": {"compressor": {"id": "pickle"}}, "plain object": {}}[where]
    with pytest.raises(StoreError, match=r"x cannot be read: it is stored as Python pickles.*VLenUTF8"):
        change(tmp_path, dtype="|O", **changes).read("x")


@pytest.mark.parametrize("compressor", COMPRESSORS[1:], ids=str)
def test_a_chunk_that_grows_beyond_its_size_is_stopped(compressor):
    bomb = compressor.encode(bytes(1 << 22))
    assert len(bomb) < 1 << 17
    with pytest.raises(CodecError):
        plain = decompress(bomb, compressor.codec_id, 1000)
        assert len(plain) <= 1001  # a stream: stopped there, and refused by its length
        raise CodecError


@pytest.mark.parametrize("compressor", COMPRESSORS[1:], ids=str)
def test_a_chunk_smaller_than_its_size_is_refused(tmp_path, compressor):
    write(tmp_path, compressor=compressor)
    (tmp_path / "x" / "0.0").write_bytes(compressor.encode(bytes(40)))
    with pytest.raises(StoreError, match=r"x cannot be read: x/0\.0"):
        ZarrSource(tmp_path).read("x")


def test_a_blosc_header_beyond_its_bytes_is_refused():
    """Blosc itself would read on behind the buffer."""
    chunk = numcodecs.Blosc().encode(bytes(10_000))
    with pytest.raises(CodecError, match="claim to have"):
        decompress(chunk[:-4], "blosc", 10_000)


def write_texts(root, codec, texts, shape=None):
    write(root, "t", np.zeros(2, np.float32), (2,))
    (root / "t" / "0").write_bytes(codec.encode(np.array(texts, object)) if not isinstance(codec, bytes) else codec)
    identity = "vlen-utf8" if isinstance(codec, bytes) else codec.codec_id
    return change(root, "t", dtype="|O", filters=[{"id": identity}], shape=shape or [2])


@pytest.mark.parametrize("codec", [numcodecs.JSON(), numcodecs.VLenUTF8()], ids=["json2", "vlen-utf8"])
def test_texts_are_read(tmp_path, codec):
    assert write_texts(tmp_path, codec, ["one", "zwei ä"]).read("t").tolist() == ["one", "zwei ä"]


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xff\xff\xff\xff", b"\x02\0\0\0", b"\x02\0\0\0\xff\xff\xff\xff", b"\x02\0\0\0\x01\0\0\0\xff\0\0\0\0", b"\x02\0\0\0" + bytes(9)],
)
def test_texts_that_claim_more_than_there_is_are_refused(tmp_path, raw):
    with pytest.raises(StoreError, match="t cannot be read: t/0"):
        write_texts(tmp_path, raw, []).read("t")


@pytest.mark.parametrize("raw", ["[", "{}", "[1]", '["a", "b"]', '["a", "b", "c", "<U1", [3]]', '[[1], {}, "|O", [2]]', "[" * 100_000])
def test_json_texts_that_are_none_are_refused(tmp_path, raw):
    source = write_texts(tmp_path, numcodecs.JSON(), ["a", "b"])
    (tmp_path / "t" / "0").write_text(raw)
    with pytest.raises(StoreError, match="t cannot be read: t/0"):
        source.read("t")


def test_letters_that_do_not_exist_are_refused(tmp_path):
    write(tmp_path, values=np.array(["ab", "cd"]), chunks=(2,))
    (tmp_path / "x" / "0").write_bytes(b"\xff" * 16)
    with pytest.raises(StoreError, match="letters that do not exist"):
        ZarrSource(tmp_path).read("x")


@pytest.mark.parametrize("name", ["jpeg2k", "jpegxl", "png"])
def test_an_image_of_another_size_is_refused(tmp_path, name):
    pytest.importorskip("imagecodecs")
    codec = zarr2_codecs.image_codec({"id": f"imagecodecs_{name}"})
    write(tmp_path, values=np.zeros((2, 8, 9, 3), np.uint8), chunks=(1, 8, 9, 3), compressor=None)
    good, large = codec.encode(np.full((8, 9, 3), 7, np.uint8)), codec.encode(np.zeros((800, 900, 3), np.uint8))
    source = change(tmp_path, compressor=codec.get_config())
    for number, content in enumerate((good, large)):
        (tmp_path / "x" / f"{number}.0.0.0").write_bytes(content)
    assert source.rows("x", 0, 1).tolist() == np.full((1, 8, 9, 3), 7).tolist()
    with pytest.raises(StoreError, match=r"x/1\.0\.0\.0"):
        source.rows("x", 1, 2)
    (tmp_path / "x" / "1.0.0.0").write_bytes(good[: len(good) // 2])
    with pytest.raises(StoreError, match=r"x/1\.0\.0\.0"):
        ZarrSource(tmp_path).rows("x", 1, 2)


def test_without_imagecodecs_the_way_to_get_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    monkeypatch.setitem(sys.modules, "imagecodecs.numcodecs", None)
    write(tmp_path)
    with pytest.raises(UserError, match=r"pip install robolearn\[formats\]"):
        change(tmp_path, compressor={"id": "imagecodecs_jpegxl"}).read("x")


def test_a_directory_of_several_groups_is_not_guessed_at(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b")
    with pytest.raises(StoreError, match="several zarr groups: a/, b/; name one"):
        ZarrSource(tmp_path)


def test_a_scalar_is_read(tmp_path):
    write(tmp_path, values=np.array(2.5), chunks=())
    assert ZarrSource(tmp_path).read("x") == 2.5
