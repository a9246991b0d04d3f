"""THE loop: a policy plays given episode seeds in an environment, and every caller (evaluation, collection, critics) uses this one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.multitask import take_task
from robolearn.learning.recorder import Recorder
from robolearn.protocols import Environment, Observation, Policy


@dataclass(frozen=True)
class RolloutResult:
    """How n episodes went, in the order of their seeds.

    Args:
        seeds: ``(n,)`` episode seeds.
        success: ``(n,)`` bool, solved at some step.
        steps: ``(n,)`` control steps until the episode ended.
        stages: ``(n, S)`` bool, stages reached, in the order of ``env_spec.stages``.
        rewards: ``(n,)`` undiscounted sum.
        lost: why an episode was over without a result (physics that diverged, a part off the table), by its place among the seeds.
    """

    seeds: NDArray[np.int64]
    success: NDArray[np.bool_]
    steps: NDArray[np.int64]
    stages: NDArray[np.bool_]
    rewards: NDArray[np.float64]
    lost: dict[int, str] = field(default_factory=dict)

    @property
    def success_rate(self) -> float:
        """Share of solved episodes; NaN when there are none."""
        return float(self.success.mean()) if len(self.success) else float("nan")


@dataclass(frozen=True)
class Outcome:
    """How the episode of one seed went.

    Args:
        index: of its seed among those played.
        success: solved at some step.
        steps: control steps until it ended.
        stages: ``(S,)`` bool, stages reached.
        reward: undiscounted sum.
        lost: why it was over without a result; empty where it was not.
        episode: what was recorded of it, if anything was to be.
    """

    index: int
    success: bool
    steps: int
    stages: NDArray[np.bool_]
    reward: float
    lost: str = ""
    episode: Episode | None = None


def no_result(seeds: NDArray[np.int64], stages: int) -> RolloutResult:
    """The result of n seeds before any is played; :func:`file` puts outcomes in."""
    n = len(seeds)
    return RolloutResult(seeds, np.zeros(n, bool), np.zeros(n, np.int64), np.zeros((n, stages), bool), np.zeros(n))


def file(result: RolloutResult, outcome: Outcome, index: int) -> None:
    """Put an outcome in its place."""
    result.success[index], result.steps[index] = outcome.success, outcome.steps
    result.stages[index], result.rewards[index] = outcome.stages, outcome.reward
    if outcome.lost:
        result.lost[index] = outcome.lost


def rollout(
    env: Environment,
    policy: Policy,
    seeds: Sequence[int] | NDArray[np.int64],
    *,
    record: Callable[[Episode], None] | None = None,
    record_state: bool = False,
    provenance: dict[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
    hold: int = 0,
    watch: Callable[[int, int], None] | None = None,
) -> RolloutResult:
    """Play one episode per seed; row i of N plays ``seeds[i], seeds[i + N], ...``, so short episodes are not favoured.

    Rows whose quota is done repeat their last action until the slowest row is done, or stand still in an environment that has
    ``park(rows (N,) bool)``; what they do counts for nothing.
    The same seeds give the same episodes (on the same number of rows).

    Args:
        env: environment whose autoreset is disabled; the loop resets rows by mask.
        policy: acts in ``env.num_envs`` rows.
        seeds: ``(n,)`` episode seeds, any n; each addresses the initial state and the policy's noise.
        record: called with every finished :class:`Episode`, in order of finishing.
        record_state: also record ``env.get_state()`` before each action.
        provenance: written into every recorded episode (``source`` is ``rollout`` unless given), beside its seed.
        progress: called with (episodes done, n) when episodes end.
        hold: steps the policy goes on acting after an episode's end, for a recording or video that shows the result;
            they count neither in ``steps`` nor in ``rewards``.
        watch: called as ``watch(i, row)`` after every step of seed i, which row plays; to draw it, say.

    Raises:
        UserError: the environment resets rows by itself, the policy was trained on other tasks, or its action is not finite.
    """
    seeds = np.asarray(seeds, np.int64)
    result = no_result(seeds, len(env.env_spec.stages))
    options: dict[str, Any] = {"record_state": record_state, "provenance": provenance, "hold": hold, "watch": watch}
    for done, outcome in enumerate(outcomes(env, policy, seeds, recording=record is not None, **options), 1):
        file(result, outcome, outcome.index)
        if record is not None and outcome.episode is not None:
            record(outcome.episode)
        if progress:
            progress(done, len(seeds))
    return result


def outcomes(
    env: Environment,
    policy: Policy,
    seeds: Sequence[int] | NDArray[np.int64],
    *,
    recording: bool = False,
    record_state: bool = False,
    provenance: dict[str, Any] | None = None,
    hold: int = 0,
    watch: Callable[[int, int], None] | None = None,
    had: Mapping[int, int] | None = None,
) -> Iterator[Outcome]:
    """:func:`rollout`, an outcome at a time as episodes end; ``recording`` keeps the episodes themselves.

    ``had`` are the seeds, by their index, whose outcome there is already, and how many steps each took. They are not played: their row
    stands still for as long, so that the others' episodes begin when they did, and a network serves the same rows together as it did.
    """
    known = {"source": "rollout", **(provenance or {})}
    recorder = Recorder(env, env.max_episode_steps + hold, record_state, known) if recording else None
    return _Rollout(env, policy, np.asarray(seeds, np.int64), hold, had or {}).play(recorder, watch)


class _Rollout:
    """State of the loop: which seed each row plays, and what each row's episode has come to."""

    def __init__(self, env: Environment, policy: Policy, seeds: NDArray[np.int64], hold: int, had: Mapping[int, int]) -> None:
        _require_disabled_autoreset(env)
        take_task(policy, env.env_spec.task)
        self.env, self.policy, self.seeds, self.hold = env, policy, seeds, hold
        rows = env.num_envs
        self.pause = np.zeros(len(seeds), np.int64)  # steps for which a seed's row stands still; 0 where it is to be played
        for index, steps in had.items():
            self.pause[index] = steps + hold
        self.index = np.arange(rows)  # the seed each row plays, while below n
        self.clock = np.zeros(rows, np.int64)  # steps since reset
        self.since_end = np.zeros(rows, np.int64)  # 0 while the episode counts
        self.ended = np.zeros((2, rows), bool)  # terminated, truncated at the end
        self.success = np.zeros(rows, bool)
        self.stages = np.zeros((rows, len(env.env_spec.stages)), bool)
        self.steps = np.zeros(rows, np.int64)
        self.rewards = np.zeros(rows)
        self.lost = [""] * rows

    @property
    def playing(self) -> NDArray[np.bool_]:
        return self.index < len(self.seeds)

    @property
    def standing(self) -> NDArray[np.int64]:
        """``(N,)`` steps for which each row stands still instead of playing; 0 where it plays."""
        return np.where(self.playing, self.pause[self.index % len(self.seeds)], 0)

    def play(self, recorder: Recorder | None, watch: Callable[[int, int], None] | None) -> Iterator[Outcome]:
        if len(self.seeds) == 0:
            return
        observation = self._reset(np.ones(self.env.num_envs, bool))
        self._park(~self.playing)
        held = np.zeros((self.env.num_envs, self.env.env_spec.action.size), np.float32)
        missing = np.count_nonzero(self.pause == 0)
        while missing:
            standing = self.standing
            playing = self.playing & (standing == 0)
            held = np.where(playing[:, None], self._act(observation, playing), held)
            if recorder:
                recorder.before(self.clock, observation, held)
            observation, reward, terminated, truncated, info = self.env.step(held)
            self._count(playing, reward, terminated, truncated, info)
            if recorder:
                recorder.after(self.clock, np.where(self.since_end > 1, 0.0, reward))
            if watch:
                for row in np.flatnonzero(playing):
                    watch(int(self.index[row]), int(row))
            self.clock[self.playing] += 1
            finished = playing & (self.since_end > self.hold)
            passed = (standing > 0) & (self.clock == standing)
            if (finished | passed).any():
                ended = [self._outcome(int(row), recorder) for row in np.flatnonzero(finished)]
                missing -= len(ended)
                observation = self._next(finished | passed, observation)
                yield from ended

    def _act(self, observation: Observation, playing: NDArray[np.bool_]) -> NDArray[np.float32]:
        actions = self.policy.act(observation)
        if not np.isfinite(actions[playing]).all():
            row = int(np.flatnonzero(playing & ~np.isfinite(actions).all(1))[0])
            seed, step = self.seeds[self.index[row]], self.clock[row]
            raise UserError(f"the policy's action is NaN or infinite in the episode of seed {seed} at step {step}: {actions[row]}")
        return actions

    def _count(self, playing: NDArray[np.bool_], reward: Any, terminated: Any, truncated: Any, info: dict[str, Any]) -> None:
        counts = playing & (self.since_end == 0)
        self.steps += counts
        self.rewards += np.where(counts, reward, 0.0)
        self.success |= counts & info["success"]
        self.stages |= counts[:, None] & info["stages"]
        self.ended |= counts & np.stack([terminated, truncated])
        self.since_end += self.ended.any(0)
        if "lost" in info:
            for row in np.flatnonzero(counts & info["lost"]):
                self.lost[row] = str(info["reason"][row]) if "reason" in info else "lost"

    def _outcome(self, row: int, recorder: Recorder | None) -> Outcome:
        return Outcome(
            int(self.index[row]),
            bool(self.success[row]),
            int(self.steps[row]),
            self.stages[row].copy(),
            float(self.rewards[row]),
            self.lost[row],
            self._episode(recorder, row) if recorder else None,
        )

    def _next(self, finished: NDArray[np.bool_], observation: Observation) -> Observation:
        """Start the next episodes of the finished rows."""
        for current in (self.success, self.steps, self.stages, self.rewards):
            current[finished] = 0
        for row in np.flatnonzero(finished):
            self.lost[row] = ""
        self.ended[:, finished] = False
        self.since_end[finished] = 0
        self.clock[finished] = 0
        self.index[finished] += self.env.num_envs
        start = finished & self.playing
        self._park(finished & ~start)
        return self._reset(start) if start.any() else observation

    def _park(self, rows: NDArray[np.bool_]) -> None:
        """Rows that play no more need not cost a world that can let them stand."""
        if rows.any() and hasattr(self.env, "park"):
            self.env.park(rows)

    def _reset(self, rows: NDArray[np.bool_]) -> Observation:
        row_seeds = self.seeds[self.index % len(self.seeds)]  # idle rows are given some seed; nothing they do counts
        everywhere = bool(rows.all())
        observation, _ = self.env.reset(seed=row_seeds.tolist(), options=None if everywhere else {"reset_mask": rows})
        self.policy.reset(rows, row_seeds)
        self._park(rows & (self.standing > 0))
        result: Observation = observation
        return result

    def _episode(self, recorder: Recorder, row: int) -> Episode:
        terminated, truncated = (bool(value) for value in self.ended[:, row])
        success = bool(self.success[row])
        known = {"seed": int(self.seeds[self.index[row]])}
        if terminated and not success:
            known["failure_step"] = int(self.steps[row]) - 1
        return recorder.episode(row, int(self.clock[row]), terminated, truncated, success, known)


def _require_disabled_autoreset(env: Environment) -> None:
    mode = getattr(env, "autoreset_mode", None) or (getattr(env, "metadata", None) or {}).get("autoreset_mode")
    name = getattr(mode, "name", mode)
    if name is not None and str(name).upper() != "DISABLED":
        raise UserError(f"rollout resets rows by itself and needs autoreset_mode=DISABLED; this environment has {name}")
