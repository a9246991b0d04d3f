"""Figures of a LeRobot data set: per episode and feature, and all episodes' together as LeRobot aggregates them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_PICTURES = 100  # of an episode, evenly spaced
_PIXELS = 150  # a picture is thinned to about this many rows and columns

Figures = dict[str, NDArray[np.float64]]


def vector_stats(values: NDArray[Any]) -> Figures:
    """Min, max, mean, std, quantiles and count of ``(T, ...)``, each over time, ``(...)``; of ``(T,)`` each ``(1,)``."""
    rows = values.reshape(len(values), *(values.shape[1:] or (1,))).astype(np.float64)
    figures = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0), "count": np.array([len(rows)])}
    return figures | dict(zip(QUANTILES, np.quantile(rows, list(QUANTILES.values()), axis=0), strict=True))


def image_stats(pictures: NDArray[np.uint8]) -> Figures:
    """The same of pictures ``(T, height, width, 3)``, thinned, per channel ``(3, 1, 1)``, with white as 1."""
    steps = np.unique(np.linspace(0, len(pictures) - 1, min(_PICTURES, len(pictures))).round().astype(int))
    thin = pictures[steps, :: max(1, pictures.shape[1] // _PIXELS), :: max(1, pictures.shape[2] // _PIXELS)]
    figures = vector_stats(thin.reshape(-1, thin.shape[-1]))
    scaled = {name: (values / 255).reshape(-1, 1, 1) for name, values in figures.items() if name != "count"}
    return scaled | {"count": np.array([len(steps)])}


class Aggregate:
    """Figures of all episodes: exact but for the quantiles, which are the mean of the episodes' by their counts, as LeRobot's."""

    def __init__(self) -> None:
        self._sums: dict[str, Figures] = {}

    def add(self, episode: Mapping[str, Figures]) -> None:
        """Take in an episode's figures of every feature."""
        for feature, figures in episode.items():
            count, mean = figures["count"], figures["mean"]
            part = {name: figures[name] * count for name in (*QUANTILES, "mean")}
            part |= {"square": (figures["std"] ** 2 + mean**2) * count, "count": count, "min": figures["min"], "max": figures["max"]}
            held = self._sums.get(feature)
            join: dict[str, Any] = {"min": np.minimum, "max": np.maximum}
            self._sums[feature] = part if held is None else {name: join.get(name, np.add)(held[name], part[name]) for name in part}

    def result(self) -> dict[str, dict[str, Any]]:
        """``{feature: {figure: nested list}}``, ready for ``stats.json``."""
        return {feature: as_lists(self._figures(sums)) for feature, sums in self._sums.items()}

    @staticmethod
    def _figures(sums: Figures) -> Figures:
        count = sums["count"]
        means = {name: sums[name] / count for name in (*QUANTILES, "mean")}
        std = np.sqrt(np.maximum(sums["square"] / count - means["mean"] ** 2, 0))
        return {"min": sums["min"], "max": sums["max"], "mean": means.pop("mean"), "std": std, "count": count, **means}


def as_lists(figures: Figures) -> dict[str, Any]:
    """Figures as nested lists of numbers."""
    return {name: np.asarray(values).tolist() for name, values in figures.items()}
