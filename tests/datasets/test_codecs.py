"""Pictures kept with loss come back as good as said, and are never encoded twice; all else comes back to the bit."""

import subprocess
import sys

import numpy as np
import pytest
import zarr

from robolearn.bench.pictures import MovingScene
from robolearn.datasets.editing import Piece, Plan, write
from robolearn.datasets.edits import merge_plan
from robolearn.datasets.shards import pack, sealed
from robolearn.datasets.store import DemoStore, StoreError
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.spec import ArraySpec, EnvSpec
from tests.datasets.episodes import SPEC, assert_same

pytest.importorskip("imagecodecs")

HEIGHT, WIDTH = 48, 64
CAMERA = EnvSpec(
    "toy",
    {
        "camera": ArraySpec((HEIGHT, WIDTH, 3), "uint8"),
        "depth": ArraySpec((HEIGHT, WIDTH), "uint16", units="mm"),
        "mask": ArraySpec((HEIGHT, WIDTH), "uint8"),
    },
    SPEC.action,
    30.0,
)
LEAST_PSNR = {"jpeg": 39.0, "jpegxl": 39.0}  # [dB] of small pictures, which are all texture and noise; 44 at 240 x 320


def camera_episode(number: int, steps: int = 30) -> Episode:
    rng = np.random.default_rng([5, number])
    scene = MovingScene(HEIGHT, WIDTH, seed=number)
    return Episode(
        observations={
            "camera": np.stack([scene.picture(step) for step in range(steps)]),
            "depth": rng.integers(0, 2**16, (steps, HEIGHT, WIDTH)).astype(np.uint16),
            "mask": rng.integers(0, 4, (steps, HEIGHT, WIDTH)).astype(np.uint8),
        },
        actions=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rewards=np.zeros(steps, np.float32),
        terminated=True,
        truncated=False,
        success=True,
        provenance={"source": "teleop", "seed": number},
    )


def make_store(path, image_codec, episodes=3):
    with DemoStore.create(path, CAMERA, image_codec=image_codec) as store:
        for number in range(episodes):
            store.append(camera_episode(number))  # 30 frames each: shards of 64 are added to
    return DemoStore.open(path)


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("image_codec", ["zstd", "jpegxl_lossless"])
def test_lossless_codecs_give_back_every_bit(tmp_path, image_codec):
    store = make_store(tmp_path / "a.zarr", image_codec)
    for number, episode in enumerate(store):
        assert_same(episode, camera_episode(number))
    assert store.check() == []


def test_the_digest_of_a_lossless_store_does_not_depend_on_its_codec(tmp_path):
    one, other = (make_store(tmp_path / f"{codec}.zarr", codec, 2) for codec in ("zstd", "jpegxl_lossless"))
    assert one.fingerprint() == other.fingerprint()


@pytest.mark.parametrize("image_codec", ["jpeg", "jpegxl"])
def test_lossy_codecs_touch_colour_pictures_only_and_those_little(tmp_path, image_codec):
    store = make_store(tmp_path / "a.zarr", image_codec)
    for number, episode in enumerate(store):
        expected = camera_episode(number)
        assert (episode.observations["depth"] == expected.observations["depth"]).all()
        assert (episode.observations["mask"] == expected.observations["mask"]).all()
        got, sent = episode.observations["camera"], expected.observations["camera"]
        assert (got != sent).any()
        assert min(psnr(one, other) for one, other in zip(got, sent, strict=True)) > LEAST_PSNR[image_codec]
    assert store.check() == []


@pytest.mark.parametrize("image_codec", ["zstd", "jpeg", "jpegxl", "jpegxl_lossless"])
def test_zarr_itself_reads_the_same_pictures(tmp_path, image_codec):
    store = make_store(tmp_path / "a.zarr", image_codec)
    for name in CAMERA.observation:
        assert (zarr.open_array(tmp_path / "a.zarr" / "data" / name, mode="r")[:] == store.array(name)).all()


def test_adding_and_editing_never_encode_a_picture_again(tmp_path):
    store = make_store(tmp_path / "a.zarr", "jpeg")
    before = list(store.encoded("camera", 0, 30))
    with DemoStore.open(store.path, "a") as writer:
        writer.append(camera_episode(9))
    store = DemoStore.open(store.path)
    assert list(store.encoded("camera", 0, 30)) == before
    pieces = [Piece(0, 2, 0, 30, {}), Piece(0, 0, 7, 29, {})]
    write([Plan(tmp_path / "b.zarr", [store], pieces, CAMERA, {"tool": "trim"})], overwrite=False)
    edited = DemoStore.open(tmp_path / "b.zarr")
    assert list(edited.encoded("camera", 30, 52)) == before[7:29]
    assert edited.check() == []
    assert edited.column("digest")[0] == store.column("digest")[2]
    assert len(edited.episode(1)) == 22  # its new digest is that of its encoded frames


def test_stores_of_different_codecs_merge_into_one_that_keeps_the_decoded_pictures(tmp_path):
    one, other = make_store(tmp_path / "a.zarr", "zstd", 1), make_store(tmp_path / "b.zarr", "jpeg", 2)
    plan, _ = merge_plan([one, other], tmp_path / "c.zarr", None, "drop")
    write([plan], overwrite=False)
    merged = DemoStore.open(tmp_path / "c.zarr")
    assert merged.check() == []
    assert (merged.array("camera")[30:] == other.array("camera")).all()
    assert len(merged.episode(2)) == 30


def test_a_changed_frame_with_a_right_checksum_changes_the_digest(tmp_path):
    store = make_store(tmp_path / "a.zarr", "jpeg", 1)
    other = make_store(tmp_path / "b.zarr", "jpeg", 2)
    file = "data/camera/c/0/0/0/0"
    (store.path / file).write_bytes((other.path / file).read_bytes())
    store = DemoStore.open(store.path)
    assert len(store.episode(0)) == 30  # the same frames
    frames = list(store.encoded("camera", 0, 30))
    (store.path / file).write_bytes(pack([sealed(bytes(frames[number])) for number in (1, 0, *range(2, 30))], 64))
    store = DemoStore.open(store.path)
    with pytest.raises(StoreError, match="its digest differs"):
        store.episode(0)
    assert any("digest differs" in line for line in store.check())


def test_an_unknown_codec_is_refused_before_anything_is_made(tmp_path):
    with pytest.raises(UserError, match=r"no image codec 'jpg'; there are zstd, .* did you mean 'jpeg'"):
        DemoStore.create(tmp_path / "a.zarr", CAMERA, image_codec="jpg")
    assert not list(tmp_path.iterdir())


def test_without_imagecodecs_the_store_opens_and_its_pictures_name_the_extra(tmp_path, monkeypatch):
    store = make_store(tmp_path / "a.zarr", "jpeg", 1)
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    reader = DemoStore.open(store.path)
    assert reader.array("action").shape == (30, 2)
    assert reader.array("mask").shape == (30, HEIGHT, WIDTH)
    with pytest.raises(UserError, match=r"needs the package imagecodecs .*robolearn\[formats\]"):
        reader.array("camera")


def test_the_reader_does_not_import_imagecodecs(tmp_path):
    make_store(tmp_path / "a.zarr", "zstd", 1)
    code = "import sys; from robolearn.datasets.store import DemoStore; DemoStore.open(sys.argv[1]).episode(0)"
    code += "; print('imagecodecs' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.zarr"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
