"""How good a critic is: does it tell success from failure, is it calibrated, and does it order what a single state offers?"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def auc(scores: NDArray[Any], positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores above a negative, ties half (Mann and Whitney); NaN when one kind is missing."""
    from scipy.stats import rankdata

    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - wins * (wins + 1) / 2) / (wins * losses))


def reliability(predicted: NDArray[Any], observed: NDArray[Any], bins: int = 10) -> NDArray[np.float64]:
    """Reliability diagram over equal bins of [0, 1]: rows of (mean prediction, mean outcome, count) for the bins that are not empty."""
    place = np.clip((predicted * bins).astype(int), 0, bins - 1)
    count = np.bincount(place, minlength=bins)
    full = count > 0
    means = [np.bincount(place, weights=values, minlength=bins)[full] / count[full] for values in (predicted, observed)]
    return np.stack([*means, count[full].astype(float)], 1)


def calibration_error(predicted: NDArray[Any], observed: NDArray[Any], bins: int = 10) -> float:
    """Expected calibration error: mean absolute difference of prediction and outcome over the bins, by count."""
    table = reliability(predicted, observed, bins)
    return float((np.abs(table[:, 0] - table[:, 1]) * table[:, 2]).sum() / table[:, 2].sum())


def within_group_order(scores: NDArray[Any], outcomes: NDArray[Any], groups: NDArray[np.int64]) -> tuple[float, int]:
    """Share of pairs within a group whose outcomes differ that the scores order rightly (ties half), and the number of such pairs.

    With groups of rollouts from one and the same state this is what steering lives on; 0.5 is chance. NaN without such pairs.
    """
    right, pairs = 0.0, 0
    order = np.argsort(groups, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        better = outcomes[rows][:, None] > outcomes[rows][None]
        difference = scores[rows][:, None] - scores[rows][None]
        right += float((better * (0.5 + 0.5 * np.sign(difference))).sum())
        pairs += int(better.sum())
    return (right / pairs if pairs else float("nan")), pairs
