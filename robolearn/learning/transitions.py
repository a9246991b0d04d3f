"""Chunk transitions (s_t, a_{t:t+h}, R_h, s_{t+h}): built once from whole episodes, before any shuffling, so that none crosses an end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError

TIMEOUTS = ("failure", "bootstrap")


@dataclass(frozen=True)
class Transitions:
    """M chunk transitions over T steps of all episodes laid end to end.

    Args:
        observations: ``{name: (T, ...)}``.
        actions: ``(T, A)`` in environment units.
        start: ``(M,)`` flat index of s_t.
        after: ``(M,)`` flat index of s_{t+h}; ``start`` again where nothing is bootstrapped.
        chunk: ``(M, h)`` flat indices of the actions; past an episode's end, which no policy saw, the last action is repeated.
        history: ``(M, To)`` flat indices of the observations up to s_t; before an episode's first, the first is repeated.
        reward: ``(M,)`` discounted reward within the chunk.
        discount: ``(M,)`` of the value of ``after``: discount^h, or 0 where the episode is over.
        returns: ``(M,)`` discounted return of the whole rest of the episode.
        episode: ``(M,)`` number of the episode.
        step: ``(M,)`` t.
        group: ``(M,)`` number of the start state the episode shares with others; the episode's own where it shares none.
    """

    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[np.float32]
    start: NDArray[np.int64]
    after: NDArray[np.int64]
    chunk: NDArray[np.int64]
    history: NDArray[np.int64]
    reward: NDArray[np.float32]
    discount: NDArray[np.float32]
    returns: NDArray[np.float32]
    episode: NDArray[np.int64]
    step: NDArray[np.int64]
    group: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start)


def solved_at(episode: Episode) -> int | None:
    """Step whose action solved the task: the first reward above 0, the last step where success came without reward, None on failure."""
    if not episode.success:
        return None
    rewarded = np.flatnonzero(episode.rewards > 0)
    return int(rewarded[0]) if len(rewarded) else len(episode) - 1


def check_timeout(rule: str) -> None:
    """Raise ``UserError`` for an unknown rule."""
    if rule not in TIMEOUTS:
        raise UserError(f"no timeout rule {rule!r}; there are {', '.join(TIMEOUTS)}")


def build_transitions(
    episodes: Iterable[Episode],
    action_horizon: int,
    discount: float,
    *,
    keys: Sequence[str],
    observation_horizon: int = 1,
    stride: int = 1,
    timeout: str = "failure",
) -> Transitions:
    """Cut every episode into chunk transitions, one at each ``stride``-th step.

    The reward is 1 on the step that solves the task and 0 elsewhere; steps after it are left out.

    Args:
        episodes: demonstrations and rollouts, successes and failures.
        action_horizon: h.
        discount: per control step.
        keys: observation names to keep.
        observation_horizon: To, of the policy that draws alternatives at these states.
        stride: steps between two transitions of an episode; ``action_horizon`` gives the decisions a chunked policy took.
        timeout: what cutting an episode off means for values: ``failure`` (not solved in the time that evaluation allows: 0), or
            ``bootstrap`` (the time limit is not part of the task: transitions that reach past the end are left out).

    Raises:
        UserError: no episodes, or an unknown ``timeout``.
    """
    check_timeout(timeout)
    parts: list[dict[str, NDArray[Any]]] = []
    steps: list[tuple[Mapping[str, NDArray[Any]], NDArray[np.float32]]] = []
    groups: dict[Any, int] = {}
    offset = 0
    for number, episode in enumerate(episodes):
        solved = solved_at(episode)
        length = len(episode) if solved is None else solved + 1
        over = solved is not None or episode.terminated or timeout == "failure"
        part = _cut(length, action_horizon, discount, observation_horizon, stride, solved is not None, over)
        for name in ("start", "after", "chunk", "history"):
            part[name] += offset
        part["episode"] = np.full(len(part["start"]), number)
        part["group"] = np.full(len(part["start"]), groups.setdefault(episode.provenance.get("branch", ("episode", number)), len(groups)))
        parts.append(part)
        steps.append(({name: episode.observations[name][:length] for name in keys}, episode.actions[:length]))
        offset += length
    if not parts:
        raise UserError("a critic needs episodes to learn from; there are none")
    return Transitions(
        observations={name: np.concatenate([observations[name] for observations, _ in steps]) for name in keys},
        actions=np.concatenate([actions for _, actions in steps]).astype(np.float32),
        **{name: np.concatenate([part[name] for part in parts]) for name in parts[0]},
    )


def _cut(
    length: int, horizon: int, discount: float, observation_horizon: int, stride: int, solved: bool, over: bool
) -> dict[str, NDArray[Any]]:
    """One episode's transitions, with indices that count from its first step."""
    step = np.arange(0, length, stride)
    inside = step + horizon < length  # s_{t+h} was observed
    if not over:
        step, inside = step[inside], inside[inside]
    to_success = length - 1 - step
    ahead, behind = np.arange(horizon), np.arange(1 - observation_horizon, 1)
    return {
        "start": step.copy(),
        "after": np.where(inside, step + horizon, step),
        "chunk": np.minimum(step[:, None] + ahead, length - 1),  # (M, h)
        "history": np.maximum(step[:, None] + behind, 0),  # (M, To)
        "reward": np.where(solved & ~inside, discount**to_success, 0.0).astype(np.float32),
        "discount": np.where(inside, discount**horizon, 0.0).astype(np.float32),
        "returns": np.where(solved, discount**to_success, 0.0).astype(np.float32),
        "step": step,
    }


def held_out(groups: NDArray[np.int64], share: float, generator: np.random.Generator) -> NDArray[np.bool_]:
    """Marks about ``share`` of the groups, whole: ``(M,) -> (M,)``; at least one group and never all of them when there are two."""
    names = np.unique(groups)
    count = min(max(round(share * len(names)), 1), len(names) - 1) if share > 0 else 0
    return np.isin(groups, generator.permutation(names)[:count])
