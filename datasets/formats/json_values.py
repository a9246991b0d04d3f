"""Texts and arrays as JSON and back, the same to the bit: short ones legible, long ones compressed."""

from __future__ import annotations

import base64
import math
import zlib
from typing import Any

import numpy as np

from robolearn.datasets.layout import StoreError

_LEGIBLE_TEXT, _LEGIBLE_NUMBERS = 4096, 64


def pack(value: Any) -> Any:
    """A text, number or array of numbers, byte strings or texts as JSON; :func:`unpack` gives it back.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, str):
        value.encode()  # raises where it holds half a character
        return value if len(value) <= _LEGIBLE_TEXT else {"text": _compressed(value.encode())}
    array = np.asarray(value)
    if array.dtype.kind == "O" and all(isinstance(entry, str) for entry in array.flat):
        return {"texts": [pack(entry) for entry in array.flat], "shape": list(array.shape)}
    if array.dtype.kind not in "biufS":
        raise ValueError(f"neither text nor numbers: {array.dtype}")
    packed: dict[str, Any] = {"dtype": array.dtype.newbyteorder("=").str, "shape": list(array.shape)}
    array = np.ascontiguousarray(array, array.dtype.newbyteorder("="))
    if array.dtype.kind in "biuf" and array.dtype.itemsize <= 8 and array.size <= _LEGIBLE_NUMBERS and _exact(array):
        return {**packed, "data": array.reshape(-1).tolist()}
    return {**packed, "bytes": _compressed(array.tobytes())}


def unpack(packed: Any) -> Any:
    """The inverse of :func:`pack`; numbers come back as arrays, of no dimensions where they were single.

    Raises:
        StoreError: this is nothing that :func:`pack` made.
    """
    try:
        if isinstance(packed, str):
            return packed
        if "text" in packed:
            return _restored(packed["text"]).decode()
        shape = tuple(packed["shape"])
        if "texts" in packed:
            texts = np.empty(len(packed["texts"]), object)
            texts[:] = [unpack(entry) for entry in packed["texts"]]
            return texts.reshape(shape)
        dtype = np.dtype(packed["dtype"])
        if "data" in packed:
            return np.array(packed["data"], dtype).reshape(shape)
        return np.frombuffer(_restored(packed["bytes"]), dtype).reshape(shape).copy()
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise StoreError(f"no packed value: {error!r}") from error


def _exact(array: Any) -> bool:
    """Whether decimal JSON gives back every bit: no NaN or infinity, no negative zero lost (JSON keeps ``-0.0``)."""
    return array.dtype.kind != "f" or all(math.isfinite(entry) for entry in array.reshape(-1).tolist())


def _compressed(raw: bytes) -> str:
    return base64.b64encode(zlib.compress(raw)).decode()


def _restored(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text, validate=True))
