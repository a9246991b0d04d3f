"""Turns chunks that come when they come into one action for each policy step: what to ask, what to believe, what to play."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.chunks.mixing import ActionMixer, Floats
from robolearn.deploy.chunks.modes import Draw, Ensemble, InTurn, Mode, RealTime, Receding
from robolearn.errors import UserError, check_positive, nearest
from robolearn.spec import ActionSpec

MODES = ("synchronous", "receding", "ensemble", "realtime")


@dataclass(frozen=True)
class Request:
    """A chunk that should be drawn from the observation of ``step``.

    Args:
        id: of this request alone; the reply carries it.
        epoch: counts resets.
        seed: of the episode; with ``decision`` it addresses the noise.
        decision: counts the requests of the episode, from 0.
        step: policy step of the observation.
        delay: steps that the reply is expected to take.
        prefix: ``(n, A)`` actions that are planned from ``step`` on, for a server that can inpaint; of ``realtime`` alone.
        weights: ``(n,)`` how firmly: 1 is frozen, towards 0 the chunk is freer.
    """

    id: int
    epoch: int
    seed: int
    decision: int
    step: int
    delay: int
    prefix: Floats
    weights: NDArray[np.float32]


@dataclass(frozen=True)
class Action:
    """What to do at a step.

    Args:
        step: the policy step.
        target: ``(A,)`` canonical action.
        phase: actions of this decision played before, as a residual model expects.
        decision: whose chunk it is of; of several that are mixed the newest.
        fresh: whether it is the first of its decision.
    """

    step: int
    target: Floats
    phase: int
    decision: int
    fresh: bool


@dataclass
class Counts:
    """What happened since the executor was made.

    Attributes:
        requested: chunks asked.
        accepted: chunks taken.
        failed: requests that were given up.
        failures: refused chunks and failed requests since the last that was taken: a watchdog's.
        late_steps: steps that passed without an action after an episode's first.
        refused: chunks not taken, by reason: ``unknown``, ``duplicate``, ``stale`` (given up before), ``epoch`` (of before a
            reset), ``shape``, ``not finite``, ``no rotation``, ``late`` (all its actions are of the past).
    """

    requested: int = 0
    accepted: int = 0
    failed: int = 0
    failures: int = 0
    late_steps: int = 0
    refused: Counter[str] = field(default_factory=Counter)


class ChunkExecutor:
    """Executes the chunks of one policy on one robot; see :mod:`robolearn.deploy.chunks.modes` for the ways.

    At each policy step, as often as wished: ``wants(step)`` and, where there is a request, an inference is begun; ``accept`` is
    called with what came; ``action(step)`` is what to do. Steps are counted by the caller and never go back between resets.
    With replies within the step, ``synchronous`` and ``receding`` play what ``policies.chunking.ChunkedPolicy`` plays, to the bit.

    Not thread-safe: all of it belongs to the command loop.

    Args:
        action: the canonical action, of one arm or several.
        prediction_horizon: actions of a chunk Tp.
        action_horizon: actions h executed before a newer chunk is wanted, at most Tp.
        mode: ``synchronous``, ``receding``, ``ensemble`` or ``realtime``.
        decay: of an ensemble's weights, m in ``exp(-m i)``, oldest first.
        blend: least number of actions over which ``realtime`` goes from one chunk to the next.

    Attributes:
        counts: what happened.
        epoch: resets so far.

    Raises:
        UserError: no such mode, a horizon that the chunk cannot fill, an action that is not canonical.
    """

    def __init__(
        self,
        action: ActionSpec,
        prediction_horizon: int,
        action_horizon: int,
        mode: str = "receding",
        *,
        decay: float = 0.01,
        blend: int = 3,
    ) -> None:
        if mode not in MODES:
            raise UserError(f"no chunk mode {mode!r}; there are {', '.join(MODES)}{nearest(mode, MODES)}")
        if not 1 <= action_horizon <= prediction_horizon:
            raise UserError(f"action_horizon is {action_horizon}; give 1 to {prediction_horizon}, which the policy predicts")
        check_positive(blend=blend)
        self.mode, self.prediction_horizon, self.action_horizon = mode, prediction_horizon, action_horizon
        self._mixer = ActionMixer(action)
        ways: dict[str, Any] = {
            "synchronous": InTurn,
            "receding": Receding,
            "ensemble": partial(Ensemble, decay=decay),
            "realtime": partial(RealTime, blend=blend),
        }
        self._mode: Mode = ways[mode](self._mixer, prediction_horizon, action_horizon)
        self.counts = Counts()
        self.epoch = self._issued = 0
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Begin an episode: nothing is planned, and no reply to an earlier request will be taken."""
        self.epoch += 1
        self._seed, self._decisions, self._clock = seed, 0, 0
        self._first = self._issued + 1  # id of the epoch's first request
        self._pending: tuple[Request, int] | None = None  # and the action clock at its observation
        self._taken: set[int] = set()
        self._last: Action | None = None
        self._played: tuple[int, int] = (-1, 0)  # decision, actions of it
        self._asked_at: int | None = None  # step of the last request
        self._seen: int | None = None  # newest step for which an action was asked
        self._mode.clear()

    def wants(self, step: int, delay: int = 0) -> Request | None:
        """The chunk to ask now, of the observation of ``step``, when it is expected ``delay`` steps later; at most one a step."""
        self._mode.advance(self._clock)
        if self._pending is not None or self._asked_at == step or not self._mode.due(self._clock, delay):
            return None
        prefix, weights = self._mode.frozen(self._clock, delay)
        self._issued += 1
        request = Request(self._issued, self.epoch, self._seed, self._decisions, step, delay, prefix, weights)
        self._pending, self._asked_at = (request, self._clock), step
        self._decisions += 1
        self.counts.requested += 1
        return request

    @property
    def pending(self) -> Request | None:
        """The request that is under way."""
        return self._pending[0] if self._pending is not None else None

    def failed(self, request: int) -> None:
        """Nothing will come for this request, or it is not waited for any longer; the next step asks anew."""
        if self._pending is not None and self._pending[0].id == request:
            self._pending = None
            self.counts.failed += 1
            self.counts.failures += 1

    def accept(self, request: int, chunk: NDArray[Any]) -> str:
        """Take the chunk ``(Tp, A)`` that was drawn for a request; gives the reason for which it was refused, or nothing."""
        reason = self._strange(request)
        if not reason and self._pending is not None:
            (asked, clock), self._pending = self._pending, None
            chunk, reason = self._checked(chunk)
            if not reason and not self._mode.take(Draw(chunk, asked.decision, clock, asked.delay), self._clock):
                reason = "late"
            self.counts.failures += bool(reason)
        if reason:
            self.counts.refused[reason] += 1
            return reason
        self._taken.add(request)
        self.counts.accepted += 1
        self.counts.failures = 0
        return ""

    def action(self, step: int) -> Action | None:
        """What to do at ``step``, or None while there is nothing: the robot holds its last target. Asked again, the same.

        Raises:
            UserError: the step lies before one that was asked.
        """
        if self._seen is not None and step < self._seen:
            raise UserError(f"steps go on, but after step {self._seen} came step {step}; call reset() between episodes")
        if self._last is not None and step == self._last.step:
            return self._last
        if self._last is not None and self._seen is not None:
            self.counts.late_steps += step - self._seen - (self._seen == self._last.step)
        self._seen = step
        self._mode.advance(self._clock)
        target = self._mode.at(self._clock)
        if target is None or self._mode.current is None:
            return None
        decision, (before, count) = self._mode.current.decision, self._played
        fresh = decision != before
        self._played = (decision, 1 if fresh else count + 1)
        self._clock += 1
        self._last = Action(step, target.copy(), self._played[1] - 1, decision, fresh)
        return self._last

    def ahead(self, steps: int) -> Floats | None:
        """The target ``(A,)`` planned ``steps`` >= 1 after the last action, as far as is known now: for slow actuators."""
        check_positive(steps=steps)
        target = self._mode.at(self._clock - 1 + steps)
        return None if target is None else target.copy()

    def _strange(self, request: int) -> str:
        """Why a reply is not the one that is waited for, or nothing."""
        if self._pending is not None and request == self._pending[0].id:
            return ""
        if not 1 <= request <= self._issued:
            return "unknown"
        if request < self._first:
            return "epoch"
        return "duplicate" if request in self._taken else "stale"

    def _checked(self, chunk: NDArray[Any]) -> tuple[Floats, str]:
        """A chunk as an own copy, float32, and what is wrong with it."""
        given = np.asarray(chunk)
        if given.shape != (self.prediction_horizon, self._mixer.size) or given.dtype.kind not in "fiu":
            return np.zeros((0, self._mixer.size), np.float32), "shape"
        with np.errstate(over="ignore", invalid="ignore"):
            numbers: Floats = np.array(given, np.float32)
        if not np.isfinite(numbers).all():
            return numbers, "not finite"
        return numbers, "" if self._mixer.are_rotations(numbers) else "no rotation"
