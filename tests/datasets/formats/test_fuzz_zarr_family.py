"""Whatever is done to a file of these formats: it is read, or refused in one line; nothing else is raised and nothing is written."""

import contextlib
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.datasets.formats.diffusion_policy import DiffusionPolicyReader
from robolearn.datasets.formats.dppo import DppoReader
from robolearn.datasets.formats.registry import open_source
from robolearn.datasets.formats.resip import ResipReader
from robolearn.datasets.formats.rlds import RldsReader
from robolearn.datasets.formats.tfrecord import RecordError, parse_example
from tests.datasets.formats.fuzzing import EXAMPLES, damage, fuzz_settings, reads_or_refuses, spoiled_copy
from tests.datasets.formats.rlds_data import framed, record, write_rlds
from tests.datasets.formats.test_diffusion_policy import umi, write_buffer, zipped
from tests.datasets.formats.test_dppo import saved
from tests.datasets.formats.test_resip import source_arrays, write_zarr2

pytest.importorskip("imagecodecs")
pytestmark = pytest.mark.fuzz


def make_umi(root):
    from robolearn.datasets.formats.zarr2_codecs import image_codec

    data = {name: values for name, values in umi(1).items() if not name.endswith("end_pose")}
    meta = {"success": np.ones(3, bool), "note": np.array(["a", "b", "c"])}
    return write_buffer(root / "umi.zarr", data, meta=meta, images=image_codec({"id": "imagecodecs_jpegxl", "level": 99}))


def make_jpeg2000(root):
    from robolearn.datasets.formats.zarr2_codecs import image_codec

    data = {"action": np.ones((20, 2), np.float32), "image": umi(1)["camera0_rgb"]}
    return write_buffer(root / "b.zarr", data, compressor=None, images=image_codec({"id": "imagecodecs_jpeg2k", "level": 50}))


def make_resip(root):
    return write_zarr2(root / "one_leg.zarr", source_arrays()[0])


def deflated(source, target):
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(source.rglob("*")):
            archive.write(file, str(file.relative_to(source.parent)))
    return target


MAKERS = {
    "resip": (make_resip, ResipReader),
    "resip-zip": (lambda root: zipped(make_resip(root / "x"), root / "one_leg.zip", "one_leg.zarr/"), ResipReader),
    "umi": (make_umi, lambda path: DiffusionPolicyReader(path, derive_action="next")),
    "umi-zip": (
        lambda root: zipped(make_umi(root / "x"), root / "umi.zip"),
        lambda path: DiffusionPolicyReader(path, derive_action="same"),
    ),
    "jpeg2000-zip": (lambda root: deflated(make_jpeg2000(root / "x"), root / "b.zip"), DiffusionPolicyReader),
    "rlds": (lambda root: write_rlds(root).parent, lambda path: RldsReader(path, missing="skip")),
    "dppo": (saved, DppoReader),
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """One whole data set of each format."""
    made = {}
    for name, (make, _) in MAKERS.items():
        root = tmp_path_factory.mktemp(name)
        (root / "x").mkdir()
        made[name] = make(root)
    return made


@pytest.mark.parametrize("name", MAKERS)
def test_what_is_whole_is_read(sources, name):
    assert reads_or_refuses(lambda: MAKERS[name][1](sources[name]), sources[name].parent)


@pytest.mark.parametrize("name", MAKERS)
def test_a_spoiled_source_is_read_or_refused_in_one_line(sources, name):
    refused = 0

    @fuzz_settings
    @given(choice=st.floats(0, 1, exclude_max=True), spoil=damage(), guess=st.booleans())
    def spoil_and_read(choice, spoil, guess):
        nonlocal refused
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
            source = spoiled_copy(sources[name], Path(folder) / sources[name].name, choice, spoil)
            read = (lambda: open_source(source)[1]) if guess else (lambda: MAKERS[name][1](source))
            refused += not reads_or_refuses(read, Path(folder))

    spoil_and_read()
    assert refused > EXAMPLES // 20  # the damage does reach what is read


def test_a_spoiled_record_with_valid_checksums_is_read_or_refused(tmp_path):
    """Behind the checksums: the protobuf message itself is spoiled."""
    folder = write_rlds(tmp_path, ((1,),))
    file = folder / "toy-train.tfrecord-00000-of-00001"
    whole = record(1)
    refused = 0

    @fuzz_settings
    @given(spoil=damage())
    def spoil_and_read(spoil):
        nonlocal refused
        file.write_bytes(framed(spoil(whole)))
        refused += not reads_or_refuses(lambda: RldsReader(folder), tmp_path)

    spoil_and_read()
    assert refused > EXAMPLES // 20


@fuzz_settings
@given(st.binary(max_size=200))
def test_any_bytes_are_an_example_or_refused(message):
    with contextlib.suppress(RecordError):
        parse_example(message)


def test_nothing_outside_a_folder_is_touched_by_a_hostile_archive(tmp_path):
    target, inside = tmp_path / "outside", tmp_path / "inside"
    inside.mkdir()
    with zipfile.ZipFile(inside / "x.zip", "w") as archive:
        archive.writestr("../outside", "written")
        archive.writestr(".zgroup", '{"zarr_format": 2}')
    assert not reads_or_refuses(lambda: open_source(inside / "x.zip")[1], tmp_path)
    assert not target.exists()
