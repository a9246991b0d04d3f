"""The normaliser fitted on demonstrations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from robolearn.datasets.layout import ACTION, StoreError
from robolearn.datasets.windows import Stores, WindowDataset, load_arrays, open_stores
from robolearn.normalize import Normalizer, fit_affine
from robolearn.spec import EnvSpec


def fit_normalizer(
    source: WindowDataset | Stores,
    observation_keys: Sequence[str] | None = None,
    *,
    method: str = "minmax",
    quantiles: tuple[float, float] = (0.01, 0.99),
    smallest_half_range: float = 0.005,
    episodes: Sequence[int] | None = None,
    leave_out: Sequence[str] = (),
) -> Normalizer:
    """Map each channel's range over the demonstrations to [-1, 1], for every observation key and for ``action``.

    Channels that hardly moved are not blown up: a half-range below ``smallest_half_range`` (5 mm for positions, 0.005 for
    the entries of rot6d) becomes 0.5. Values outside the range map outside [-1, 1]; policies clamp.

    Args:
        source: a window data set (its episodes and keys), or stores.
        observation_keys: which observations; the data set's, or all of the spec's, unless given. Images have none of this: whoever
            looks at them knows the range of a byte.
        method: ``minmax``, or ``quantile`` where outliers should not set the scale.
        quantiles: lower and upper probability of the quantile method.
        smallest_half_range: see above, in each channel's own units.
        episodes: which episodes of the stores (the training part of a split); all unless given.
        leave_out: sources whose episodes do not set the range: snippets that lead far away make every millimetre smaller.

    Raises:
        StoreError: the data are empty or cannot be read.
        ValueError: unknown method.
    """
    if isinstance(source, WindowDataset):
        if leave_out:
            raise StoreError(f"leave_out={list(leave_out)} is of stores; windows have their episodes already")
        keys = _states(source.observation_keys if observation_keys is None else observation_keys, source.env_spec)
        arrays = {name: source.array(name) for name in (*keys, ACTION)}
    else:
        stores = open_stores(source)
        keys = _states(stores[0].env_spec.observation if observation_keys is None else observation_keys, stores[0].env_spec)
        total = sum(store.num_episodes for store in stores)
        if total == 0:
            raise StoreError(f"{', '.join(str(store.path) for store in stores)}: no episodes to fit a normaliser on")
        chosen = np.arange(total) if episodes is None else np.asarray(episodes, np.int64)
        sources = np.concatenate([store.column("source").astype(str) for store in stores])
        ranging = chosen[~np.isin(sources[chosen], list(leave_out))]
        if not len(ranging):
            raise StoreError(f"no episodes are left to fit a normaliser on; leave_out={list(leave_out)} leaves out all")
        arrays = load_arrays(stores, (*keys, ACTION), ranging)
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise StoreError(f"{name} holds NaN or infinity; `robolearn data check` names the episodes")
    return Normalizer({name: fit_affine(values, method, quantiles, smallest_half_range) for name, values in arrays.items()})


def _states(keys: Iterable[str], env_spec: EnvSpec) -> tuple[str, ...]:
    return tuple(name for name in keys if name not in env_spec.observation or not env_spec.observation[name].is_image)
