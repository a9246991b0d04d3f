"""How sure a comparison is: intervals of success rates, exact paired tests, and robust means over several seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats


@dataclass(frozen=True)
class Rate:
    """A success rate with its interval; all in [0, 1]."""

    successes: int
    trials: int
    rate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.rate:.1f} % [{100 * self.low:.1f}, {100 * self.high:.1f}]"


@dataclass(frozen=True)
class PairedTest:
    """McNemar's exact test of two arms on the same starts.

    Args:
        gained: starts that only the second arm solves.
        lost: starts that only the first arm solves.
        difference: second rate minus first.
        low: lower end of the difference's interval.
        high: upper end of it.
        p_value: two-sided.
    """

    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval."""

    value: float
    low: float
    high: float


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Rate:
    """Wilson's score interval of a binomial rate (Wilson 1927).

    Raises:
        ValueError: no trials, or more successes than trials.
    """
    if trials <= 0 or not 0 <= successes <= trials:
        raise ValueError(f"a rate needs 0 <= successes <= trials and a trial, got {successes} of {trials}")
    rate = successes / trials
    return Rate(successes, trials, rate, *_wilson(rate, trials, confidence))


def _wilson(rate: float, trials: float, confidence: float) -> tuple[float, float]:
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    centre = (rate + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    return max(0.0, centre - half), min(1.0, centre + half)


def mcnemar(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> PairedTest:
    """Exact McNemar test (the binomial form) of two arms' successes ``(n,) bool`` on the same n starts.

    The interval of the difference is Tango's score interval (Tango 1998), which holds its level when few pairs differ.

    Raises:
        ValueError: the arms have different lengths, or none.
    """
    one, two = np.asarray(first, bool), np.asarray(second, bool)
    if one.shape != two.shape or one.ndim != 1 or not len(one):
        raise ValueError(f"paired arms need the same number of starts, got {one.shape} and {two.shape}")
    gained, lost = int((two & ~one).sum()), int((one & ~two).sum())
    p_value = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    low, high = _tango(gained, lost, len(one), confidence)
    return PairedTest(gained, lost, (gained - lost) / len(one), low, high, p_value)


@dataclass(frozen=True)
class Difference:
    """A paired difference of two rates: second minus first, with its interval and two-sided p."""

    difference: float
    low: float
    high: float
    p_value: float


def clustered_rate(success: ArrayLike, confidence: float = 0.95) -> Rate:
    """Rate of several policies on the same starts, ``(policies, n) bool``: Wilson's interval at the number of independent episodes.

    Episodes of one start are alike, so they count for fewer: as many as would give the mean the variance that it has over the
    starts (Kish 1965), at least n and at most all of them.

    Raises:
        ValueError: no episodes.
    """
    solved = np.atleast_2d(np.asarray(success, bool))
    if not solved.size:
        raise ValueError(f"a rate needs episodes, got {solved.shape}")
    starts, rate = solved.shape[1], float(solved.mean())
    variance = float(solved.mean(0).var(ddof=1)) / starts if starts > 1 else 0.0
    worth = rate * (1 - rate) / variance if variance > 0 else starts
    trials = float(np.clip(worth, starts, solved.size))
    return Rate(int(solved.sum()), solved.size, rate, *_wilson(rate, trials, confidence))


def paired_t(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Difference:
    """Student's paired test of two methods' rates on each of n starts, ``(n,)`` each in [0, 1].

    Raises:
        ValueError: the methods have different starts, or fewer than two.
    """
    one, two = np.asarray(first, float), np.asarray(second, float)
    if one.shape != two.shape or one.ndim != 1 or len(one) < 2:
        raise ValueError(f"paired methods need the same two starts or more, got {one.shape} and {two.shape}")
    differences = two - one
    mean = float(differences.mean())
    if not differences.std():
        return Difference(mean, mean, mean, 0.0 if mean else 1.0)
    test = stats.ttest_1samp(differences, 0.0)
    interval = test.confidence_interval(confidence)
    return Difference(mean, float(interval.low), float(interval.high), float(test.pvalue))


def interquartile_mean(values: ArrayLike) -> float:
    """Mean of the middle half of all values (25 % trimmed at each end), as in Agarwal et al. 2021."""
    return float(stats.trim_mean(np.asarray(values, float).ravel(), 0.25))


def bootstrap_iqm(
    scores: ArrayLike, generator: np.random.Generator, confidence: float = 0.95, resamples: int = 10_000, paired: ArrayLike | None = None
) -> Interval:
    """Interquartile mean of ``scores (tasks, seeds)`` with a percentile interval, seeds drawn anew within each task (stratified).

    Args:
        scores: one row a task, one column a training seed; a single row ``(seeds,)`` is one task.
        generator: source of the resamples.
        confidence: mass of the interval.
        resamples: how many.
        paired: a second arm of the same shape; the estimate is then ``IQM(scores) - IQM(paired)`` over the same drawn seeds.

    Raises:
        ValueError: nothing to average, NaN, or shapes that differ.
    """
    table = np.atleast_2d(np.asarray(scores, float))
    arms = [table] if paired is None else [table, np.atleast_2d(np.asarray(paired, float))]
    if not table.size or any(arm.shape != table.shape or not np.isfinite(arm).all() for arm in arms):
        raise ValueError(f"scores need the shape (tasks, seeds) and finite values, got shapes {[arm.shape for arm in arms]}")
    tasks, seeds = table.shape
    draws = generator.integers(seeds, size=(resamples, tasks, seeds))
    sign = (1.0, -1.0)
    value = sum(sign[index] * interquartile_mean(arm) for index, arm in enumerate(arms))
    samples = sum(sign[index] * _iqm_rows(arm[np.arange(tasks)[:, None], draws]) for index, arm in enumerate(arms))
    low, high = np.quantile(np.asarray(samples), [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(value), float(low), float(high))


def _iqm_rows(samples: NDArray[Any]) -> NDArray[np.float64]:
    flat = samples.reshape(len(samples), -1)
    return np.asarray(stats.trim_mean(flat, 0.25, axis=1), np.float64)


def _tango(gained: int, lost: int, trials: int, confidence: float) -> tuple[float, float]:
    """Both roots of Tango's score equation, by bisection on each side of the observed difference."""
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    observed = (gained - lost) / trials

    def score(difference: float) -> float:
        # Maximum-likelihood share of lost pairs when the true difference is `difference` (Tango 1998, section 3).
        b = -gained - lost + (2 * trials - gained + lost) * difference
        c = -lost * difference * (1 - difference)
        share = (math.sqrt(max(b * b - 8 * trials * c, 0.0)) - b) / (4 * trials)
        variance = trials * (2 * share + difference * (1 - difference))
        return (gained - lost - trials * difference) / math.sqrt(max(variance, 1e-300))

    def bisect(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(score(middle)) <= z else (inside, middle)
        return inside

    return bisect(observed, -1.0), bisect(observed, 1.0)
