"""Data for critics: rollouts of the base with both outcomes, branches that try several chunks from one state, and their features."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.rollout import rollout
from robolearn.learning.transitions import Transitions
from robolearn.learning.value_objectives import CriticBatch
from robolearn.protocols import ChunkSampler, Environment, Policy
from robolearn.seeding import addressed_uniform, split_seeds

if TYPE_CHECKING:
    from torch import Generator, Tensor

BRANCH_OFFSET = 1 << 36  # branches take their seeds far behind those of rollouts, in the same split
PROPOSAL_OFFSET = 1 << 37  # and proposals behind those
FEATURE_BLOCK = 16384  # chunks turned into features at once


class BranchedEnvironment:
    """Wraps an environment so that an episode starts from one of given states: ``per_state`` seeds in a row share a state.

    The policy's noise still comes from the seed, so the branches of a state differ in what is tried there and in nothing else.

    Args:
        env: has ``get_state``, ``set_state`` and ``observation``.
        states: ``(M, S)`` as ``get_state`` gives them.
        first_seed: seed of the first branch.
        per_state: branches of each state.
    """

    def __init__(self, env: Any, states: NDArray[np.float64], first_seed: int, per_state: int) -> None:
        self._env, self._states, self._first, self._per_state = env, states, first_seed, per_state
        self.env_spec, self.num_envs, self.max_episode_steps = env.env_spec, env.num_envs, env.max_episode_steps
        self.autoreset_mode = getattr(env, "autoreset_mode", None)

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start branches; ``seed`` one per row."""
        _, info = self._env.reset(seed=seed, options=options)
        rows = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)))
        self._env.set_state(self._states[(np.asarray(seed) - self._first) // self._per_state], rows)
        return self._env.observation(), info

    def __getattr__(self, name: str) -> Any:
        return getattr(self._env, name)


def branch_points(episodes: Sequence[Episode], count: int, action_horizon: int, seed: int) -> list[tuple[int, int]]:
    """``count`` (episode, step) pairs to branch at: decision steps of recorded rollouts, anywhere in time.

    Successes and failures are taken in turn, and failures up to when nine of ten successes are over: what follows is past help, and
    there every choice is worth the same.

    Raises:
        UserError: no episode holds simulator states.
    """
    recorded = [index for index, episode in enumerate(episodes) if episode.sim_state is not None]
    if not recorded:
        raise UserError("branching needs rollouts recorded with their simulator state; collect them with record_state=true")
    kinds = [kind for solved in (True, False) if (kind := [index for index in recorded if episodes[index].success == solved])]
    chosen = [kinds[turn % len(kinds)][turn // len(kinds) % len(kinds[turn % len(kinds)])] for turn in range(count)]
    draws = addressed_uniform("branch", np.full(count, seed), np.arange(count), 1)[:, 0]
    solved = [len(episode) for episode in episodes if episode.success]
    latest = float(np.quantile(solved, 0.9)) if solved else math.inf
    decisions = [int(min(len(episodes[index]), latest) - 1) // action_horizon + 1 for index in chosen]
    return [(index, int(draw * number) * action_horizon) for index, draw, number in zip(chosen, draws, decisions, strict=True)]


def play_branches(
    env: Environment,
    policy: Policy,
    episodes: Sequence[Episode],
    points: Sequence[tuple[int, int]],
    per_state: int,
    record: Callable[[Episode], None],
    *,
    split: str = "train",
    skip: Collection[int] = (),
) -> None:
    """Play ``per_state`` episodes from each point, which differ in the policy's noise alone.

    ``provenance["branch"]`` names the point an episode starts from; seeds in ``skip`` are not played.
    """
    states = np.stack([np.asarray(episodes[index].sim_state)[step] for index, step in points])
    seeds = split_seeds(split, len(points) * per_state, BRANCH_OFFSET)
    names = [f"{episodes[index].provenance.get('seed', index)}@{step}" for index, step in points]

    def keep(episode: Episode) -> None:
        branch = names[(int(episode.provenance["seed"]) - int(seeds[0])) // per_state]
        record(dataclasses.replace(episode, provenance={**episode.provenance, "branch": branch}))

    left = np.array([seed for seed in seeds if int(seed) not in skip], np.int64)
    rollout(BranchedEnvironment(env, states, int(seeds[0]), per_state), policy, left, record=keep)


def draw_proposals(
    sampler: ChunkSampler, transitions: Transitions, action_horizon: int, count: int, seed: int, batch: int = 256
) -> NDArray[np.float32]:
    """What the frozen base would draw in each transition's state: ``(M, count, h, A)``; ``seed`` tells one set of draws from another."""
    drawn = []
    for begin in range(0, len(transitions), batch):
        rows = slice(begin, min(begin + batch, len(transitions)))
        observation = {name: values[transitions.history[rows]] for name, values in transitions.observations.items()}  # (b, To, ...)
        seeds = split_seeds("train", len(transitions.start[rows]), PROPOSAL_OFFSET + begin)
        chunks = sampler.sample(observation, seeds, np.full(len(seeds), seed), count)
        drawn.append(chunks[:, :, :action_horizon])
    return np.concatenate(drawn)


@dataclass
class CriticData:
    """Transitions as a critic's features; a batch is gathered by rows.

    Args:
        state: ``(T, S)``.
        chunk: ``(M, F)``.
        transitions: what the rows are.
        proposals: ``(M, n, F)`` or None.
    """

    state: Tensor
    chunk: Tensor
    transitions: Transitions
    proposals: Tensor | None = None

    @classmethod
    def of(cls, critic: Any, transitions: Transitions, proposals: NDArray[np.float32] | None = None) -> CriticData:
        """Compute features once, by the path that serving takes."""
        import torch

        def features(rows: slice, chunks: NDArray[np.float32]) -> Tensor:
            observation = {name: values[transitions.start[rows]] for name, values in transitions.observations.items()}
            return cast("Tensor", critic.chunk_features(observation, chunks))

        blocks = [slice(begin, begin + FEATURE_BLOCK) for begin in range(0, len(transitions), FEATURE_BLOCK)]
        executed = torch.cat([features(rows, transitions.actions[transitions.chunk[rows]][:, None])[:, 0] for rows in blocks])
        proposed = None if proposals is None else torch.cat([features(rows, proposals[rows]) for rows in blocks])
        return cls(critic.state_features(transitions.observations), executed, transitions, proposed)

    def __len__(self) -> int:
        return len(self.transitions)

    def chunks(self, rows: NDArray[np.int64]) -> Tensor:
        """Executed chunks: ``(B,) -> (B, F)``."""
        import torch

        return self.chunk[torch.from_numpy(rows)]

    def batch(self, rows: NDArray[np.int64]) -> CriticBatch:
        """Transitions ``rows (B,)``."""
        import torch

        made = self.transitions
        follower = self._follower[rows] if self.proposals is not None else rows
        return CriticBatch(
            state=self.state[torch.from_numpy(made.start[rows])],
            chunk=self.chunks(rows),
            reward=torch.from_numpy(made.reward[rows]),
            discount=torch.from_numpy(made.discount[rows]),
            returns=torch.from_numpy(made.returns[rows]),
            next_state=self.state[torch.from_numpy(made.after[rows])],
            proposals=None if self.proposals is None else self.proposals[torch.from_numpy(rows)],
            next_proposals=None if self.proposals is None else self.proposals[torch.from_numpy(follower)],
        )

    @property
    def _follower(self) -> NDArray[np.int64]:
        """Row of the transition that starts where this one ends: ``(M,)``."""
        if not hasattr(self, "_followers"):
            self._followers = np.searchsorted(self.transitions.start, self.transitions.after)
            if not (self.transitions.start[np.minimum(self._followers, len(self) - 1)] == self.transitions.after).all():
                raise ValueError("proposals need transitions at a stride that divides the action horizon")
        return self._followers


class BatchSampler:
    """Rows for training: a share of each batch from the first decisions of branches, where chunks differ and states do not.

    Args:
        rows: ``(M',)`` rows that may be drawn.
        transitions: what they are.
        branch_share: of a batch, where there are branches.
        generator: torch's, saved with the run.
    """

    def __init__(self, rows: NDArray[np.int64], transitions: Transitions, branch_share: float, generator: Generator) -> None:
        self._rows, self._generator = rows, generator
        self._forks = rows[branched(transitions)[rows]]
        self._share = branch_share if len(self._forks) else 0.0

    def __call__(self, size: int) -> NDArray[np.int64]:
        """``(size,)`` rows, with replacement."""
        forks = round(self._share * size)
        return np.concatenate([self._draw(self._rows, size - forks), self._draw(self._forks, forks)])

    def _draw(self, rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
        import torch

        if not count:
            return rows[:0]
        picked: NDArray[np.int64] = rows[torch.randint(len(rows), (count,), generator=self._generator).numpy()]
        return picked


def branched(transitions: Transitions) -> NDArray[np.bool_]:
    """First decisions of episodes that share their start state with another: ``(M,)``."""
    first = transitions.step == 0
    _, inverse, counts = np.unique(transitions.group[first], return_inverse=True, return_counts=True)
    shared = np.zeros(len(transitions), bool)
    shared[np.flatnonzero(first)[counts[inverse] > 1]] = True
    return shared
