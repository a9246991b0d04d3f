"""What ``features.json`` of a TensorFlow data set (TFDS) promises, and the decoding of one feature over the steps of an episode."""

from __future__ import annotations

import io
import math
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.optional import need
from robolearn.datasets.formats.tfrecord import RecordError, Values

_MAX_NUMBERS = 1 << 28  # of one step
_MAX_DEPTH = 32
_FLOATS, _INTEGERS = ("float16", "float32", "float64"), ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_TEXTS = ("string", "object")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # pillow's, by the number of channels
_DTYPES = (*_FLOATS, *_INTEGERS, "bool")


@dataclass(frozen=True)
class Feature:
    """One leaf of the features.

    Args:
        kind: ``tensor``, ``image`` or ``text``.
        shape: of one step.
        dtype: numpy's name for its numbers; ``object`` for text.
        encoding: of a tensor: ``none`` (a list of numbers), ``bytes`` or ``zlib`` (of its memory).
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    encoding: str = "none"


def leaves(node: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Feature | None]]:
    """Names of all leaves below a node, ``/`` between levels; None for those of a kind that is not read.

    Raises:
        ValueError: the description is damaged.
    """
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        raise ValueError(f"{name or 'it'} is no description of a feature")
    if "featuresDict" in node:
        for key, child in _dict(_dict(node["featuresDict"]).get("features")).items():
            yield from leaves(child, f"{name}/{key}" if name else str(key), depth + 1)
    elif "tensor" in node:
        tensor = _dict(node["tensor"])
        dtype = str(tensor.get("dtype"))
        shape = _shape(name, tensor.get("shape"))
        if dtype in _TEXTS:
            yield name, Feature("text", shape, "object") if shape == () else None
        else:
            encoding = str(tensor.get("encoding") or "none").lower()
            yield name, _known(Feature("tensor", shape, dtype, encoding), ("none", "bytes", "zlib"))
    elif "image" in node:
        image = _dict(node["image"])
        shape = _shape(name, image.get("shape"))
        yield name, _known(Feature("image", shape, str(image.get("dtype") or "uint8")), ("none",)) if len(shape) == 3 else None
    elif "text" in node:
        yield name, Feature("text", (), "object")
    elif "classLabel" in node:
        yield name, Feature("tensor", (), "int64")
    else:  # sequences within steps, video, audio, optional and translated features
        yield name, None


def _known(feature: Feature, encodings: tuple[str, ...]) -> Feature | None:
    sizes = all(side > 0 for side in feature.shape) and math.prod(feature.shape) <= _MAX_NUMBERS
    dtypes = ("uint8", "uint16", "float32") if feature.kind == "image" else _DTYPES
    if feature.kind == "image" and feature.shape[2] not in _MODES:
        return None
    return feature if sizes and feature.dtype in dtypes and feature.encoding in encodings else None


def _dict(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"it has {str(value)[:60]!r} where an object belongs")
    return value


def _shape(name: str, value: Any) -> tuple[int, ...]:
    """``{"dimensions": ["3"]}``; a side that varies is "-1", which no store keeps."""
    sides = _dict(value or {}).get("dimensions", [])
    try:
        return tuple(int(side) for side in sides)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} has the shape {str(sides)[:60]}, expected a list of numbers") from error


def decode_steps(feature: Feature, values: Values, steps: int) -> NDArray[Any]:
    """A feature of all steps, ``(T, *shape)``.

    Args:
        feature: what was promised.
        values: what the record holds.
        steps: T.

    Raises:
        RecordError: the record does not hold it.
        UserError: images need a package that is not installed.
    """
    dtype = np.dtype(feature.dtype)
    if feature.kind == "image":
        blobs = _blobs(values, steps)
        first = decode_image(blobs[0], feature)
        frames = np.empty((steps, *feature.shape), first.dtype)
        for step, blob in enumerate(blobs):
            frames[step] = first if step == 0 else decode_image(blob, feature)
        return frames
    if feature.encoding != "none":
        arrays = [_from_memory(blob, feature) for blob in _blobs(values, steps)]
        return np.stack(arrays)
    if isinstance(values, list):
        raise RecordError(f"it holds {len(values)} byte strings where numbers belong")
    if values.size != steps * math.prod(feature.shape):
        raise RecordError(f"it holds {values.size} numbers for {steps} steps of shape {feature.shape}")
    if (values.dtype.kind == "f") != (dtype.kind == "f"):
        raise RecordError(f"it holds {values.dtype} where {dtype} belongs")
    with np.errstate(over="ignore"):  # beyond float16: infinity, which no episode may hold
        cast = values.astype(dtype)
    if dtype.kind != "f" and not np.array_equal(cast.astype(np.int64), values):
        raise RecordError(f"it holds {values.min()} to {values.max()}, beyond {dtype}")
    return cast.reshape(steps, *feature.shape)


def decode_texts(values: Values, steps: int) -> list[str]:
    """A text of each step.

    Raises:
        RecordError: it is no text, or not one a step.
    """
    try:
        return [blob.decode() for blob in _blobs(values, steps)]
    except UnicodeDecodeError as error:
        raise RecordError(f"it holds no text: {error}") from error


def _blobs(values: Values, steps: int) -> list[bytes]:
    if not isinstance(values, list) or len(values) != steps:
        raise RecordError(f"it holds {len(values)} values of another kind or number for {steps} steps")
    return values


def _from_memory(blob: bytes, feature: Feature) -> NDArray[Any]:
    dtype = np.dtype(feature.dtype)
    size = math.prod(feature.shape) * dtype.itemsize
    try:
        plain = zlib.decompressobj().decompress(blob, size + 1) if feature.encoding == "zlib" else blob
    except zlib.error as error:
        raise RecordError(f"its bytes are damaged: {error}") from error
    if len(plain) != size:
        raise RecordError(f"it holds {len(plain)} bytes where {size} belong")
    return np.frombuffer(plain, dtype).reshape(feature.shape)


def decode_image(blob: bytes, feature: Feature) -> NDArray[Any]:
    """A JPEG or PNG, ``(H, W, C)``; its size is compared before its pixels are decoded.

    Raises:
        RecordError: it is damaged, or of another size.
        UserError: pillow is not installed.
    """
    pillow = need("PIL.Image", "decoding RLDS images")
    height, width, channels = feature.shape
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pillow.open(io.BytesIO(blob), formats=("JPEG", "PNG")) as image:
                if image.size != (width, height):
                    raise RecordError(f"an image has {image.size[1]} x {image.size[0]} pixels where {height} x {width} belong")
                mode = _MODES[channels] if feature.dtype == "uint8" else image.mode
                pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    except RecordError:
        raise
    except Exception as error:  # pillow raises many kinds for damaged images
        raise RecordError(f"an image is damaged: {' '.join(str(error).split())[:200]}") from error
    if feature.dtype == "float32":  # stored as the four bytes of each number
        pixels = np.ascontiguousarray(pixels).view(np.float32) if pixels.dtype == np.uint8 and pixels.ndim == 3 else pixels
    pixels = pixels.reshape(height, width, -1)
    if pixels.shape[2] != channels or pixels.dtype.name not in (feature.dtype, "int32"):
        raise RecordError(f"an image is {pixels.dtype} of {pixels.shape[2]} channels where {feature.dtype} of {channels} belongs")
    return pixels.astype(feature.dtype)
