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


def action_spec(names: tuple[str, ...], low: NDArray[Any], high: NDArray[Any], dtype: str = "float32") -> ActionSpec:
    """An action whose limits nobody stated: [-1, 1] where all data lie in it, else the data's own range.

    Args:
        names: of the channels.
        low: smallest of each channel in the data, ``(A,)``; NaN where the data hold one.
        high: largest of each channel, ``(A,)``.
        dtype: of the actions in a store.
    """
    if not (np.isfinite(low).all() and np.isfinite(high).all()) or (low >= -1).all() & (high <= 1).all():
        low, high = -np.ones(len(names)), np.ones(len(names))
    limits = tuple(float(value) for value in low), tuple(float(value) for value in high)
    return ActionSpec(names, *limits, units="", frame="", dtype=dtype)


def float_type(*dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The floats that keep numbers of all these types as actions or rewards: float32, or float64 for wide integers and float64."""
    return np.result_type(np.float32, *dtypes)


def control_rate(given: float | None) -> float | None:
    """The option ``control_hz``, checked.

    Raises:
        StoreError: it is no rate.
    """
    if given is not None and not (isinstance(given, int | float) and 0 < given < 1e6):
        raise StoreError(f"control_hz is steps a second, such as 10, got {given!r}")
    return None if given is None else float(given)
