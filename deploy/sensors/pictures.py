"""From a camera's message to the picture that a policy sees: decoded, cut, shrunk by areas, its colours in order."""

from __future__ import annotations

import functools
import io
import itertools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sensors.readings import Refused
from robolearn.deploy.sensors.sources import CameraSource

Picture = NDArray[np.uint8]
# Name of an encoding: its channels, and where red, green and blue (or grey) are among them.
_ENCODINGS = {
    "rgb8": (3, (0, 1, 2)),
    "bgr8": (3, (2, 1, 0)),
    "8UC3": (3, (2, 1, 0)),  # OpenCV's order
    "rgba8": (4, (0, 1, 2)),
    "bgra8": (4, (2, 1, 0)),
    "8UC4": (4, (2, 1, 0)),
    "mono8": (1, (0,)),
    "8UC1": (1, (0,)),
}
MOST_PIXELS = 4096 * 4096
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as in JPEG


def picture_of(message: Any, source: CameraSource) -> Picture:
    """The picture ``source.shape`` in a message, read-only.

    Raises:
        Refused: it cannot be decoded, or is smaller than what is to be cut from it.
    """
    pixels, order = _compressed(message) if source.type.endswith("CompressedImage") else _plain(message)
    left, top, width, height = source.crop if source.crop is not None else _middle(pixels.shape, source.shape)
    if top + height > pixels.shape[0] or left + width > pixels.shape[1]:
        given = f"{pixels.shape[1]} x {pixels.shape[0]}"
        raise Refused("malformed", f"a picture of {given} pixels, from which {width} x {height} at {left}, {top} are to be cut")
    small = shrink(pixels[top : top + height, left : left + width], source.shape[0], source.shape[1])
    picture = _coloured(small[:, :, list(order)], source.shape[2])
    picture.flags.writeable = False
    return picture


def shrink(pixels: Picture, height: int, width: int) -> Picture:
    """To another size ``(H, W, C) -> (height, width, C)``: each pixel the mean of its area; enlarging is linear."""
    if pixels.shape[:2] == (height, width):
        return pixels.copy()
    rows, columns, channels = pixels.shape
    tall = _means(pixels.reshape(rows, columns * channels).astype(np.float32), height)  # (height, W * C)
    sideways = tall.reshape(height, columns, channels).transpose(1, 0, 2).reshape(columns, height * channels)
    small = _means(np.ascontiguousarray(sideways), width).reshape(width, height, channels).transpose(1, 0, 2)
    return np.ascontiguousarray(np.rint(small)).astype(np.uint8)


def _means(lines: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """Weighted means over neighbouring rows: ``(S, X) -> (count, X)``."""
    out = np.empty((count, lines.shape[1]), np.float32)
    for place, (start, weights) in enumerate(_areas(len(lines), count)):
        np.dot(weights, lines[start : start + len(weights)], out=out[place])
    return out


@functools.lru_cache(maxsize=64)
def _areas(source: int, target: int) -> list[tuple[int, NDArray[np.float32]]]:
    """For each of ``target`` pixels the first of those among ``source`` that it is made of, and their weights."""
    ratio = source / target
    spans = []
    for place in range(target):
        if ratio > 1:
            first, last = place * ratio, (place + 1) * ratio
            pixels = np.arange(int(first), min(source, int(np.ceil(last - 1e-9))))
            weights = np.minimum(pixels + 1, last) - np.maximum(pixels, first)
        else:
            centre = min(max((place + 0.5) * ratio - 0.5, 0.0), source - 1.0)
            pixels = np.arange(int(centre), min(int(centre) + 2, source))
            weights = 1 - np.abs(pixels - centre)
        spans.append((int(pixels[0]), (weights / weights.sum()).astype(np.float32)))
    return spans


def _plain(message: Any) -> tuple[Picture, tuple[int, ...]]:
    """An Image's pixels ``(H, W, C)``, a view, and where the colours are."""
    known = _ENCODINGS.get(message.encoding)
    if known is None:
        raise Refused("malformed", f"pictures encoded as {message.encoding!r}; {', '.join(_ENCODINGS)} are read")
    channels, order = known
    height, width, step = message.height, message.width, message.step or message.width * channels
    data = np.asarray(message.data, np.uint8).reshape(-1)
    if not 0 < height * width <= MOST_PIXELS or step < width * channels or data.size < height * step:
        said = f"{width} x {height} pixels in rows of {step} bytes"
        raise Refused("malformed", f"a picture said to be of {said} holds {data.size} bytes")
    lines = data[: height * step].reshape(height, step)[:, : width * channels]
    return lines.reshape(height, width, channels), order


def _compressed(message: Any) -> tuple[Picture, tuple[int, ...]]:
    data = np.asarray(message.data, np.uint8).tobytes()
    try:
        from PIL import Image
    except ImportError:
        return _decoded_by_av(data), (0, 1, 2)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MOST_PIXELS:
                raise Refused("malformed", f"a compressed picture of {image.width} x {image.height} pixels; {MOST_PIXELS} are read")
            return np.asarray(image.convert("RGB")), (0, 1, 2)
    except Refused:
        raise
    except Exception as error:  # whatever hostile bytes do to the decoder, they stop here
        raise Refused("malformed", f"{len(data)} bytes ({str(message.format)[:40]!r}) are no JPEG or PNG: {error}"[:300]) from None


def _decoded_by_av(data: bytes) -> Picture:
    try:
        import av
    except ImportError:
        raise Refused("malformed", "compressed pictures need pillow or av: pip install pillow") from None
    try:
        codec = av.CodecContext.create("png" if data.startswith(b"\x89PNG") else "mjpeg", "r")
        frame: Any = codec.decode(av.Packet(data))[0]
        if frame.width * frame.height > MOST_PIXELS:
            raise Refused("malformed", f"a compressed picture of {frame.width} x {frame.height} pixels; {MOST_PIXELS} are read")
        return np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    except Refused:
        raise
    except Exception as error:  # as above
        raise Refused("malformed", f"{len(data)} bytes are no JPEG or PNG: {error}"[:300]) from None


def _middle(given: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Left, top, width and height of the largest part of the middle with the proportions of ``wanted``."""
    height, width = given[:2]
    keep_width = min(width, max(1, round(height * wanted[1] / wanted[0])))
    keep_height = min(height, max(1, round(width * wanted[0] / wanted[1])))
    return (width - keep_width) // 2, (height - keep_height) // 2, keep_width, keep_height


def _coloured(pixels: Picture, channels: int) -> Picture:
    """Grey as colours or colours as grey, where asked."""
    if pixels.shape[2] == channels:
        return np.ascontiguousarray(pixels)
    if channels == 3:
        return np.repeat(pixels, 3, axis=2)
    grey: Picture = np.rint(pixels @ _LUMA)[:, :, None].astype(np.uint8)
    return grey


def same_bytes(one: Picture, other: Picture) -> bool:
    """Whether two stretches of bytes are the same; of different pictures the first piece tells."""
    if one.size != other.size:
        return False
    whole = one.size // 8 * 8
    if not (one[whole:] == other[whole:]).all():
        return False
    words = one[:whole].view(np.uint64), other[:whole].view(np.uint64)
    edges = (0, 512, 8192, *range(32768, words[0].size, 32768), words[0].size)
    return all(bool((words[0][start:end] == words[1][start:end]).all()) for start, end in itertools.pairwise(edges))
