"""Bottleneck states: the steps from which an assembly succeeds or fails; marked, or found by subgoals, contacts or the gripper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError, nearest
from robolearn.learning.replay import replay

MARKED = "bottlenecks"  # key of an episode's provenance: the steps that a person or `data annotate` marked
WAYS = ("close", "open", "both")


def find_bottlenecks(
    env: Any, episodes: Sequence[Episode], stages: Sequence[str], before: int, progress: Callable[[int], None] | None = None
) -> list[list[int]]:
    """Steps of each episode, in order: those it is marked with where there are any, else ``before`` steps ahead of each of ``stages``.

    Args:
        env: N worlds of the task.
        episodes: with simulator states.
        stages: names out of ``env.env_spec.stages``.
        before: steps ahead of a stage's first step, so that the parts are still apart.
        progress: called with how many more episodes are done.

    Raises:
        UserError: no such stage, or an episode without simulator states.
    """
    for index, episode in enumerate(episodes):
        if episode.sim_state is None:
            raise UserError(f"episode {index} has no simulator states to start from; collect it in simulation with record_state=true")
    marked = [episode.provenance.get(MARKED) for episode in episodes]
    found = [_checked(steps, len(episode)) if steps else [] for steps, episode in zip(marked, episodes, strict=True)]
    bare = [index for index, steps in enumerate(marked) if not steps]
    if progress and len(bare) < len(episodes):
        progress(len(episodes) - len(bare))
    reached = reached_steps(env, [episodes[index] for index in bare], stages, progress)
    for index, steps in zip(bare, reached, strict=True):
        found[index] = ahead(steps, before)
    return found


def reached_steps(
    env: Any, episodes: Sequence[Episode], stages: Sequence[str], progress: Callable[[int], None] | None = None
) -> list[list[int]]:
    """Steps at which each episode first reached each of ``stages``, found by playing it again from its start; those never reached left out.

    Args:
        env: N worlds of the task.
        episodes: with simulator states, or of a task that can start from an observation.
        stages: names out of ``env.env_spec.stages``.
        progress: called with how many more episodes are done.

    Raises:
        UserError: no such stage, or an episode that the world cannot start.
    """
    known = env.env_spec.stages
    for stage in stages:
        if stage not in known:
            raise UserError(f"no stage {stage!r}; task {env.env_spec.task!r} has {', '.join(known)}{nearest(stage, known)}")
    columns = [known.index(stage) for stage in stages]
    reached = replay(env, episodes, hold=0, progress=progress).reached[:, columns]  # (n, k), counted from 1, -1: never
    return [[int(step) - 1 for step in row if step > 0] for row in reached]


def ahead(steps: Sequence[int], before: int) -> list[int]:
    """The steps ``before`` steps ahead of these, those left out that would lie at or ahead of the episode's start."""
    return sorted({step - before for step in steps if step - before > 0})


def toggles(command: NDArray[Any], way: str) -> list[int]:
    """Steps at which a gripper is first told to close or to open.

    Args:
        command: ``(T,)``, above 0 to close.
        way: ``close``, ``open`` or ``both``.

    Raises:
        UserError: no such way.
    """
    if way not in WAYS:
        raise UserError(f"no toggle={way!r}; there are {', '.join(WAYS)}{nearest(way, WAYS)}")
    change = np.diff((np.asarray(command) > 0).astype(np.int8))
    return [int(step) + 1 for step in np.flatnonzero(change if way == "both" else change == (1 if way == "close" else -1))]


def first_touches(touching: NDArray[np.bool_], least: int = 2) -> list[int]:
    """Step at which each of k pairs first touches for ``least`` steps on end: ``(T, k)`` bool; pairs that never do are left out."""
    found = []
    for column in np.asarray(touching, bool).T:
        run = np.convolve(column, np.ones(least, np.int64), "valid") == least if len(column) >= least else np.zeros(0, bool)
        found += [int(np.argmax(run))] if run.any() else []
    return sorted(found)


def _checked(steps: Any, length: int) -> list[int]:
    if not isinstance(steps, list) or any(type(step) is not int or not 0 <= step < length for step in steps):
        raise UserError(f"an episode of {length} steps has the bottlenecks {steps}, expected a list of steps from 0 to {length - 1}")
    return sorted(steps)


def check_step(episode: Episode, start: int, settle: int) -> int:
    """The step at which a snippet from ``start`` is compared with its demonstration: ``settle`` steps after the next gripper toggle."""
    closed = np.asarray(episode.actions[start:, -1]) > 0
    toggles = np.flatnonzero(closed[1:] != closed[:-1])
    after = start + 1 + int(toggles[0]) + settle if len(toggles) else len(episode)
    return min(after, len(episode) - 1)
