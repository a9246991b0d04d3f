"""Experience of a residual policy: N rows play on, each with its own episode and its own place in the base's chunk."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robolearn.errors import UserError
from robolearn.learning.ppo import ADVICE
from robolearn.learning.restarts import RestartBank
from robolearn.learning.reward_scale import RewardScale
from robolearn.protocols import Environment, Observation
from robolearn.seeding import split_seeds

Arrays = dict[str, NDArray[Any]]
STATES_PER_STAGE = 512  # kept to restart from
SEEDS_PER_RUN = 1 << 32  # training episodes that one training seed may play


class BasePolicy(Protocol):
    """The frozen policy under the residual, with its state for exact resume."""

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Queues, history and noise addresses of all rows."""
        ...

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore :meth:`state_dict`."""
        ...


class ResidualHeads(Protocol):
    """The trainable part: features to residuals and values; ``step_size (A,)`` is what a residual of 1 adds."""

    actor: nn.Module
    critic: nn.Module
    log_std: nn.Parameter
    step_size: NDArray[np.float32]
    residual_limit: float | None

    def features(
        self, observation: Observation, base_action: NDArray[np.float32], phase: NDArray[Any] | None = None
    ) -> NDArray[np.float32]:
        """What the heads read, ``(N, F)``."""
        ...

    def merge(self, base_action: NDArray[np.float32], residual: NDArray[np.float32], strength: float = 1.0) -> NDArray[np.float32]:
        """Base plus residual, ``(N, A)``."""
        ...


class ResidualActor(Protocol):
    """A policy made of a base and a residual model."""

    base: BasePolicy
    model: ResidualHeads

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Start new episodes in ``rows``."""
        ...

    def propose(self, observation: Observation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The base's action and the heads' input."""
        ...

    def foresee(self, observation: Observation) -> NDArray[np.float32]:
        """The heads' input if the rows went on, without advancing the base."""
        ...


@dataclass(frozen=True)
class Experience:
    """T consecutive steps of N rows, whatever episodes they belong to.

    Args:
        features: ``(T + 1, N, F)`` what the heads read before each step and after the last.
        residuals: ``(T, N, A)`` as drawn.
        rewards: ``(T, N)``.
        terminated: ``(T, N)`` bool.
        truncated: ``(T, N)`` bool, never where ``terminated``.
        final_features: ``(C, F)`` what the heads would have read after each truncated step, in the order of ``truncated.nonzero()``.
    """

    features: Tensor
    residuals: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    final_features: Tensor


class Collector:
    """Plays T steps at a time in N rows.

    Rows are reset one by one as their episodes end, so no step after a success is ever played. For the value of the
    observation that a time limit cut an episode at, the base action that goes with it is the next one of the row's chunk
    (the last one where the chunk is used up, one time in h), since asking the base anew would advance its queues.

    Args:
        env: N rows with autoreset disabled.
        policy: residual policy in N rows.
        seed: training seed; it addresses the episodes, and runs with different seeds share none.
        stage_reward: added once an episode for each stage reached.
        restart_share: of the episodes begin from a state that an earlier one passed through; see
            :class:`robolearn.learning.restarts.RestartBank`. Their success is reported apart.
        reward_scale: normalises the rewards where given.

    Raises:
        UserError: the environment resets rows by itself.
    """

    def __init__(
        self,
        env: Environment,
        policy: ResidualActor,
        seed: int,
        *,
        stage_reward: float = 0.0,
        restart_share: float = 0.0,
        reward_scale: RewardScale | None = None,
    ) -> None:
        mode = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
        if mode is not None and getattr(mode, "name", mode) != "DISABLED":
            raise UserError(f"the learner resets rows by itself and needs autoreset_mode=disabled; this environment has {mode}")
        self.env, self.policy, self.seed = env, policy, seed
        self.stage_reward, self.reward_scale = stage_reward, reward_scale
        rows = env.num_envs
        self.episodes_begun = 0
        self.clock = np.zeros(rows, np.int64)
        self.stages = np.zeros((rows, len(env.env_spec.stages)), bool)
        self.restarted = np.zeros(rows, bool)
        self.bank = self._make_bank(restart_share) if restart_share else None
        self.seconds: dict[str, float] = {}
        self.base_action, self.features = self._propose(self._restart(np.ones(rows, bool)))

    def play(self, steps: int, draw: Callable[[int, Tensor], Tensor]) -> tuple[Experience, dict[str, float]]:
        """Play ``steps`` in every row.

        Args:
            steps: T.
            draw: ``(t, features (N, F)) -> residuals (N, A)``, under inference mode.

        Returns:
            The experience, and metrics: of the episodes that ended meanwhile, and the time spent.
        """
        rows = self.env.num_envs
        self.seconds = {"sim": 0.0, "base": 0.0}
        # A simulator may know more than its state tells (which parts sleep). Loading the state here puts a run that goes on
        # and one that is resumed from a checkpoint on the same footing, to the bit.
        state = self.env.get_state()
        self.env.set_state(state)
        if self.bank is not None:
            self.bank.keep(state, self.stages)
        features = torch.empty(steps + 1, rows, self.features.shape[1])
        residuals = torch.empty(steps, rows, self.base_action.shape[1])
        rewards, ends = np.zeros((steps, rows), np.float32), np.zeros((2, steps, rows), bool)
        cut: list[NDArray[np.float32]] = [self.features[:0]]
        finished: list[Arrays] = []
        for step in range(steps):
            features[step] = torch.from_numpy(self.features)
            with torch.inference_mode():
                residuals[step] = draw(step, features[step])
            observation, reward, terminated, truncated, info = self._step(residuals[step].numpy())
            over, truncated = terminated | truncated, truncated & ~terminated
            rewards[step], ends[:, step] = self._shaped(reward, info["stages"], over), (terminated, truncated)
            if truncated.any():
                cut.append(self.policy.foresee(observation)[truncated])
            if over.any():
                ended = {"success": info["success"], "length": self.clock, "stages": self.stages, "restarted": self.restarted}
                finished.append({name: values[over] for name, values in ended.items()})
                observation = self._restart(over)
            self.base_action, self.features = self._propose(observation)
        features[steps] = torch.from_numpy(self.features)
        tensors = (torch.from_numpy(array) for array in (rewards, *ends, np.concatenate(cut)))
        return Experience(features, residuals, *tensors), self._metrics(finished)

    def _step(self, residuals: NDArray[np.float32]) -> Any:
        action = self.policy.model.merge(self.base_action, residuals)
        if not np.isfinite(action).all():
            raise UserError(f"the policy's action is NaN or infinite; {ADVICE}")
        begun = time.perf_counter()
        observation, reward, terminated, truncated, info = self.env.step(action)
        self.seconds["sim"] += time.perf_counter() - begun
        self.clock += 1
        return observation, reward, terminated, truncated, info

    def _shaped(self, rewards: NDArray[Any], stages: NDArray[np.bool_], over: NDArray[np.bool_]) -> NDArray[np.float64]:
        fresh = stages & ~self.stages
        self.stages |= stages
        rewards = rewards + self.stage_reward * fresh.sum(1)
        return self.reward_scale(rewards, over) if self.reward_scale else rewards

    def _propose(self, observation: Observation) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        begun = time.perf_counter()
        proposal = self.policy.propose(observation)
        self.seconds["base"] = self.seconds.get("base", 0.0) + time.perf_counter() - begun
        return proposal

    def _restart(self, rows: NDArray[np.bool_]) -> Observation:
        """New training episodes in ``rows``; the observation of all rows."""
        begun = time.perf_counter()
        offset = self.seed * SEEDS_PER_RUN + self.episodes_begun
        seeds = split_seeds("train", len(rows), offset)
        seeds[rows] = split_seeds("train", int(rows.sum()), offset)
        observation, _ = self.env.reset(seed=seeds.tolist(), options=None if rows.all() else {"reset_mask": rows})
        self.seconds["sim"] = self.seconds.get("sim", 0.0) + time.perf_counter() - begun
        self.policy.reset(rows, seeds)
        self.episodes_begun += int(rows.sum())
        self.clock[rows] = 0
        self.stages[rows] = False
        return observation if self.bank is None else self._restart_from_bank(self.bank, rows, seeds, observation)

    def _restart_from_bank(
        self, bank: RestartBank, rows: NDArray[np.bool_], seeds: NDArray[np.int64], observation: Observation
    ) -> Observation:
        """Move some of the rows that have just begun an episode to where earlier ones have been."""
        chosen, states, stages = bank.draw(seeds)
        chosen = chosen & rows
        self.restarted = np.where(rows, chosen, self.restarted)
        if not chosen.any():
            return observation
        self.env.set_state(states, chosen)
        self.stages[chosen] = stages[chosen]
        moved: Observation = self.env.observation()  # type: ignore[attr-defined]
        return moved

    def _make_bank(self, share: float) -> RestartBank:
        if not hasattr(self.env, "observation"):
            raise UserError("restart_share needs an environment with observation(), which shows its rows after set_state")
        return RestartBank(share, STATES_PER_STAGE, len(self.env.env_spec.stages), self.env.get_state().shape[1])

    def _metrics(self, finished: list[Arrays]) -> dict[str, float]:
        metrics = {f"time/{name}": seconds for name, seconds in self.seconds.items()}
        if not finished:
            return metrics
        names = ("success", "length", "stages", "restarted")
        success, length, stages, restarted = (np.concatenate([part[name] for part in finished]) for name in names)
        if restarted.any():
            metrics |= {"train/restart_episodes": float(restarted.sum()), "train/restart_success": float(success[restarted].mean())}
        if restarted.all():
            return metrics
        success, length, stages = success[~restarted], length[~restarted], stages[~restarted]
        metrics |= {"train/episodes": float(len(success)), "train/success": float(success.mean()), "train/length": float(length.mean())}
        return metrics | {f"train/stage_{name}": float(rate) for name, rate in zip(self.env.env_spec.stages, stages.mean(0), strict=True)}

    def state_dict(self) -> Arrays:
        """All that the next step depends on, beside the model and the generator."""
        return {
            "env": self.env.get_state(),
            "episodes_begun": np.array([self.episodes_begun]),
            "clock": self.clock.copy(),
            "restarted": self.restarted.copy(),
            **({f"bank.{name}": value for name, value in self.bank.state_dict().items()} if self.bank is not None else {}),
            "stages": self.stages.copy(),
            "base_action": self.base_action.copy(),
            "features": self.features.copy(),
            **({f"scale.{name}": getattr(self.reward_scale, name).copy() for name in RewardScale.STATE} if self.reward_scale else {}),
            **{f"base.{name}": value for name, value in self.policy.base.state_dict().items()},
        }

    def load_state_dict(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Restore :meth:`state_dict` to the bit.

        Raises:
            UserError: it was saved with another number of environments.
        """
        if state["env"].shape != self.env.get_state().shape:
            raise UserError(
                f"the run was begun with {len(state['env'])} environments of {state['env'].shape[1]} numbers; resume with the same"
            )
        self.env.set_state(state["env"])
        self.episodes_begun = int(state["episodes_begun"][0])
        self.clock, self.stages, self.restarted = (state[name].copy() for name in ("clock", "stages", "restarted"))
        if self.bank is not None:
            self.bank.load_state_dict(_under("bank.", state))
        self.base_action, self.features = state["base_action"].copy(), state["features"].copy()
        if self.reward_scale:
            for name in RewardScale.STATE:
                setattr(self.reward_scale, name, state[f"scale.{name}"].copy())
        self.policy.base.load_state_dict(_under("base.", state))


def _under(prefix: str, state: Mapping[str, NDArray[Any]]) -> Arrays:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
