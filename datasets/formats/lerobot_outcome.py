"""How an episode ended, as LeRobot's columns and back; texts that change rarely, as runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.lerobot_features import FLAGS

DONE, TRUNCATED, SUCCESS = FLAGS


def outcome_of(flags: Mapping[str, NDArray[np.bool_]]) -> tuple[bool, bool, bool]:
    """Terminated, truncated and success from those columns ``(T,)`` that are there.

    ``next.done`` says that an episode ended, however; what was not cut by ``next.truncated`` terminated.
    """
    truncated = bool(flags[TRUNCATED][-1]) if TRUNCATED in flags else False
    terminated = bool(flags[DONE][-1]) and not truncated if DONE in flags else False
    success = bool(flags[SUCCESS].any()) if SUCCESS in flags else False
    return terminated, truncated, success


def flags_of(terminated: bool, truncated: bool, success: bool, steps: int) -> dict[str, NDArray[np.bool_]]:
    """The columns ``(T,)`` of an outcome, true at the last step at most; :func:`outcome_of`'s inverse unless both ended it."""
    last = {DONE: terminated or truncated, TRUNCATED: truncated, SUCCESS: success}
    return {name: np.r_[np.zeros(steps - 1, bool), value] for name, value in last.items()}


def runs_of(values: Sequence[Any]) -> list[list[Any]]:
    """Values of T steps as ``[[first step, value], ...]``, an entry where the value changes."""
    return [[step, value] for step, value in enumerate(values) if step == 0 or value != values[step - 1]]


def from_runs(runs: Any, steps: int) -> list[Any] | None:
    """The inverse of :func:`runs_of`; None where ``runs`` are not such (provenance can be anybody's)."""
    if not isinstance(runs, list) or not runs or not all(isinstance(run, list) and len(run) == 2 for run in runs):
        return None
    starts = [run[0] for run in runs]
    if not all(type(start) is int for start in starts) or starts[0] != 0 or starts != sorted(set(starts)) or starts[-1] >= steps:
        return None
    return [runs[place][1] for place in np.searchsorted(starts, np.arange(steps), "right") - 1]
