"""Differences of positions, finely coded: assembly is decided by millimetres between things that range over decimetres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robolearn.errors import UserError


class Relations:
    """Sine and cosine of pairwise position differences, at a coarse and a fine wavelength.

    Inputs normalised to the workspace show a misfit of 3 mm as 0.015; a network needs weights of about a hundred to act on
    it, which a few thousand gradient steps do not reach. Coded at a wavelength of 8 cm the same misfit reads 0.23.

    Args:
        pairs: two places each, such as ``["parts_poses:36", "tcp_pos"]``: an array's name and the index at which a position
            of three numbers begins (0 unless given); ``action`` is the base's target.
        layout: where each array begins in the stacked input, and its length.
        wavelengths: [m].

    Raises:
        UserError: a place does not exist.
    """

    def __init__(self, pairs: Sequence[Sequence[str]], layout: Mapping[str, tuple[int, int]], wavelengths: Sequence[float]) -> None:
        self._left = np.array([_place(left, layout) for left, _ in pairs], np.int64).reshape(-1)  # (3 P,)
        self._right = np.array([_place(right, layout) for _, right in pairs], np.int64).reshape(-1)
        self._rates = (2 * np.pi / np.asarray(wavelengths, np.float32)).astype(np.float32)

    @property
    def size(self) -> int:
        """Number of features."""
        return 2 * len(self._left) * len(self._rates)

    def encode(self, stacked: NDArray[np.float32], moved: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """``(N, D)`` in environment units to ``(N, size)`` in [-1, 1]; as if each pair's first place had been moved by ``moved (N, 3)``."""
        difference = stacked[:, self._left] - stacked[:, self._right]  # (N, 3 P)
        if moved is not None:
            difference += np.tile(moved, difference.shape[1] // 3)
        angle = (difference[:, None] * self._rates[:, None]).reshape(len(stacked), -1)
        return np.concatenate([np.sin(angle), np.cos(angle)], 1)

    def encode_tensor(self, stacked: Tensor) -> Tensor:
        """:meth:`encode` of tensors: ``(..., D)`` in environment units to ``(..., size)``."""
        difference = stacked[..., self._left] - stacked[..., self._right]  # (..., 3 P)
        angle = (difference[..., None, :] * difference.new_tensor(self._rates)[:, None]).flatten(-2)
        return torch.cat([angle.sin(), angle.cos()], -1)


def layout_of(sizes: Mapping[str, int]) -> dict[str, tuple[int, int]]:
    """Where each array begins when arrays of these sizes are stacked in order, and its length."""
    places, begin = {}, 0
    for name, size in sizes.items():
        places[name] = (begin, size)
        begin += size
    return places


def all_but(distractors: Sequence[str], sizes: Mapping[str, int]) -> NDArray[np.int64]:
    """Numbers of the stacked input that are no distractors, each a range ``name:begin:end`` of an array's numbers.

    Raises:
        UserError: there are no such numbers.
    """
    keep = np.ones(sum(sizes.values()), bool)
    for words in distractors:
        name, *bounds = str(words).split(":")
        begin, end = map(int, bounds) if len(bounds) == 2 and all(bound.isdecimal() for bound in bounds) else (0, 0)
        if not 0 <= begin < end <= sizes.get(name, 0):
            known = ", ".join(f"{key}:0:{size}" for key, size in sizes.items())
            raise UserError(f"no numbers at {words!r}: write name:begin:end; there are {known}")
        first, _ = layout_of(sizes)[name]
        keep[first + begin : first + end] = False
    return np.flatnonzero(keep)


def _place(word: Any, layout: Mapping[str, tuple[int, int]]) -> NDArray[np.int64]:
    name, _, offset = str(word).partition(":")
    begin, length = layout.get(name, (0, 0))
    index = int(offset or 0) if (offset or "0").isdigit() else length
    if index + 3 > length:
        known = ", ".join(f"{key} (0..{size - 3})" for key, (_, size) in layout.items() if size >= 3)
        raise UserError(f"no position at {word!r}: write an array's name and the index where its three numbers begin; there are {known}")
    place: NDArray[np.int64] = begin + index + np.arange(3)
    return place
