"""Who plays episodes: this process, or actors elsewhere; the same seeds give the same episodes either way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.backward import Attempt, Backward, play
from robolearn.learning.rollout import Outcome, RolloutResult, file, no_result, outcomes
from robolearn.nodes import instantiate
from robolearn.protocols import Environment, Observation, Policy
from robolearn.spec import EnvSpec

TRY = 1 << 44  # added to the seeds of a policy's noise with every try of a start; beyond all blocks of seeds

Snippets = tuple[list[Episode], list[str]]


@dataclass(frozen=True)
class Job:
    """What plays, and what is to be recorded of it: words that travel to another machine.

    Args:
        env: node of the world, as ``task.env``.
        policy: node of what acts, without ``num_envs``.
        number: of the try of the same starts; see :class:`OtherNoise`.
        recording: whether the episodes themselves are wanted.
        record_state: also the simulator's states.
        provenance: written into every episode.
        hold: steps that are played after an episode's end.
    """

    env: Mapping[str, Any]
    policy: Mapping[str, Any]
    number: int = 0
    recording: bool = False
    record_state: bool = False
    provenance: Mapping[str, Any] = field(default_factory=dict)
    hold: int = 0

    def make_policy(self, num_envs: int) -> Policy:
        """What acts in ``num_envs`` rows."""
        policy: Policy = instantiate(self.policy, num_envs=num_envs)
        return policy if self.number == 0 else OtherNoise(policy, self.number)


@dataclass(frozen=True)
class Played:
    """What came of seeds, and what a steered policy noted on the way (empty where nothing was scored)."""

    episodes: RolloutResult
    steering: dict[str, float]


class Players(Protocol):
    """Play episodes of any job."""

    def play(
        self,
        env: Environment,
        job: Job,
        seeds: NDArray[np.int64],
        *,
        record: Callable[[Episode], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Played:
        """Play one episode a seed, ``(n,)``, in batches of as many rows as ``env`` has.

        Args:
            env: a world of ``job.env``; elsewhere others like it are made.
            job: what plays.
            seeds: of the episodes.
            record: called with every finished episode where ``job.recording``; may raise to end the playing.
            progress: called with (episodes done, n).
        """
        ...

    def try_snippets(
        self, env: Environment, world: Mapping[str, Any], attempts: Sequence[Attempt], settings: Backward, provenance: dict[str, Any]
    ) -> Snippets:
        """:func:`robolearn.learning.backward.play` of at most as many attempts as ``env``, a world of the node ``world``, has rows."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class Here:
    """Plays in this process.

    Args:
        block: seeds that a batch plays before it begins afresh; all unless given. A network's last bits depend on which rows it serves
            together, so the same blocks, and not only the same seeds, give the same episodes to the bit.

    Raises:
        UserError: a block of no seeds.
    """

    def __init__(self, block: int | None = None) -> None:
        self._block = check_block(block)

    def play(
        self,
        env: Environment,
        job: Job,
        seeds: NDArray[np.int64],
        *,
        record: Callable[[Episode], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Played:
        """See :class:`Players`."""
        policy = job.make_policy(env.num_envs)
        score = Score(seeds, len(env.env_spec.stages), record, progress)
        for block in blocks(len(seeds), self._block or len(seeds)):
            for outcome in play_block(env, policy, job, seeds[block]):
                score.note(block, outcome)
        return Played(score.result, steering_statistics(policy))

    def try_snippets(
        self, env: Environment, world: Mapping[str, Any], attempts: Sequence[Attempt], settings: Backward, provenance: dict[str, Any]
    ) -> Snippets:
        """See :class:`Players`."""
        return play(env, attempts, settings, provenance)

    def close(self) -> None:
        """Nothing to let go of: the environment is the caller's."""


class Score:
    """Puts outcomes, in whatever order they come, into the order of their seeds, and passes them on."""

    def __init__(
        self,
        seeds: NDArray[np.int64],
        stages: int,
        record: Callable[[Episode], None] | None,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.result = no_result(seeds, stages)
        self.known = np.zeros(len(seeds), bool)
        self._record, self._progress = record, progress

    def had(self, block: slice) -> dict[int, int]:
        """Seeds of a block whose outcome is here, by their index in it, and the steps of each."""
        return {int(index): int(self.result.steps[block][index]) for index in np.flatnonzero(self.known[block])}

    def note(self, block: slice, outcome: Outcome) -> None:
        """Take the outcome of one seed of a block."""
        index = block.start + outcome.index
        self.known[index] = True
        file(self.result, outcome, index)
        if self._record is not None and outcome.episode is not None:
            self._record(outcome.episode)
        if self._progress is not None:
            self._progress(int(self.known.sum()), len(self.known))


class OtherNoise:
    """A policy at its n-th try of the same starts: its noise is another in each.

    Args:
        policy: what acts.
        number: of the try; the first, 0, has the noise of the episodes' own seeds.
    """

    def __init__(self, policy: Any, number: int) -> None:
        self.policy, self.number = policy, number
        self.env_spec = policy.env_spec

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Begin episodes in ``rows``."""
        self.policy.reset(rows, seeds + self.number * TRY)

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """The policy's action, ``(N, A)``."""
        action: NDArray[np.float32] = self.policy.act(observation)
        return action


def play_block(
    env: Environment, policy: Policy, job: Job, seeds: NDArray[np.int64], had: Mapping[int, int] | None = None
) -> Iterator[Outcome]:
    """The outcomes of a block of seeds, ``(n,)``, which begins with every row of the world and of the policy reset.

    ``had`` are those, by their index in the block, that need not be played, with their steps; see :func:`outcomes`.
    """
    return outcomes(
        env,
        policy,
        seeds,
        recording=job.recording,
        record_state=job.record_state,
        provenance=dict(job.provenance),
        hold=job.hold,
        had=had,
    )


def blocks(count: int, size: int) -> list[slice]:
    """Consecutive parts of ``count`` things, ``size`` each, the last with what is left."""
    return [slice(begin, min(begin + size, count)) for begin in range(0, count, max(size, 1))]


def check_block(block: int | None) -> int | None:
    """A block's size.

    Raises:
        UserError: below 1.
    """
    if block is not None and block < 1:
        raise UserError(f"scale.block is how many seeds are played before a batch begins afresh, at least 1; got {block}")
    return block


def expert_of(task: Mapping[str, Any]) -> dict[str, Any]:
    """The node of a task's scripted expert.

    Raises:
        UserError: it has none.
    """
    if not task.get("expert"):
        raise UserError(f"task {task['name']} has no scripted expert; give a policy's checkpoint (collect: source=policy checkpoint=...)")
    return dict(task["expert"])


def check_expert(env_spec: EnvSpec, expert: Policy) -> None:
    """Raise ``UserError`` unless a scripted expert was written for the task and the actions of this environment."""
    wanted = expert.env_spec
    if wanted.task != env_spec.task:
        raise UserError(f"the expert plays task {wanted.task!r}, this world is task {env_spec.task!r}; give task={env_spec.task}")
    if wanted.action.names != env_spec.action.names:
        theirs, ours = ", ".join(wanted.action.names), ", ".join(env_spec.action.names)
        raise UserError(
            f"the expert of task {wanted.task!r} acts on {theirs}, this world takes {ours}; leave out what task.env says of actions"
        )


def make_players(node: Mapping[str, Any] | None) -> Players:
    """What the ``scale`` node of a config names; this process without one."""
    players: Players = instantiate(node) if node else Here()
    return players


def steering_statistics(policy: Any) -> dict[str, float]:
    """Statistics of the steered sampler within a policy, through residual and chunking; empty where nothing was scored."""
    for name in ("base", "sampler"):
        policy = policy if hasattr(policy, "statistics") else getattr(policy, name, policy)
    statistics: dict[str, float] = getattr(policy, "statistics", {})
    return dict(statistics) if statistics.get("decisions") else {}


def mean_statistics(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Statistics of several policies as one: decisions add up, what is a mean over them is weighted by them."""
    parts = [part for part in parts if part]
    decisions = sum(part["decisions"] for part in parts)
    if not parts:
        return {}
    means = {name: sum(part[name] * part["decisions"] for part in parts) / decisions for name in parts[0] if name != "decisions"}
    return {"decisions": decisions, **means}
