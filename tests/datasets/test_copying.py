"""Whatever runs of steps a new store is made of, it holds the same numbers, and images as the very same bytes."""

import dataclasses
import json

import google_crc32c
import numpy as np
import pytest
import zarr

from robolearn.datasets import copying, layout
from robolearn.datasets.copying import Runs
from robolearn.datasets.editing import Piece, Plan, write
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode

IMAGES = dataclasses.replace(SPEC, observation={**SPEC.observation, "camera": ArraySpec((6, 5, 3), "uint8")})
LENGTHS = [100, 3, 64, 61, 900, 40, 1100, 7]


def make_store(path, numbers, spec=IMAGES, state_size=4):
    with DemoStore.create(path, spec) as store:
        store.extend([make_episode(n, spec=spec, steps=LENGTHS[n % len(LENGTHS)], state_size=state_size if n % 3 else 0) for n in numbers])
    return DemoStore.open(path)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    return [make_store(folder / "a.zarr", range(8)), make_store(folder / "b.zarr", range(8, 13))]


def random_pieces(rng, sources):
    pieces = []
    for _ in range(int(rng.integers(1, 20))):
        source = int(rng.integers(len(sources)))
        episode = int(rng.integers(sources[source].num_episodes))
        length = int(sources[source].lengths[episode])
        start = int(rng.integers(length)) if rng.random() < 0.5 else 0
        stop = int(rng.integers(start + 1, length + 1)) if rng.random() < 0.5 else length
        pieces.append(Piece(source, episode, start, stop, {"tool": "test"}))
    return pieces


@pytest.mark.parametrize("seed", range(4))
def test_any_pieces_are_the_same_numbers_with_the_digests_of_what_they_hold(sources, tmp_path, seed):
    pieces = random_pieces(np.random.default_rng(seed), sources)
    write([Plan(tmp_path / "out.zarr", sources, pieces, IMAGES, {"tool": "test"})], overwrite=False)
    made = DemoStore.open(tmp_path / "out.zarr")
    assert made.check() == []  # every digest is of what is there
    firsts = [int(sources[piece.source].starts[piece.episode]) + piece.start for piece in pieces]
    for name in ("joints", "camera", "action", "reward", "sim_state"):
        whole = [source.array(name) for source in sources]
        expected = [whole[piece.source][first : first + len(piece)] for piece, first in zip(pieces, firsts, strict=True)]
        np.testing.assert_array_equal(made.array(name), np.concatenate(expected))
    assert made.lengths.tolist() == [len(piece) for piece in pieces]


def test_images_are_copied_encoded_and_never_encoded_again(sources, tmp_path, monkeypatch):
    pieces = random_pieces(np.random.default_rng(1), sources)
    decoded = []
    monkeypatch.setattr(copying, "_decoded", lambda name, *rest, real=copying._decoded: (decoded.append(name), real(name, *rest))[1])
    write([Plan(tmp_path / "out.zarr", sources, pieces, IMAGES, {"tool": "test"})], overwrite=False)
    assert "camera" not in decoded
    assert "action" in decoded


def test_whole_files_are_copied_byte_by_byte(sources, tmp_path):
    source = make_store(tmp_path / "long.zarr", [4, 6, 4, 6])
    pieces = [Piece(0, index, 0, int(length), {}) for index, length in enumerate(source.lengths)]
    write([Plan(tmp_path / "out.zarr", [source], pieces, IMAGES, {})], overwrite=False)
    for key in ["data/camera/c/0/0/0/0", "data/camera/c/61/0/0/0", "data/action/c/0/0", "data/sim_state/c/2/0"]:
        assert (tmp_path / "out.zarr" / key).read_bytes() == (tmp_path / "long.zarr" / key).read_bytes()


def test_a_store_keeps_the_codecs_of_its_sources(tmp_path):
    make_store(tmp_path / "a.zarr", [1, 2])
    file = tmp_path / "a.zarr" / "data" / "action" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["codecs"][1]["configuration"]["level"] = 7
    file.write_text(json.dumps(metadata))
    source = DemoStore.open(tmp_path / "a.zarr")
    write([Plan(tmp_path / "b.zarr", [source], [Piece(0, 1, 2, 9, {})], IMAGES, {})], overwrite=False)
    assert zarr.open_array(tmp_path / "b.zarr" / "data" / "action", mode="r").metadata.to_dict()["codecs"][1]["configuration"]["level"] == 7
    assert DemoStore.open(tmp_path / "b.zarr").check() == []


def test_sources_encoded_differently_are_encoded_as_new_stores_are(sources, tmp_path, monkeypatch):
    monkeypatch.setattr(layout, "state_codecs", lambda: [zarr.codecs.ZstdCodec(level=9), zarr.codecs.Crc32cCodec()])
    other = make_store(tmp_path / "other.zarr", [1, 2])
    monkeypatch.undo()
    pieces = [Piece(0, 2, 0, 64, {}), Piece(1, 1, 5, 60, {})]
    write([Plan(tmp_path / "out.zarr", [sources[0], other], pieces, IMAGES, {})], overwrite=False)
    made = DemoStore.open(tmp_path / "out.zarr")
    assert made.check() == []
    np.testing.assert_array_equal(made.array("camera", 64, 119), other.episode(1).observations["camera"][5:60])


@pytest.mark.parametrize(("array", "offset"), [("camera", 1000), ("camera", -10), ("action", 30)])
@pytest.mark.parametrize("shift", [0, 1])
def test_a_damaged_source_makes_no_store(tmp_path, array, offset, shift):
    source = make_store(tmp_path / "a.zarr", [4, 6])
    file = tmp_path / "a.zarr" / "data" / array / ("c/0/0/0/0" if array == "camera" else "c/0/0")
    content = bytearray(file.read_bytes())
    content[offset] ^= 4
    file.write_bytes(content)
    pieces = [Piece(0, 0, shift, 900, {}), Piece(0, 1, 0, 1100, {})]
    with pytest.raises(StoreError, match=rf"data/{array}.* is damaged"):
        write([Plan(tmp_path / "out.zarr", [source], pieces, IMAGES, {})], overwrite=False)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".a.zarr.lock", ".out.zarr.lock", "a.zarr"]


def test_a_lost_file_of_a_source_makes_no_store(tmp_path):
    source = make_store(tmp_path / "a.zarr", [4, 6])
    (tmp_path / "a.zarr" / "data" / "camera" / "c" / "3" / "0" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="lacks the file c/3/0/0/0"):
        write([Plan(tmp_path / "out.zarr", [source], [Piece(0, 0, 1, 900, {})], IMAGES, {})], overwrite=False)
    assert not (tmp_path / "out.zarr").exists()


def test_runs_that_follow_one_another_are_one():
    runs = Runs.joined([0, 0, 0, 1], [10, 15, 30, 40], [5, 5, 2, 3])
    assert runs.source.tolist() == [0, 0, 1]
    assert runs.start.tolist() == [10, 30, 40]
    assert runs.ends.tolist() == [10, 12, 15]
    assert list(runs.within(4, 14)) == [(0, 14, 20), (0, 30, 32), (1, 40, 42)]
    assert Runs.joined([], [], []).num_rows == 0


def test_a_shard_put_together_is_what_zarr_itself_reads(sources, tmp_path):
    write([Plan(tmp_path / "out.zarr", sources, [Piece(0, 0, 7, 90, {})], IMAGES, {})], overwrite=False)
    array = zarr.open_array(tmp_path / "out.zarr" / "data" / "camera", mode="r")
    np.testing.assert_array_equal(array[:], sources[0].array("camera", 7, 90))
    tail = (tmp_path / "out.zarr" / "data" / "camera" / "c" / "0" / "0" / "0" / "0").read_bytes()[-(64 * 16 + 4) :]
    assert google_crc32c.value(tail[:-4]) == int.from_bytes(tail[-4:], "little")
