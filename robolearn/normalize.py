"""Per-channel affine maps to about [-1, 1], fitted on demonstrations and saved inside every policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

ACTION = "action"


@dataclass(frozen=True)
class Affine:
    """``forward(x) = (x - offset) / scale``, per channel; both ``(D,)`` in the units of the array."""

    offset: NDArray[np.float32]
    scale: NDArray[np.float32]

    def forward(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """To normalised units, ``(..., D)``."""
        return ((values - self.offset) / self.scale).astype(np.float32)

    def inverse(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Back to the units of the array, ``(..., D)``."""
        return (values * self.scale + self.offset).astype(np.float32)


@dataclass(frozen=True)
class Normalizer:
    """One :class:`Affine` per observation name, and one named ``action``."""

    parts: Mapping[str, Affine]

    def __getitem__(self, name: str) -> Affine:
        try:
            return self.parts[name]
        except KeyError:
            raise KeyError(f"the normaliser has no {name!r}; it was fitted on {sorted(self.parts)}") from None

    def forward(self, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
        """Normalise one array."""
        return self[name].forward(values)

    def inverse(self, name: str, values: NDArray[Any]) -> NDArray[np.float32]:
        """Undo :meth:`forward`."""
        return self[name].inverse(values)

    def to_dict(self) -> dict[str, dict[str, list[float]]]:
        """JSON-ready; the inverse of :meth:`from_dict` to the bit (float32 survives a decimal round trip)."""
        return {name: {"offset": part.offset.tolist(), "scale": part.scale.tolist()} for name, part in self.parts.items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Mapping[str, Any]]) -> Normalizer:
        """Rebuild from :meth:`to_dict`."""
        return cls(
            {name: Affine(np.asarray(part["offset"], np.float32), np.asarray(part["scale"], np.float32)) for name, part in data.items()}
        )


def fit_affine(
    values: NDArray[Any], method: str = "minmax", quantiles: tuple[float, float] = (0.01, 0.99), smallest_half_range: float = 1e-4
) -> Affine:
    """Map the range of ``values (T, D)`` to [-1, 1].

    Args:
        values: samples, one row each.
        method: ``minmax``, or ``quantile`` where outliers should not set the scale.
        quantiles: lower and upper probability of the quantile method.
        smallest_half_range: channels that move less than this (in their own units) are divided by 0.5 instead, so that
            noise in a channel that was constant in the demonstrations is not blown up.

    Raises:
        ValueError: no rows, NaN, or an unknown method.
    """
    if len(values) == 0 or not np.isfinite(values).all():
        raise ValueError(f"a normaliser needs finite data, got {len(values)} rows, {int((~np.isfinite(values)).sum())} entries not finite")
    flat = np.asarray(values, np.float64).reshape(len(values), -1)
    if method == "minmax":
        low, high = flat.min(0), flat.max(0)
    elif method == "quantile":
        low, high = np.quantile(flat, quantiles[0], axis=0), np.quantile(flat, quantiles[1], axis=0)
    else:
        raise ValueError(f"no normaliser method {method!r}; there are minmax, quantile")
    half = (high - low) / 2
    scale = np.where(half < smallest_half_range, 0.5, half)
    return Affine(((low + high) / 2).astype(np.float32), scale.astype(np.float32))
