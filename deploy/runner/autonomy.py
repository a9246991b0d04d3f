"""The policy's side of a run: at every policy step an observation goes out, and the target that comes of it is what the robot follows."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.chunks.executor import Action, ChunkExecutor
from robolearn.deploy.latency import DelayEstimator, early_target

Observation = Mapping[str, NDArray[Any]]


class Answer(Protocol):
    """What came of a question to the inference, see :class:`robolearn.deploy.serving.inference.Outcome`."""

    @property
    def id(self) -> int:
        """What ``submit_...`` returned."""
        ...

    @property
    def kind(self) -> str:
        """``sample``, ``refine`` or ``dial``."""
        ...

    @property
    def value(self) -> NDArray[np.float32] | None:
        """A chunk or an action; None where there is none."""
        ...

    @property
    def error(self) -> str:
        """Why there is none, in words."""
        ...

    @property
    def submitted(self) -> float:
        """[s]."""
        ...

    @property
    def finished(self) -> float:
        """[s] on the same clock."""
        ...


class Inference(Protocol):
    """Asks a policy server without ever waiting for it."""

    def submit_sample(self, observation: Observation, seed: int, decision: int) -> int:
        """Ask for a chunk from ``{name: (To, ...)}``; the question's number."""
        ...

    def submit_refine(self, observation: Observation, base_action: NDArray[Any], phase: int) -> int:
        """Ask what a residual makes of a base action ``(A,)``; the question's number."""
        ...

    def poll(self) -> Sequence[Answer]:
        """What came since the last call."""
        ...


@dataclass(frozen=True)
class _Step:
    """A policy step: its number, when it began [ns], and what was seen."""

    number: int
    begun: int
    observation: Observation


class Autonomy:
    """Turns observations into targets through chunks, and refines these where the policy has a residual.

    Nothing here waits: :meth:`begin_step` is called on the policy's grid, :meth:`poll` at every tick, and :attr:`target` is the last that
    is known. A residual that does not answer within ``refine_s`` leaves the base's action as it is.

    Args:
        inference: asks the policy server.
        executor: turns chunks into actions.
        delay: estimates how many steps a chunk takes.
        observation_horizon: observations To that a chunk is drawn from.
        residual: whether each base action is refined.
        refine_s: how long a residual may take [s].
        gripper_ahead: policy steps by which the gripper is told ahead of its time, as far as the chunk reaches.
        note: told of every answer.

    Attributes:
        target: ``(A,)`` what to follow, None before the first.
        action: where the target came from.
        late_steps: steps in a row that have passed without an action: what the robot has been holding for.
        trouble: why the last chunk that was asked for did not come, in words; empty where it came.
        begun: when the current step began [s on ``time.monotonic``].
        answered: step whose action the target is.
        counts: steps, refined, not refined in time, refused chunks and failures by reason.
    """

    def __init__(
        self,
        inference: Inference,
        executor: ChunkExecutor,
        delay: DelayEstimator,
        *,
        observation_horizon: int,
        residual: bool,
        refine_s: float = 0.05,
        gripper_ahead: int = 0,
        note: Callable[[Answer], None] | None = None,
    ) -> None:
        self._inference, self.executor, self._delay = inference, executor, delay
        self._horizon, self._residual, self._refine_ns = observation_horizon, residual, round(refine_s * 1e9)
        self._gripper_ahead, self._note = gripper_ahead, note
        self.counts: Counter[str] = Counter()
        self.trouble = ""
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.late_steps = 0
        self._begin(seed)

    def restart(self) -> None:
        """Begin again within the episode: history and plan are forgotten, and answers to come are not believed."""
        self._begin(self._seed)

    def _begin(self, seed: int) -> None:
        self.executor.reset(seed)
        self._seed = seed
        self._history: list[Observation] = []
        self._samples: dict[int, int] = {}  # number of the inference's question to that of the executor's request
        self._step: _Step | None = None
        self._open = False  # whether the current step has no action yet
        self._refining: tuple[int, Action] | None = None
        self.target: NDArray[np.float32] | None = None
        self.action: Action | None = None
        self.begun, self.answered = 0.0, -1

    def begin_step(self, number: int, observation: Observation, now: int) -> None:
        """A policy step ``number`` begins at ``now`` [ns] with ``{name: (...)}``."""
        self._settle_refinement()
        self.begun = time.monotonic()
        self.late_steps += self._open
        self._history = ([observation] * self._horizon if not self._history else [*self._history, observation])[-self._horizon :]
        self._step, self._open = _Step(number, now, observation), True
        self.counts["steps"] += 1
        request = self.executor.wants(number, self._delay.steps)
        if request is not None:
            seen = {name: np.stack([entry[name] for entry in self._history]) for name in observation}  # (To, ...)
            self._samples[self._inference.submit_sample(seen, request.seed, request.decision)] = request.id
        self._decide()

    def poll(self, now: int) -> None:
        """Take what the inference has answered by ``now`` [ns]."""
        for answer in self._inference.poll():
            if self._note is not None:
                self._note(answer)
            if answer.id in self._samples:
                self._take_chunk(answer, self._samples.pop(answer.id))
            elif self._refining is not None and answer.id == self._refining[0]:
                self._take_refined(answer)
            elif answer.kind != "dial":  # that is another's question
                self.counts["stale answers"] += 1
        if self._open:
            self._decide()
        if self._refining is not None and self._step is not None and now - self._step.begun > self._refine_ns:
            self._settle_refinement()

    def _take_chunk(self, answer: Answer, request: int) -> None:
        self.trouble = answer.error
        if answer.value is None:
            self.executor.failed(request)
            self.counts["failed chunks"] += 1
            return
        reason = self.executor.accept(request, answer.value)
        if reason:
            self.counts[f"refused chunks: {reason}"] += 1
        else:
            self._delay.add(answer.finished - answer.submitted)

    def _take_refined(self, answer: Answer) -> None:
        assert self._refining is not None
        action = self._refining[1]
        refined = answer.value
        if refined is None or refined.shape != action.target.shape or not np.isfinite(refined).all():
            self.counts["not refined: failed" if refined is None else "not refined: unusable"] += 1
            refined = action.target
        else:
            self.counts["refined"] += 1
        self._refining = None
        self._follow(refined, action)

    def _settle_refinement(self) -> None:
        """Go on with the base's action where the residual has not answered."""
        if self._refining is not None:
            self.counts["not refined: late"] += 1
            action, self._refining = self._refining[1], None
            self._follow(action.target, action)

    def _decide(self) -> None:
        assert self._step is not None
        action = self.executor.action(self._step.number)
        if action is None:
            return
        self._open, self.action, self.late_steps = False, action, 0
        if self._residual:
            self._refining = (self._inference.submit_refine(self._step.observation, action.target, action.phase), action)
        else:
            self._follow(action.target, action)

    def _follow(self, target: NDArray[np.float32], action: Action) -> None:
        if self._gripper_ahead:
            early = early_target(action.target, self._gripper_ahead, self.executor.ahead)
            target = np.concatenate([target[:-1], early[-1:]])
        self.target, self.answered = target, action.step
