"""Camera pictures as encoded images in a table's cells: PNG, JPEG or WebP read, PNG written."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.lerobot_paths import absence, inside
from robolearn.datasets.formats.lerobot_video import MAX_BYTES
from robolearn.datasets.formats.optional import need
from robolearn.datasets.layout import StoreError

_KINDS = {b"\x89PNG": "png", b"\xff\xd8": "mjpeg", b"RIFF": "webp"}  # first bytes, and FFmpeg's decoder
_PIXELS = {1: "gray", 3: "rgb24", 4: "rgba"}
_MAX_ENCODED = 1 << 28


def decode_images(root: Path, where: str, cells: Sequence[Any], shape: Sequence[int]) -> NDArray[np.uint8]:
    """The pictures ``(T, height, width, channels)`` in cells ``{"bytes": ..., "path": ...}``.

    Args:
        root: the data set's folder, to which a path in a cell belongs.
        where: what to call the cells in an error.
        cells: one per step.
        shape: height, width and channels.

    Raises:
        StoreError: a picture is missing, damaged, or of another size.
    """
    if len(cells) * float(np.prod(shape)) > MAX_BYTES:
        raise StoreError(f"{where}: {len(cells)} pictures of {tuple(shape)} in one episode are more than {MAX_BYTES >> 30} GiB")
    pictures = np.empty((len(cells), *shape), np.uint8)
    for step, cell in enumerate(cells):
        pictures[step] = _decode(_encoded(root, f"{where} step {step}", cell), f"{where} step {step}", tuple(shape))
    return pictures


def _encoded(root: Path, where: str, cell: Any) -> bytes:
    if isinstance(cell, dict) and isinstance(cell.get("bytes"), bytes):
        return bytes(cell["bytes"])
    if isinstance(cell, dict) and isinstance(cell.get("path"), str):
        file = inside(root, cell["path"])
        why = absence(file)
        if not why and file.stat().st_size <= _MAX_ENCODED:
            return file.read_bytes()
        raise StoreError(f"{where}: the image {file} {why or 'is too big'}; fetch it again")
    raise StoreError(f"{where} is no image: expected a cell of bytes and path, got {type(cell).__name__}")


def _decode(data: bytes, where: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    av = need("av", "LeRobot's images")
    kind = next((name for start, name in _KINDS.items() if data.startswith(start)), "")
    if not kind or _claimed_size(data, kind) not in (None, shape[:2]):
        raise StoreError(f"{where}: expected a PNG, JPEG or WebP image of {shape[0]}x{shape[1]}")
    try:
        decoder = av.CodecContext.create(kind, "r")
        frames = [*decoder.decode(av.Packet(data)), *decoder.decode(None)]
    except Exception as error:  # FFmpeg raises many kinds for damaged bytes
        raise StoreError(f"{where}: the image is damaged: {' '.join(str(error).split())[:200]}; fetch the file again") from error
    if len(frames) != 1 or (frames[0].height, frames[0].width) != shape[:2]:
        raise StoreError(f"{where}: expected one image of {shape[0]}x{shape[1]}")
    if frames[0].format.components[0].bits > 8:
        raise StoreError(f"{where}: the image has more than 8 bits a pixel: depth? leave_out=[its feature] imports without it")
    pixels: NDArray[np.uint8] = frames[0].to_ndarray(format=_PIXELS[shape[2]])
    return pixels.reshape(shape)


def _claimed_size(data: bytes, kind: str) -> tuple[int, int] | None:
    """Height and width in a PNG's header, so that no giant picture is unpacked to be refused; None for other kinds."""
    if kind != "png":
        return None
    return int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")


def encode_images(pictures: NDArray[np.uint8]) -> list[dict[str, Any]]:
    """Pictures ``(T, height, width, 3)`` as cells of PNG bytes, without loss; the inverse of :func:`decode_images`."""
    av = need("av", "LeRobot's images")
    cells = []
    for step, picture in enumerate(pictures):
        encoder = av.CodecContext.create("png", "w")
        encoder.height, encoder.width = picture.shape[:2]
        encoder.pix_fmt = "rgb24"
        encoder.time_base, encoder.options = Fraction(1, 30), {"compression_level": "3"}
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
        packets = [*encoder.encode(frame), *encoder.encode(None)]
        cells.append({"bytes": b"".join(bytes(packet) for packet in packets), "path": f"frame-{step:06d}.png"})
    return cells
