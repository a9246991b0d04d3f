"""Four ways to execute chunks: when the next is asked, and which action is played.

Time in here is the action clock: it counts actions played. A step at which the robot holds for want of an action does not
advance it, so "steps consumed since the observation" is a difference of two clocks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.chunks.mixing import ActionMixer, Floats


class Draw(NamedTuple):
    """A chunk as it was asked and drawn: for the clock at its observation, with the delay expected then [steps]."""

    chunk: Floats  # (Tp, A)
    decision: int
    asked: int
    delay: int


@dataclass(frozen=True)
class Plan:
    """Actions ``(n, A)`` of one decision; the first is for the clock ``anchor``, and none is used before ``starts``."""

    actions: Floats
    decision: int
    anchor: int
    starts: int

    @property
    def ends(self) -> int:
        """The clock that is no longer covered."""
        return self.anchor + len(self.actions)

    def at(self, clock: int) -> Floats:
        """The action for a clock that is covered, ``(A,)``."""
        action: Floats = self.actions[clock - self.anchor]
        return action

    def covers(self, clock: int) -> bool:
        """Whether there is an action for this clock."""
        return self.starts <= clock < self.ends


class Mode(ABC):
    """What is planned, and how a new chunk changes it.

    Args:
        mixer: of the action.
        predicted: length of a chunk Tp.
        executed: actions h after which a new chunk is wanted.
    """

    def __init__(self, mixer: ActionMixer, predicted: int, executed: int) -> None:
        self.mixer, self.predicted, self.executed = mixer, predicted, executed
        self.clear()

    def clear(self) -> None:
        """Forget what is planned."""
        self.current: Plan | None = None  # whose decision and phase count now
        self.asked: int | None = None  # clock at the observation of the newest chunk
        self.waiting: Draw | None = None  # drawn in advance, to be used once the current plan has done its part

    @abstractmethod
    def due(self, clock: int, delay: int) -> bool:
        """Whether a chunk should be asked now, when it is expected ``delay`` steps later; never while one is asked."""

    @abstractmethod
    def take(self, draw: Draw, clock: int) -> bool:
        """Plan with a new chunk from ``clock`` on; False when all of it is of the past."""

    @abstractmethod
    def advance(self, clock: int) -> None:
        """Bring up to date what is planned for ``clock``, whose action is played next."""

    def at(self, clock: int) -> Floats | None:
        """The target planned for a clock, ``(A,)``."""
        plan = self.current
        return plan.at(clock) if plan is not None and plan.covers(clock) else None

    def frozen(self, clock: int, delay: int) -> tuple[Floats, NDArray[np.float32]]:
        """What is already planned from ``clock`` on, ``(n, A)``, and how firmly, ``(n,)`` from 1 to 0; nothing unless a mode says so."""
        return np.zeros((0, self.mixer.size), np.float32), np.zeros(0, np.float32)

    def _left(self, clock: int) -> int:
        """Actions still planned."""
        return 0 if self.current is None else max(0, self.current.ends - clock)


class InTurn(Mode):
    """h actions of each chunk, one chunk after the other, unmixed.

    Synchronous: the next is asked when the last is used up. Receding: it is asked so early that it is there in time (never so
    early that fewer than h of its actions are left), and its first ``min(expected delay, steps consumed since its observation)``
    actions are skipped.
    """

    early = False

    def due(self, clock: int, delay: int) -> bool:
        """When what is left is played by the time that the chunk comes."""
        lead = min(delay, self.executed, self.predicted - self.executed) if self.early else 0
        return self.waiting is None and self._left(clock) <= lead

    def take(self, draw: Draw, clock: int) -> bool:
        """Keep it until the current chunk has had its h actions."""
        self.waiting, self.asked = draw, draw.asked
        return True

    def advance(self, clock: int) -> None:
        """Go on to the next chunk, where the current one is used up."""
        if self.waiting is not None and not self._left(clock):
            self.current, self.waiting = self._begun(self.waiting, clock), None

    def at(self, clock: int) -> Floats | None:
        """Of the current chunk or, behind it, of the one that waits."""
        if self.waiting is not None and self.current is not None and clock >= self.current.ends:
            following = self._begun(self.waiting, self.current.ends)
            return following.at(clock) if following.covers(clock) else None
        return super().at(clock)

    def _begun(self, draw: Draw, clock: int) -> Plan:
        """A chunk as it is played when its turn comes at ``clock``."""
        skip = min(draw.delay, clock - draw.asked)
        return Plan(draw.chunk[skip : skip + self.executed], draw.decision, clock, clock)


class Receding(InTurn):
    """The same, asking in advance."""

    early = True


class Ensemble(Mode):
    """Temporal ensembling (ACT, Zhao et al. 2023, section IV-B): a chunk at every step, and the mean of all that cover it.

    Weights are ``exp(-m i)``, the oldest chunk first.

    Args:
        mixer: of the action.
        predicted: length of a chunk Tp.
        executed: not used: a chunk is wanted at every step.
        decay: m; the greater, the less new chunks count.
    """

    def __init__(self, mixer: ActionMixer, predicted: int, executed: int, decay: float = 0.01) -> None:
        self.decay = decay
        super().__init__(mixer, predicted, executed)

    def clear(self) -> None:
        """Forget all chunks."""
        super().clear()
        self._plans: list[Plan] = []

    def due(self, clock: int, delay: int) -> bool:
        """Once a step, and whenever nothing is left."""
        return self.asked is None or clock > self.asked or not self._left(clock)

    def take(self, draw: Draw, clock: int) -> bool:
        """Add it, in time with the others."""
        if clock - draw.asked >= self.predicted:
            return False
        self.asked = draw.asked
        self.current = Plan(draw.chunk, draw.decision, draw.asked, clock)
        self._plans.append(self.current)
        return True

    def advance(self, clock: int) -> None:
        """Drop what is of the past."""
        self._plans = [plan for plan in self._plans if plan.ends > clock]

    def at(self, clock: int) -> Floats | None:
        """The weighted mean of the chunks that cover a clock."""
        actions = [plan.at(clock) for plan in self._plans if plan.covers(clock)]
        if not actions:
            return None
        weights = np.exp(-self.decay * np.arange(len(actions)))
        mean: Floats = self.mixer.mean(np.stack(actions)[:, None], weights[:, None])[0]
        return mean


class RealTime(Mode):
    """Real-time chunking (Black et al. 2025, arXiv 2506.07339): no pause between chunks, and no jump.

    The next chunk is asked after h actions (earlier, where the rest would not last the expected delay). The actions that
    will be played meanwhile are frozen, the rest of the old chunk is let go by a soft mask (equation 5), with which the new
    chunk is blended in. Where the old chunk ended too early its last action stands for its rest.

    Args:
        mixer: of the action.
        predicted: length of a chunk Tp.
        executed: actions h between two observations.
        blend: actions at least over which one goes into the other.
    """

    def __init__(self, mixer: ActionMixer, predicted: int, executed: int, blend: int = 3) -> None:
        self.blend = blend
        super().__init__(mixer, predicted, executed)

    def clear(self) -> None:
        """Forget what is planned."""
        super().clear()
        self._next: Plan | None = None

    def due(self, clock: int, delay: int) -> bool:
        """After h actions since the last observation, or when the rest lasts no longer than the delay."""
        rested = self.asked is not None and clock - self.asked >= self.executed
        return self._next is None and (rested or self._left(clock) <= delay)

    def frozen(self, clock: int, delay: int) -> tuple[Floats, NDArray[np.float32]]:
        """The rest of the current plan, and the soft mask over it."""
        left = self._left(clock)
        if self.current is None or not left:
            return super().frozen(clock, delay)
        return self.current.actions[-left:], soft_mask(left, min(delay, left), left).astype(np.float32)

    def take(self, draw: Draw, clock: int) -> bool:
        """Blend it in behind what is frozen."""
        consumed = clock - draw.asked
        if consumed >= self.predicted:
            return False
        old, self.asked = self.current, draw.asked
        if old is None:
            self.current = Plan(draw.chunk, draw.decision, draw.asked, clock)
            return True
        promised = max(0, old.ends - draw.asked)
        firm = max(min(draw.delay, promised, self.predicted - 1), consumed)
        weights = soft_mask(self.predicted, firm, max(promised, firm + self.blend))
        places = np.minimum(np.arange(draw.asked, draw.asked + self.predicted), old.ends - 1) - old.anchor  # (Tp,), the last repeated
        mixed = self.mixer.blend(old.actions[places], draw.chunk, weights)
        self._next = Plan(mixed, draw.decision, draw.asked, draw.asked + firm)
        return True

    def advance(self, clock: int) -> None:
        """Go over to the blended plan once the frozen actions are played."""
        if self._next is not None and clock >= self._next.starts:
            self.current, self._next = self._next, None

    def at(self, clock: int) -> Floats | None:
        """Of the current plan or, behind what is frozen, of the next."""
        if self._next is not None and clock >= self._next.starts:
            return self._next.at(clock) if self._next.covers(clock) else None
        return super().at(clock)


def soft_mask(length: int, frozen: int, end: int) -> NDArray[np.float64]:
    """Weights of an old plan over a new one, ``(length,)``: 1 for ``frozen`` actions, then exponentially decaying to 0 at ``end``."""
    place = np.arange(length)
    share = np.clip((end - place) / (end - frozen + 1), 0, 1)
    return np.where(place < frozen, 1.0, share * np.expm1(share) / np.expm1(1.0))
