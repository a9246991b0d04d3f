"""Statistics of demonstrations: the normaliser fitted on them, and figures per array and per episode."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robolearn.datasets.layout import ACTION, StoreError
from robolearn.datasets.store import DemoStore
from robolearn.datasets.windows import Stores, WindowDataset, load_arrays, open_stores
from robolearn.normalize import Normalizer, fit_affine


def fit_normalizer(
    source: WindowDataset | Stores,
    observation_keys: Sequence[str] | None = None,
    *,
    method: str = "minmax",
    quantiles: tuple[float, float] = (0.01, 0.99),
    smallest_half_range: float = 0.005,
    episodes: Sequence[int] | None = None,
) -> Normalizer:
    """Map each channel's range over the demonstrations to [-1, 1], for every observation key and for ``action``.

    Channels that hardly moved are not blown up: a half-range below ``smallest_half_range`` (5 mm for positions, 0.005 for
    the entries of rot6d) becomes 0.5. Values outside the range map outside [-1, 1]; policies clamp.

    Args:
        source: a window data set (its episodes and keys), or stores.
        observation_keys: which observations; the data set's, or all of the spec's, unless given.
        method: ``minmax``, or ``quantile`` where outliers should not set the scale.
        quantiles: lower and upper probability of the quantile method.
        smallest_half_range: see above, in each channel's own units.
        episodes: which episodes of the stores (the training part of a split); all unless given.

    Raises:
        StoreError: the data are empty or cannot be read.
        ValueError: unknown method.
    """
    if isinstance(source, WindowDataset):
        keys = tuple(observation_keys or source.observation_keys)
        arrays = {name: source.array(name) for name in (*keys, ACTION)}
    else:
        stores = open_stores(source)
        keys = tuple(observation_keys or stores[0].env_spec.observation)
        total = sum(store.num_episodes for store in stores)
        if total == 0:
            raise StoreError(f"{', '.join(str(store.path) for store in stores)}: no episodes to fit a normaliser on")
        arrays = load_arrays(stores, (*keys, ACTION), np.arange(total) if episodes is None else np.asarray(episodes, np.int64))
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise StoreError(f"{name} holds NaN or infinity; `robolearn data check` names the episodes")
    return Normalizer({name: fit_affine(values, method, quantiles, smallest_half_range) for name, values in arrays.items()})


def array_statistics(store: DemoStore) -> dict[str, dict[str, Any]]:
    """Per array: dtype, shape of a step, and over all committed steps each channel's min, max, mean and std."""
    figures = {}
    for name in store.array_names:
        values = store.array(name)
        flat = values.reshape(len(values), -1).astype(np.float64)
        entry: dict[str, Any] = {"dtype": str(values.dtype), "shape": list(values.shape[1:])}
        if len(flat) and flat.shape[1] <= 128:  # not for images
            entry |= {kind: getattr(np, f"nan{kind}")(flat, axis=0).tolist() for kind in ("min", "max", "mean", "std")}
        figures[name] = entry
    return figures


def episode_statistics(store: DemoStore) -> list[dict[str, Any]]:
    """Per episode: length, seconds, reward, outcome, source, seed."""
    rewards = store.array("reward") if store.num_steps else np.zeros(0)
    sums = np.add.reduceat(rewards, store.starts) if store.num_episodes else np.zeros(0)
    return [
        {
            "episode": index,
            "steps": int(store.lengths[index]),
            "seconds": round(float(store.lengths[index] / store.env_spec.control_hz), 3),
            "reward": float(sums[index]),
            "outcome": str(store.column("outcome")[index]),
            "source": str(store.column("source")[index]),
            "seed": int(store.column("seed")[index]),
        }
        for index in range(store.num_episodes)
    ]
