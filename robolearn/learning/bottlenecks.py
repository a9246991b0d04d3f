"""Bottleneck states of demonstrations: the steps from which an assembly succeeds or fails, marked by hand or found by subgoals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from robolearn.episode import Episode
from robolearn.errors import UserError, nearest
from robolearn.learning.replay import replay

MARKED = "bottlenecks"  # key of an episode's provenance: the steps that a person marked


def find_bottlenecks(
    env: Any, episodes: Sequence[Episode], stages: Sequence[str], before: int, progress: Callable[[int], None] | None = None
) -> list[list[int]]:
    """Steps of each episode, in order: those marked by hand where there are any, else ``before`` steps ahead of each of ``stages``.

    A stage's step is found by playing the episode again from its stored simulator state.

    Args:
        env: N worlds of the task.
        episodes: with simulator states.
        stages: names out of ``env.env_spec.stages``.
        before: steps ahead of a stage's first step, so that the parts are still apart.
        progress: called with how many more episodes are done.

    Raises:
        UserError: no such stage, or an episode without simulator states.
    """
    known = env.env_spec.stages
    for stage in stages:
        if stage not in known:
            raise UserError(f"no stage {stage!r}; task {env.env_spec.task!r} has {', '.join(known)}{nearest(stage, known)}")
    for index, episode in enumerate(episodes):
        if episode.sim_state is None:
            raise UserError(f"episode {index} has no simulator states to start from; collect it in simulation with record_state=true")
    columns = [known.index(stage) for stage in stages]
    reached = replay(env, episodes, hold=0, progress=progress).reached[:, columns]  # (n, k), counted from 1, -1: never
    found = [sorted({int(step) - 1 - before for step in row if step - 1 - before > 0}) for row in reached]
    marked = [episode.provenance.get(MARKED) for episode in episodes]
    return [_checked(hand, len(episode)) if hand else auto for hand, auto, episode in zip(marked, found, episodes, strict=True)]


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
