"""What importers share at a store's border: names it takes, limits of actions that nobody stated, numbers as it keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import ACTION, END, REWARD, SIM_STATE, StoreError
from robolearn.spec import ActionSpec

ASSUMED_HZ = 10.0
_STORABLE = {"b": (1,), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "f": (2, 4, 8)}


def store_names(keys: Iterable[str]) -> dict[str, str]:
    """From each key of a source to its name in a store, which refuses some letters and words.

    Raises:
        StoreError: two come to the same name.
    """
    taken: dict[str, str] = {}
    for key in keys:
        name = re.sub(r"[^A-Za-z0-9_.-]", "_", key.replace("/", "."))
        if name in (ACTION, REWARD, SIM_STATE, END) or not re.match(r"[A-Za-z0-9_]", name):
            name = f"source.{name}"
        if name in taken:
            raise StoreError(f"arrays {taken[name]!r} and {key!r} come to one name in a store, {name!r}; rename one in the source")
        taken[name] = key
    return {key: name for name, key in taken.items()}


def storable(dtype: np.dtype[Any]) -> bool:
    """Whether a store keeps numbers of this type to the bit."""
    return dtype.itemsize in _STORABLE.get(dtype.kind, ())


def action_spec(names: tuple[str, ...], low: NDArray[Any], high: NDArray[Any]) -> ActionSpec:
    """An action whose limits nobody stated: [-1, 1] where all data lie in it, else the data's own range.

    Args:
        names: of the channels.
        low: smallest of each channel in the data, ``(A,)``; NaN where the data hold one.
        high: largest of each channel, ``(A,)``.
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (low >= -1).all() & (high <= 1).all():
        low, high = -np.ones(len(names)), np.ones(len(names))
    return ActionSpec(names, tuple(float(value) for value in low), tuple(float(value) for value in high), units="", frame="")


def as_float32(values: NDArray[Any]) -> tuple[NDArray[np.float32], float]:
    """Numbers as a store keeps actions and rewards, and the largest difference that rounding made (0: none)."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = values.astype(np.float32)
        difference = np.abs(rounded.astype(np.float64) - values.astype(np.float64))
    return rounded, float(np.nan_to_num(difference, nan=0.0, posinf=np.inf).max(initial=0.0))


def control_rate(given: float | None) -> float | None:
    """The option ``control_hz``, checked.

    Raises:
        StoreError: it is no rate.
    """
    if given is not None and not (isinstance(given, int | float) and 0 < given < 1e6):
        raise StoreError(f"control_hz is steps a second, such as 10, got {given!r}")
    return None if given is None else float(given)
