"""Small RLDS data sets, written here without TensorFlow: framing, checksums and protobuf by hand."""

from __future__ import annotations

import io
import json
import struct

import google_crc32c
import numpy as np
from PIL import Image

FEATURES_DICT = "tensorflow_datasets.core.features.features_dict.FeaturesDict"


def masked(data):
    crc = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(record):
    length = struct.pack("<Q", len(record))
    return length + struct.pack("<I", masked(length)) + record + struct.pack("<I", masked(record))


def varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(values):
    """Bytes, floats or integers as a tf.train.Feature."""
    if isinstance(values, list):
        return field(1, b"".join(field(1, value) for value in values))
    flat = np.asarray(values).ravel()
    if flat.dtype.kind == "f":
        return field(2, field(1, flat.astype("<f4").tobytes()))
    return field(3, field(1, b"".join(varint(int(value)) for value in flat)))


def example(features):
    entries = (field(1, field(1, name.encode()) + field(2, feature(values))) for name, values in features.items())
    return field(1, b"".join(entries))


def tensor(shape, dtype="float32", encoding="none"):
    dimensions = {"dimensions": [str(side) for side in shape]} if shape else {}
    return {
        "pythonClassName": "tensorflow_datasets.core.features.tensor_feature.Tensor",
        "tensor": {"shape": dimensions, "dtype": dtype, "encoding": encoding},
    }


def image(shape, dtype="uint8", encoding="png"):
    return {
        "pythonClassName": "tensorflow_datasets.core.features.image_feature.Image",
        "image": {"shape": {"dimensions": [str(side) for side in shape]}, "dtype": dtype, "encodingFormat": encoding},
    }


TEXT = {"pythonClassName": "tensorflow_datasets.core.features.text_feature.Text", "text": {}}


def tree(**children):
    return {"pythonClassName": FEATURES_DICT, "featuresDict": {"features": children}}


STEPS = {
    "observation": tree(image=image((6, 8, 3)), state=tree(joints=tensor((3,)), count=tensor((), "int32"))),
    "action": tensor((4,)),
    "reward": tensor((), "float32"),
    "discount": tensor((), "float32"),
    "is_first": tensor((), "bool"),
    "is_last": tensor((), "bool"),
    "is_terminal": tensor((), "bool"),
    "language_instruction": TEXT,
}


def features_json(steps=STEPS, **metadata):
    sequence = {
        "pythonClassName": "tensorflow_datasets.core.features.dataset_feature.Dataset",
        "sequence": {"feature": tree(**steps), "length": "-1"},
    }
    return tree(steps=sequence, episode_metadata=tree(**(metadata or {"file_path": TEXT, "number": tensor((), "int64")})))


def encoded(pixels, kind="PNG", **options):
    target = io.BytesIO()
    Image.fromarray(pixels).save(target, kind, **options)
    return target.getvalue()


def make_steps(number, length=5):
    """Arrays of an episode, drawn from its number, by the names they have in a record."""
    rng = np.random.default_rng([5, number])
    last = np.arange(length) == length - 1
    return {
        "observation/image": rng.integers(0, 256, (length, 6, 8, 3), dtype=np.uint8),
        "observation/state/joints": rng.standard_normal((length, 3)).astype(np.float32),
        "observation/state/count": rng.integers(-(2**31), 2**31, length),
        "action": rng.uniform(-1, 1, (length, 4)).astype(np.float32),
        "reward": last.astype(np.float32),
        "discount": (~last).astype(np.float32),
        "is_first": (np.arange(length) == 0).astype(int),
        "is_last": last.astype(int),
        "is_terminal": last.astype(int) * (number % 2),
        "language_instruction": [f"öffne {number}".encode()] * length,
    }


def record(number, **changes):
    steps = {**make_steps(number), **changes}
    steps = {name: values for name, values in steps.items() if values is not None}
    if isinstance(steps.get("observation/image"), np.ndarray):
        steps["observation/image"] = [encoded(frame) for frame in steps["observation/image"]]
    beside = {"episode_metadata/file_path": [f"run/{number}.h5".encode()], "episode_metadata/number": np.array([number])}
    return example({**{f"steps/{name}": values for name, values in steps.items()}, **beside})


def write_rlds(root, shards=((0, 1), (2,)), *, features=None, records=record, split="train", name="toy", info=None):
    """A data set of these episodes, a tuple of numbers for each shard; returns its version's directory."""
    folder = root / name / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "features.json").write_text(json.dumps(features or features_json()))
    lengths = [str(len(shard)) for shard in shards]
    facts = {
        "name": name,
        "version": "1.0.0",
        "fileFormat": "tfrecord",
        "splits": [{"name": split, "shardLengths": lengths, "numBytes": "1"}],
    }
    (folder / "dataset_info.json").write_text(json.dumps({**facts, **(info or {})}))
    for index, shard in enumerate(shards):
        content = b"".join(framed(records(number)) for number in shard)
        (folder / f"{name}-{split}.tfrecord-{index:05d}-of-{len(shards):05d}").write_bytes(content)
    return folder
