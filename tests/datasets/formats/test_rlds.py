"""RLDS without TensorFlow: every number as it was, missing and damaged shards by name."""

import json
import zlib

import google_crc32c
import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets.formats import rlds_features
from robolearn.datasets.formats.registry import recognise
from robolearn.datasets.formats.rlds import RldsReader
from robolearn.datasets.formats.tfrecord import RecordError, masked_crc32c, parse_example, records
from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.formats.rlds_data import (
    STEPS,
    TEXT,
    encoded,
    example,
    features_json,
    field,
    framed,
    image,
    make_steps,
    record,
    tensor,
    tree,
    write_rlds,
)


def test_the_checksum_is_tfrecords():
    assert google_crc32c.value(b"123456789") == 0xE3069283  # CRC-32C's check value
    assert masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_protobufs_own_encoder_is_understood():
    """The same message by the protobuf package: its packing, its defaults."""
    descriptor_pb2 = pytest.importorskip("google.protobuf.descriptor_pb2")
    from google.protobuf import descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="example.proto", package="t", syntax="proto3")
    kinds = (("BytesList", 12), ("FloatList", 2), ("Int64List", 3))
    for name, kind in kinds:
        file.message_type.add(name=name).field.add(name="value", number=1, type=kind, label=3)
    one = file.message_type.add(name="Feature")
    one.oneof_decl.add(name="kind")
    for number, (name, _) in enumerate(kinds, 1):
        one.field.add(name=f"f{number}", number=number, type=11, type_name=f".t.{name}", label=1, oneof_index=0)
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, type=9, label=1)
    entry.field.add(name="value", number=2, type=11, type_name=".t.Feature", label=1)
    features.field.add(name="feature", number=1, type=11, type_name=".t.Features.FeatureEntry", label=3)
    file.message_type.add(name="Example").field.add(name="features", number=1, type=11, type_name=".t.Features", label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Example"))()
    message.features.feature["texts"].f1.value.extend([b"", b"two"])
    message.features.feature["floats"].f2.value.extend([0.5, -1.25, np.inf])
    message.features.feature["numbers"].f3.value.extend([0, -1, 2**63 - 1, -(2**63), 300])
    message.features.feature["none"].f3.SetInParent()
    found = parse_example(message.SerializeToString())
    assert found["texts"] == [b"", b"two"]
    assert found["floats"].tolist() == [0.5, -1.25, np.inf]
    assert found["numbers"].tolist() == [0, -1, 2**63 - 1, -(2**63), 300]
    assert len(found["none"]) == 0
    assert set(parse_example(message.SerializeToString(), {"floats"})) == {"floats"}


def test_lists_that_are_not_packed_are_read_too():
    floats = b"".join(b"\x0d" + np.float32(value).tobytes() for value in (1.5, 2.5))  # field 1, fixed 32
    message = field(1, field(1, field(1, b"x") + field(2, field(2, floats))))
    assert parse_example(message)["x"].tolist() == [1.5, 2.5]


@pytest.mark.parametrize("message", [b"\x0a", b"\x0a\x05ab", b"\xff" * 12, b"\x0b\x01", field(1, field(1, field(1, b"\xff") + b""))])
def test_what_is_no_example_is_refused(message):
    with pytest.raises(RecordError):
        parse_example(message)


def test_episodes_have_every_number_as_it_was(tmp_path):
    reader = RldsReader(write_rlds(tmp_path))
    assert len(reader) == 3
    assert (reader.env_spec.task, reader.env_spec.control_hz) == ("toy", 10.0)
    assert reader.attrs["control_hz_assumed"] == 10.0
    assert reader.lost == reader.missing == []
    episodes = list(reader)
    assert len(episodes) == 3
    for number, episode in enumerate(episodes):
        steps = make_steps(number)
        assert set(episode.observations) == {"image", "state.joints", "state.count"}
        for name, key in (("image", "observation/image"), ("state.joints", "observation/state/joints")):
            assert episode.observations[name].dtype == steps[key].dtype
            np.testing.assert_array_equal(episode.observations[name], steps[key])
        assert episode.observations["state.count"].dtype == np.int32
        np.testing.assert_array_equal(episode.observations["state.count"], steps["observation/state/count"])
        np.testing.assert_array_equal(episode.extras["discount"], steps["discount"])
        np.testing.assert_array_equal(episode.actions, steps["action"])
        np.testing.assert_array_equal(episode.rewards, steps["reward"])
        assert (episode.terminated, episode.truncated, episode.success) == (number % 2 == 1, number % 2 == 0, number % 2 == 1)
        provenance = episode.provenance
        assert provenance["texts"] == {"language_instruction": f"öffne {number}"}
        assert provenance["episode_metadata"] == {"file_path": f"run/{number}.h5", "number": number}
        assert "flags" not in provenance
    assert [episode.provenance["file"][-14:] for episode in episodes] == ["00000-of-00002", "00000-of-00002", "00001-of-00002"]


@pytest.mark.parametrize("below", [".", ".."])
def test_a_data_set_is_found_by_its_version_or_its_name(tmp_path, below):
    folder = write_rlds(tmp_path)
    assert recognise(folder / below) == "rlds"
    assert len(RldsReader(folder / below)) == 3


def test_one_of_several_versions_must_be_named(tmp_path):
    folder = write_rlds(tmp_path)
    (folder.parent / "2.0.0").mkdir()
    for file in folder.glob("*.json"):
        (folder.parent / "2.0.0" / file.name).write_bytes(file.read_bytes())
    with pytest.raises(StoreError, match=r"several versions: 1\.0\.0, 2\.0\.0; name one"):
        RldsReader(folder.parent)


def test_missing_shards_are_named_or_skipped_when_asked(tmp_path):
    folder = write_rlds(tmp_path)
    (folder / "toy-train.tfrecord-00000-of-00002").unlink()
    with pytest.raises(StoreError, match=r"lacks 1 of 2 shards: toy-train\.tfrecord-00000-of-00002; missing=skip"):
        RldsReader(folder)
    reader = RldsReader(folder, missing="skip")
    assert reader.missing == ["toy-train.tfrecord-00000-of-00002"]
    assert len(reader) == len(list(reader)) == 1
    (folder / "toy-train.tfrecord-00001-of-00002").unlink()
    with pytest.raises(StoreError, match="lacks 2 of 2 shards"):
        RldsReader(folder, missing="skip")


def test_a_shard_with_fewer_records_than_promised_is_an_error(tmp_path):
    folder = write_rlds(tmp_path)
    (folder / "toy-train.tfrecord-00000-of-00002").write_bytes(framed(record(0)))
    with pytest.raises(StoreError, match=r"holds 1 records, dataset_info\.json promises 2"):
        RldsReader(folder)


@pytest.mark.parametrize("place", [0, 9, 40, -1])
def test_a_flipped_bit_names_file_and_record(tmp_path, place):
    folder = write_rlds(tmp_path)
    file = folder / "toy-train.tfrecord-00001-of-00002"
    content = bytearray(file.read_bytes())
    content[place] ^= 4
    file.write_bytes(content)
    with pytest.raises(StoreError, match="00001-of-00002: record 0 is damaged"):
        RldsReader(folder)


@pytest.mark.parametrize("length", [5, 12, 100, -1])
def test_a_file_that_is_cut_off_names_its_record(tmp_path, length):
    file = tmp_path / "x.tfrecord"
    file.write_bytes(framed(record(0))[:length])
    with pytest.raises(StoreError, match=r"x\.tfrecord: record 0 is damaged"):
        list(records(file))


def test_an_absurd_length_is_refused_before_it_is_read(tmp_path):
    length = (1 << 62).to_bytes(8, "little")
    (tmp_path / "x").write_bytes(length + masked_crc32c(length).to_bytes(4, "little") + b"abc")
    with pytest.raises(StoreError, match="cut off in its 4611686018427387904 bytes"):
        list(records(tmp_path / "x"))


def test_actions_in_parts_are_put_side_by_side_and_named(tmp_path):
    parts = tree(world_vector=tensor((3,)), gripper=tensor((), "bool"), note=TEXT)
    features = features_json({**STEPS, "action": parts})

    def in_parts(number):
        parts = {"world_vector": make_steps(number)["action"][:, :3], "gripper": np.array([0, 1, 0, 1, 1]), "note": [b"go"] * 5}
        return record(number, action=None, **{f"action/{name}": values for name, values in parts.items()})

    folder = write_rlds(tmp_path, features=features, records=in_parts)
    reader = RldsReader(folder)
    assert reader.env_spec.action.names == ("world_vector.0", "world_vector.1", "world_vector.2", "gripper")
    episode = next(iter(reader))
    np.testing.assert_array_equal(episode.actions[:, :3], make_steps(0)["action"][:, :3])
    assert episode.actions[:, 3].tolist() == [0, 1, 0, 1, 1]
    assert episode.provenance["texts"]["action/note"] == "go"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_images_are_decoded_in_colour(tmp_path, kind):
    pixels = np.zeros((6, 8, 3), np.uint8)
    pixels[..., 0] = 200
    frames = [encoded(pixels, kind)] * 5
    folder = write_rlds(tmp_path, records=lambda number: record(number, **{"observation/image": frames}))
    np.testing.assert_allclose(next(iter(RldsReader(folder))).observations["image"].astype(int), np.tile(pixels, (5, 1, 1, 1)), atol=3)


@pytest.mark.parametrize(("dtype", "channels"), [("uint16", 1), ("float32", 1), ("uint8", 1), ("uint8", 4)])
def test_depth_and_grey_images_keep_every_bit(tmp_path, dtype, channels):
    rng = np.random.default_rng(0)
    kind = np.float32 if dtype == "float32" else np.dtype(dtype)
    values = (
        rng.standard_normal((5, 6, 8, 1)).astype(kind) if dtype == "float32" else rng.integers(0, 2**15, (5, 6, 8, channels)).astype(kind)
    )
    stored = values.view(np.uint8) if dtype == "float32" else values[..., 0] if channels == 1 else values
    features = features_json({**STEPS, "observation": tree(depth=image((6, 8, channels), dtype))})
    changes = {"observation/image": None, "observation/depth": [encoded(np.ascontiguousarray(frame)) for frame in stored]}
    folder = write_rlds(tmp_path, ((0,),), features=features, records=lambda number: record(number, **changes))
    (episode,) = RldsReader(folder)
    assert episode.observations["depth"].dtype == kind
    np.testing.assert_array_equal(episode.observations["depth"], values)


@pytest.mark.parametrize("encoding", ["bytes", "zlib"])
def test_tensors_stored_as_memory_are_read(tmp_path, encoding):
    values = np.random.default_rng(0).standard_normal((5, 2, 3))
    blobs = [zlib.compress(row.tobytes()) if encoding == "zlib" else row.tobytes() for row in values]
    features = features_json({**STEPS, "embedding": tensor((2, 3), "float64", encoding)})
    folder = write_rlds(tmp_path, ((0,),), features=features, records=lambda number: record(number, embedding=blobs))
    (episode,) = RldsReader(folder)
    np.testing.assert_array_equal(episode.observations["embedding"], values)


def test_an_instruction_that_changes_is_kept_with_its_steps(tmp_path):
    texts = [b"reach"] * 2 + [b"lift"] * 3
    folder = write_rlds(tmp_path, ((0,),), records=lambda number: record(number, language_instruction=texts))
    (episode,) = RldsReader(folder)
    assert episode.provenance["texts"]["language_instruction"] == [[0, "reach"], [2, "lift"]]


def test_flags_in_odd_places_are_kept(tmp_path):
    folder = write_rlds(tmp_path, ((1,),), records=lambda number: record(number, is_first=np.array([1, 0, 1, 0, 0])))
    (episode,) = RldsReader(folder)
    assert episode.provenance["flags"] == {"is_first": [0, 2]}


def test_what_a_store_cannot_hold_is_listed(tmp_path):
    ragged = {"sequence": {"feature": tensor(())}}
    features = features_json({**STEPS, "points": ragged, "varying": image((-1, -1, 3)), "speech": {"audio": {}}})
    reader = RldsReader(write_rlds(tmp_path, features=features))
    assert [line.split(":")[0] for line in reader.lost] == ["steps/points", "steps/varying", "steps/speech"]
    assert len(list(reader)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"action": np.zeros(19, np.float32)}, r"episode 0: steps/action holds 19 numbers, expected 4 a step"),
        ({"reward": np.zeros(4, np.float32)}, r"steps/reward: it holds 4 numbers for 5 steps"),
        ({"observation/state/count": np.full(5, 2**40)}, r"count: it holds 1099511627776 to 1099511627776, beyond int32"),
        ({"reward": None}, r"it lacks steps/reward, which features\.json promises"),
        ({"observation/state/joints": np.zeros((5, 3), int)}, r"joints: it holds int64 where float32 belongs"),
        ({"observation/state/joints": np.full((5, 3), np.nan)}, r"episode 0: observation 'state\.joints' holds NaN"),
        ({"observation/image": [b"no image"] * 5}, r"image: an image is damaged"),
        ({"observation/image": [encoded(np.zeros((7, 8, 3), np.uint8))] * 5}, r"an image has 7 x 8 pixels where 6 x 8 belong"),
        ({"observation/image": [encoded(np.zeros((6, 8, 3), np.uint8))] * 4}, r"image: it holds 4 values .* for 5 steps"),
        ({"language_instruction": [b"\xff"] * 5}, r"it holds no text"),
    ],
)
def test_records_that_do_not_hold_what_was_promised_are_named(tmp_path, changes, message):
    folder = write_rlds(tmp_path, ((0,),), records=lambda number: record(number, **changes))
    with pytest.raises(StoreError, match=message):
        list(RldsReader(folder))


def test_an_image_far_larger_than_promised_is_not_decoded(tmp_path, monkeypatch):
    from PIL import Image

    def never(self):
        raise AssertionError("its pixels were decoded")

    blob = encoded(np.zeros((3000, 3000), np.uint8))
    monkeypatch.setattr(Image.Image, "load", never)
    with pytest.raises(RecordError, match="3000 x 3000 pixels where 6 x 8 belong"):
        rlds_features.decode_image(blob, rlds_features.Feature("image", (6, 8, 1), "uint8"))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("features.json", b"{", "features.json is no JSON"),
        ("features.json", b"[]", "is no JSON object but list"),
        ("features.json", b"{}", "describes no robot episodes"),
        ("features.json", b"[" * 100_000, "features.json is no JSON"),
        ("dataset_info.json", b"{}", "has no name or lists no splits"),
        ("dataset_info.json", b'{"name": "toy", "splits": [{}]}', "a split is damaged"),
        ("dataset_info.json", b'{"name": "../toy", "splits": [{"name": "train", "shardLengths": [1]}]}', "none of this directory"),
        ("dataset_info.json", b'{"name": "toy", "splits": [{"name": "train", "shardLengths": []}]}', "promises no records"),
        ("dataset_info.json", b'{"name": "toy", "fileFormat": "array_record", "splits": [1]}', "file format 'array_record'"),
    ],
)
def test_damaged_descriptions_are_named(tmp_path, file, content, message):
    folder = write_rlds(tmp_path)
    (folder / file).write_bytes(content)
    with pytest.raises(StoreError, match=message):
        RldsReader(folder)


def test_a_data_set_without_actions_says_what_its_steps_hold(tmp_path):
    features = features_json({key: value for key, value in STEPS.items() if key != "action"})
    with pytest.raises(StoreError, match=r"0 action channels in steps/action; steps hold discount, .*observation/image"):
        RldsReader(write_rlds(tmp_path, features=features))


def test_names_and_rate_can_be_given(tmp_path):
    reader = RldsReader(write_rlds(tmp_path), task="pour", control_hz=5)
    assert (reader.env_spec.task, reader.env_spec.control_hz) == ("pour", 5.0)
    assert "control_hz_assumed" not in reader.attrs


def test_a_template_for_shard_names_is_followed(tmp_path):
    folder = write_rlds(tmp_path, ((0,),))
    (folder / "toy-train.tfrecord-00000-of-00001").rename(folder / "part-00000.tfrecord")
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["filepathTemplate"] = "part-{SHARD_INDEX}.{FILEFORMAT}"
    (folder / "dataset_info.json").write_text(json.dumps(info))
    assert len(list(RldsReader(folder))) == 1


def test_the_smallest_example_holds_nothing():
    assert parse_example(example({})) == {} == parse_example(b"")


def test_an_import_is_a_store_that_checks_clean_and_lists_what_was_skipped(tmp_path, capsys):
    folder = write_rlds(tmp_path)
    (folder / "toy-train.tfrecord-00001-of-00002").unlink()
    out = tmp_path / "out.zarr"
    command = ["data", "import", f"source={folder}", f"out={out}", "control_hz=5", "--json"]
    assert main(command) == 1
    assert "missing=skip" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "missing=skip"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["format"], facts["episodes"], facts["missing"]) == ("rlds", 2, ["toy-train.tfrecord-00001-of-00002"])
    store = DemoStore.open(out)
    assert store.check() == []
    assert store.attrs["rlds"] == {"name": "toy", "version": "1.0.0"}
    np.testing.assert_array_equal(store.episode(1).observations["image"], make_steps(1)["observation/image"])
