"""Image observations as pictures that a browser shows."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import StoreError
from robolearn.errors import UserError
from robolearn.spec import ArraySpec

_SIDES = (16, 4096)  # pixels, smallest and largest of what is drawn
_LEAST = 8  # pixels: a smaller matrix is numbers, not a picture
_CHANNELS = (1, 3, 4)
_QUALITY = 92


def picture_names(observation: Mapping[str, ArraySpec]) -> list[str]:
    """The observations that are pictures: (height, width), (height, width, channels) or (channels, height, width)."""
    return [name for name, entry in observation.items() if is_picture(entry)]


def picture_size(value: Any) -> tuple[int, int]:
    """An option ``size=[width,height]`` [pixels].

    Raises:
        StoreError: it is none, too small or too large.
    """
    least, most = _SIDES
    if not isinstance(value, list) or len(value) != 2 or any(type(side) is not int or not least <= side <= most for side in value):
        raise StoreError(f"size takes width and height from {least} to {most} pixels, such as size=[320,240]; got {value!r}")
    return value[0], value[1]


def is_picture(entry: ArraySpec) -> bool:
    """Whether an observation is a picture."""
    shape = entry.shape
    sides = shape[1:] if len(shape) == 3 and shape[0] in _CHANNELS and shape[2] not in _CHANNELS else shape[:2]
    plain = len(shape) == 2 or (len(shape) == 3 and entry.dtype == "uint8" and (shape[2] in _CHANNELS or shape[0] in _CHANNELS))
    return plain and min(sides) >= _LEAST


def as_rgb(picture: NDArray[Any]) -> NDArray[np.uint8]:
    """Any picture as ``(H, W, 3)`` uint8; numbers that are not bytes (depth) are spread over their range, as grey."""
    if picture.ndim == 3 and picture.shape[0] in _CHANNELS and picture.shape[2] not in _CHANNELS:
        picture = picture.transpose(1, 2, 0)  # (H, W, C)
    if picture.dtype != np.uint8:
        values = np.nan_to_num(picture.astype(np.float64), posinf=0.0, neginf=0.0)
        low, high = values.min(), values.max()
        picture = ((values - low) * (255.0 / max(high - low, 1e-12))).astype(np.uint8)
    if picture.ndim == 2 or picture.shape[2] == 1:
        picture = np.repeat(picture.reshape(*picture.shape[:2], 1), 3, 2)
    return np.ascontiguousarray(picture[..., :3])


def encode(picture: NDArray[np.uint8]) -> bytes:
    """A picture ``(H, W, 3)`` as JPEG, colours at full resolution.

    Raises:
        UserError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise UserError("pictures need Pillow: pip install 'robolearn[formats]'") from error
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()


class Cache:
    """The encoded pictures that were asked for last, up to so many bytes; for several threads."""

    def __init__(self, largest: int = 96 << 20) -> None:
        self._largest, self._size = largest, 0
        self._held: OrderedDict[Any, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], bytes]) -> bytes:
        """What is held under ``key``, else what ``make`` gives, which is held from then on."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        made = make()
        with self._lock:
            if key not in self._held:
                self._held[key] = made
                self._size += len(made)
            while self._size > self._largest and len(self._held) > 1:
                self._size -= len(self._held.popitem(last=False)[1])
        return made
