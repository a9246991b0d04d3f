"""The policy that a server holds: what it takes and gives for one robot, without a state between calls, and its dials."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.serving.budget import BudgetedCritic
from robolearn.errors import UserError, nearest
from robolearn.learning.multitask import take_task
from robolearn.protocols import ChunkedActing, Critic, Policy, RefinedActing, Steering
from robolearn.spec import EnvSpec

WARM_UPS = 3  # of each call: the first packs weights, the second meets a warm cache, the third is as all later ones


@dataclass(frozen=True)
class Result:
    """What a call gave: an array, words on how it came about, and how long its parts took [s]."""

    value: NDArray[np.float32]
    info: Mapping[str, Any]
    timings: Mapping[str, float]


class ServedModel:
    """A policy without its episode: whoever asks brings history, seed and count of decisions, so that two robots never meet.

    Args:
        policy: chunked, with a residual or without; built for one row.
        name: which model this is, such as a checkpoint's fingerprint.
        steering_budget: [s] that the critic may take for a decision; None for no limit.

    Raises:
        UserError: the policy executes no chunks.
    """

    def __init__(self, policy: Policy, name: str, steering_budget: float | None = None) -> None:
        self.policy, self.name = policy, name
        self._refined = policy if isinstance(policy, RefinedActing) else None
        chunked = policy if self._refined is None else self._refined.base
        if not isinstance(chunked, ChunkedActing):
            raise UserError(f"a {type(policy).__name__} draws no chunks, which is what a server serves")
        self.sampler, self.action_horizon = chunked.sampler, chunked.action_horizon
        self.spec: EnvSpec = policy.env_spec
        self.observation_keys = tuple(self.sampler.observation_keys)
        self.refine_keys = () if self._refined is None else tuple(self._refined.refine_keys)
        self._steered = self.sampler if isinstance(self.sampler, Steering) else None
        self._budget = steering_budget
        self.critic: BudgetedCritic | None = None
        self.task: str | None = None
        self.moved = 0
        self._warm_up()  # before the time limit counts
        if self._steered is not None:
            self._steered.wrap_critic(self._limited)
            self._warm_up()
            self.forget()

    def forget(self) -> None:
        """Count what steering does from nothing."""
        self.moved = 0
        if self.critic is not None:
            self.critic.reset_statistics()

    def _limited(self, critic: Critic) -> BudgetedCritic:
        self.critic = BudgetedCritic(critic, self._budget)
        return self.critic

    def check(self, robot: EnvSpec) -> None:
        """Raise ``SpecError`` unless this policy can act for a robot that observes and accepts that."""
        robot.check_serves(self.spec, tuple(dict.fromkeys((*self.observation_keys, *self.refine_keys))))

    def welcome(self) -> dict[str, Any]:
        """What a client is told of the model: the fields of the message."""
        return {
            "model": self.name,
            "spec": self.spec.to_dict(),
            "observation_keys": self.observation_keys,
            "refine_keys": self.refine_keys,
            "observation_horizon": self.sampler.observation_horizon,
            "prediction_horizon": self.sampler.prediction_horizon,
            "action_horizon": self.action_horizon,
            "residual": self._refined is not None,
            "critic": self._steered is not None,
            "candidates": 1 if self._steered is None else self._steered.candidates,
            "dials": self.dials(),
        }

    def take_task(self, task: str) -> None:
        """Act for a robot's task from now on, where the policy knows several.

        Raises:
            UserError: it was trained on others.
        """
        if task != self.task:
            self.task = None
            take_task(self.policy, task)
            self.task = task

    def sample(self, observation: Mapping[str, NDArray[Any]], seed: int, decision: int) -> Result:
        """Draw a chunk: the history ``{name: (To, ...)}``, episode seed and chunks drawn before -> ``(Tp, A)`` in environment units.

        Raises:
            UserError: an observation is missing, of another shape or not finite.
            RuntimeError: the policy gave numbers that are not finite.
        """
        history = self._batch(observation, self.observation_keys, (self.sampler.observation_horizon,))
        if self._steered is not None:
            self._steered.reset_statistics()
        begun = time.perf_counter()
        chunks = self.sampler.sample(history, np.array([seed], np.int64), np.array([decision], np.int64))  # (1, 1, Tp, A)
        taken = time.perf_counter() - begun
        steering = 0.0 if self.critic is None else self.critic.seconds_taken
        return Result(_finite(chunks[0, 0]), self._picked(), {"inference": taken - steering, "steering": steering})

    def refine(self, observation: Mapping[str, NDArray[Any]], base_action: NDArray[Any], phase: int) -> Result:
        """Add the residual: ``{name: (...)}``, the base's action ``(A,)`` and its place in its chunk -> ``(A,)``.

        Raises:
            UserError: there is no residual, or what came has another shape or is not finite.
            RuntimeError: the policy gave numbers that are not finite.
        """
        if self._refined is None:
            raise UserError("this policy has no residual: there is nothing to refine an action with")
        _check("base_action", base_action, (self.spec.action.size,))
        if phase >= self.sampler.prediction_horizon:
            raise UserError(f"phase {phase} is beyond the chunk of {self.sampler.prediction_horizon} actions")
        now = self._batch(observation, self.refine_keys, ())
        begun = time.perf_counter()
        action = self._refined.refine(now, base_action.astype(np.float32)[None], np.array([phase], np.int64))
        return Result(_finite(action[0]), {}, {"inference": time.perf_counter() - begun})

    def dials(self) -> dict[str, float]:
        """What can be turned at run time: ``residual`` and ``guidance``, where there is a residual and a critic."""
        residual = {} if self._refined is None else {"residual": float(self._refined.strength)}
        return residual | ({} if self._steered is None else {"guidance": float(self._steered.strength)})

    def dial(self, name: str, value: float) -> None:
        """Turn one of :meth:`dials`, for every client.

        Raises:
            UserError: there is no such dial, or the value is below 0.
        """
        there = self.dials()
        if name not in there:
            raise UserError(f"this policy has no dial {name!r}; it has {', '.join(there) or 'none'}{nearest(name, there)}")
        if not 0 <= value < math.inf:
            raise UserError(f"{name} is 0 (the base alone) or more, 1 is as trained; got {value}")
        turned: Any = self._refined if name == "residual" else self._steered
        turned.strength = float(value)

    def statistics(self) -> dict[str, Any]:
        """What steering did so far: decisions that moved off the base's own draw, and the critic's failures by kind."""
        return {} if self.critic is None else {**self.critic.counts, "moved": self.moved, "error": self.critic.error}

    def sample_bytes(self) -> int:
        """Bytes of the arrays of one request to sample; states travel as float32."""
        sizes = [_numbers(self.spec, name) for name in self.observation_keys]
        return self.sampler.observation_horizon * sum(sizes)

    def _picked(self) -> dict[str, Any]:
        if self._steered is None or self.critic is None:
            return {}
        told = self._steered.statistics
        moved = bool(told["decisions"] and told["abstained"] < 1)
        self.moved += moved
        return {"candidates": self._steered.candidates, "moved": moved, "gain": told["gain"], "fallback": self.critic.outcome}

    def _batch(self, observation: Mapping[str, NDArray[Any]], keys: tuple[str, ...], leading: tuple[int, ...]) -> dict[str, NDArray[Any]]:
        """What the policy reads, as a row of its own: ``{name: (1, *leading, ...)}``; images as they are, all else float32."""
        missing = [name for name in keys if name not in observation]
        if missing:
            raise UserError(f"observation {missing[0]!r} is missing; the policy reads {', '.join(keys)}; got {', '.join(observation)}")
        row: dict[str, NDArray[Any]] = {}
        for name in keys:
            array, spec = observation[name], self.spec.observation[name]
            if (array.dtype == np.uint8) != (spec.dtype == "uint8"):
                raise UserError(f"observation {name!r} is {array.dtype}, expected {spec.dtype}")
            _check(f"observation {name!r}", array, (*leading, *spec.shape))
            row[name] = (array.copy() if array.dtype == np.uint8 else array.astype(np.float32))[None]
        return row

    def _warm_up(self) -> None:
        """Ask everything a few times, so that later calls meet nothing cold; what comes of it does not matter."""
        spec, count = self.spec.observation, self.sampler.observation_horizon
        seen = {name: np.zeros((count, *spec[name].shape), spec[name].dtype) for name in self.observation_keys}
        now = {name: np.zeros(spec[name].shape, spec[name].dtype) for name in self.refine_keys}
        try:
            self.take_task(self.spec.task)
        except UserError:  # one of several tasks, which the first robot will name
            return
        for index in range(WARM_UPS):
            chunk = self.sample(seen, seed=0, decision=index).value
            if self._refined is not None:
                self.refine(now, chunk[0], phase=0)


def _numbers(spec: EnvSpec, name: str) -> int:
    entry = spec.observation[name]
    return math.prod(entry.shape) * (1 if entry.dtype == "uint8" else 4)


def _check(what: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise UserError(f"{what} has shape {array.shape}, expected {shape}")
    if array.dtype != np.uint8 and not np.isfinite(array).all():
        raise UserError(f"{what} holds NaN or infinity")


def _finite(actions: NDArray[np.float32]) -> NDArray[np.float32]:
    if not np.isfinite(actions).all():
        raise RuntimeError("the policy gave actions that are not finite")
    return actions
