"""Decodes single chunks of foreign zarr (format 2) arrays: only known codecs, never a pickle, never more bytes than a chunk holds."""

from __future__ import annotations

import bz2
import json
import lzma
import math
import struct
import zlib
from collections.abc import Callable
from typing import Any, Protocol

import numcodecs
import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.optional import need

IMAGE_PREFIX = "imagecodecs_"
_LZMA_MEMORY = 1 << 28
_ZSTD_MAGIC = 0xFD2FB528
_MAX_JPEG2000_SIDE = 1 << 16


class CodecError(ValueError):
    """A chunk's bytes are not what its array's metadata promise."""


def decode(raw: bytes, compressor: dict[str, Any] | None, shape: tuple[int, ...], dtype: np.dtype[Any], order: str) -> NDArray[Any]:
    """One chunk of numbers.

    Args:
        raw: the chunk's file.
        compressor: its codec's configuration as in ``.zarray``, or None.
        shape: of every chunk; those at the edge are stored full, too.
        dtype: of the numbers.
        order: ``C`` or ``F``.

    Raises:
        CodecError: the bytes are damaged, of another size, or in a codec that is not known.
        UserError: the codec needs a package that is not installed.
    """
    identity = str(compressor.get("id")) if compressor else ""
    if compressor and identity.startswith(IMAGE_PREFIX):
        return _decode_image(raw, compressor, shape, dtype)
    size = math.prod(shape) * dtype.itemsize
    plain = raw if not compressor else decompress(raw, identity, size)
    if len(plain) != size:
        raise CodecError(f"a chunk has {len(plain)} bytes where {size} belong")
    return np.frombuffer(plain, dtype).reshape(shape, order="F" if order == "F" else "C")


def decompress(raw: bytes, identity: str, size: int, exact: bool = True) -> bytes:
    """Bytes of a general codec, at most ``size`` of them; ``exact``: no fewer either.

    Raises:
        CodecError: damaged, of another size, or no codec known here.
    """
    if identity in _CLAIMED:
        try:
            claimed = _CLAIMED[identity](raw)
        except (struct.error, IndexError) as error:
            raise CodecError(f"its {identity} header is cut off") from error
        if claimed > size or (exact and claimed != size):
            raise CodecError(f"its {identity} data claim {claimed} bytes where {size} belong")
        target = bytearray(claimed)
        try:
            numcodecs.get_codec({"id": identity}).decode(raw, out=target)
        except Exception as error:  # codecs raise many kinds for damaged bytes
            raise CodecError(f"its {identity} data are damaged: {error}") from error
        return bytes(target)
    if identity in _STREAMS:
        try:
            return _STREAMS[identity](raw, size + 1)
        except Exception as error:  # each library has its own
            raise CodecError(f"its {identity} data are damaged: {error}") from error
    known = ", ".join([*_CLAIMED, *_STREAMS, "imagecodecs_*"])
    raise CodecError(f"codec {identity!r} is not one of {known}; save the array again with one of those")


def decode_texts(raw: bytes, codec: str, count: int) -> list[str]:
    """A chunk of texts in numcodecs' ``vlen-utf8`` or ``json2``, read without numcodecs: its sizes come from the data unchecked.

    Raises:
        CodecError: damaged, or other than ``count`` texts.
    """
    texts = _vlen_texts(raw, count) if codec == "vlen-utf8" else _json_texts(raw)
    if len(texts) != count:
        raise CodecError(f"a chunk has {len(texts)} texts where {count} belong")
    return texts


def _vlen_texts(raw: bytes, count: int) -> list[str]:
    try:
        (claimed,) = struct.unpack_from("<I", raw)
        if claimed != count:
            raise CodecError(f"a chunk claims {claimed} texts where {count} belong")
        texts, place = [], 4
        for _ in range(count):
            (length,) = struct.unpack_from("<I", raw, place)
            texts.append(raw[place + 4 : place + 4 + length].decode())
            place += 4 + length
    except (struct.error, UnicodeDecodeError) as error:
        raise CodecError(f"its texts are damaged: {error}") from error
    if place != len(raw):
        raise CodecError("its texts are cut off")
    return texts


def _json_texts(raw: bytes) -> list[str]:
    """The list ends with its dtype and its shape, which are not needed."""
    try:
        items = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise CodecError(f"its texts are no JSON: {error}") from error
    if not isinstance(items, list) or len(items) < 2 or any(isinstance(item, dict | list) for item in items[:-2]):
        raise CodecError("its texts are no JSON list of texts")
    return [str(item) for item in items[:-2]]


def _decode_image(raw: bytes, compressor: dict[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A chunk in an image codec of ``imagecodecs``, decoded into an array of the right size, so that no header can ask for more."""
    codec = image_codec(compressor)
    if compressor["id"] == "imagecodecs_jpeg2k":
        _check_jpeg2000_size(raw, shape)
    target = np.zeros([side for side in shape if side != 1] or [1], dtype)  # codecs leave out axes of length 1
    try:
        decoded = np.asarray(codec.decode(raw, out=target))
    except Exception as error:  # each codec raises its own
        raise CodecError(f"its {compressor['id']} data are damaged, or no image of {shape} {dtype}: {error}") from error
    if decoded.size != target.size or decoded.dtype != dtype:
        raise CodecError(f"a chunk is an image {decoded.dtype} {decoded.shape} where {dtype} {shape} belongs")
    return decoded.reshape(shape)


def image_codec(config: dict[str, Any]) -> Any:
    """A codec of ``imagecodecs`` by its configuration; the package is imported only here.

    Raises:
        UserError: the package is not installed.
        CodecError: it has no such codec, or not this setting.
    """
    need("imagecodecs.numcodecs", f"reading or writing images in {config['id']}").register_codecs(verbose=False)
    try:
        return numcodecs.get_codec(dict(config))
    except Exception as error:  # an unknown name or argument; each codec raises its own
        raise CodecError(f"codec {config.get('id')!r} is unknown to imagecodecs, or not with these settings: {error}") from error


def _check_jpeg2000_size(raw: bytes, shape: tuple[int, ...]) -> None:
    """The sides in the SIZ marker, which must come first: OpenJPEG allocates what they ask for before anybody can look."""
    start = raw.find(b"\xff\x4f\xff\x51")
    try:
        width, height, left, top = struct.unpack_from(">4I", raw, start + 8)
        (components,) = struct.unpack_from(">H", raw, start + 40)
    except struct.error as error:
        raise CodecError("its JPEG 2000 header is cut off") from error
    claimed = (width - left) * (height - top) * components
    if start < 0 or max(width, height) > _MAX_JPEG2000_SIDE or claimed != math.prod(shape):
        raise CodecError(f"its JPEG 2000 header claims {width} x {height} pixels of {components} channels where {shape} belongs")


def _blosc_claim(raw: bytes) -> int:
    """Content size in a Blosc header, whose compressed size must be the file's: the decompressor would read on behind it."""
    _, _, _, _, plain, _, packed = struct.unpack_from("<4B3I", raw)
    if packed != len(raw):
        raise CodecError(f"its blosc data claim to have {packed} bytes and have {len(raw)}")
    return int(plain)


def _zstd_claim(raw: bytes) -> int:
    """Content size in a zstd frame's header (RFC 8878, 3.1.1.1)."""
    magic, descriptor = struct.unpack_from("<IB", raw)
    if magic != _ZSTD_MAGIC:
        raise CodecError("its zstd data are damaged: no frame begins there")
    single = descriptor >> 5 & 1
    place = 5 + (not single) + (0, 1, 2, 4)[descriptor & 3]
    width = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    if not width or len(raw) < place + width:
        raise CodecError("its zstd data do not say their size")
    return int.from_bytes(raw[place : place + width], "little") + (256 if width == 2 else 0)


class _Decompressor(Protocol):
    def decompress(self, data: bytes, max_length: int = ..., /) -> bytes: ...


def _bounded(make: Callable[[], _Decompressor]) -> Callable[[bytes, int], bytes]:
    return lambda raw, limit: make().decompress(raw, limit)


# Codecs that say their size in front, and where; the others are stopped at it.
_CLAIMED: dict[str, Callable[[bytes], int]] = {
    "blosc": _blosc_claim,
    "lz4": lambda raw: int(struct.unpack_from("<I", raw)[0]),
    "zstd": _zstd_claim,
}
_STREAMS: dict[str, Callable[[bytes, int], bytes]] = {
    "zlib": _bounded(zlib.decompressobj),
    "gzip": _bounded(lambda: zlib.decompressobj(wbits=31)),
    "bz2": _bounded(bz2.BZ2Decompressor),
    "lzma": _bounded(lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY)),
}
