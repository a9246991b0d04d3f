"""A policy for drills: it sweeps the tool to and fro, and everything that a policy server may do wrong can be switched on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Clock = Callable[[], int]
Floats = NDArray[np.float32]

HORIZON, SWEEP, AHEAD, PACE = 8, 0.15, 0.06, 0.03  # actions a chunk; [m] to each side; [m] ahead of the tool, and more for each action


@dataclass
class _Question:
    id: int
    kind: str
    asked: int
    due: int | None
    answer: Callable[[], Any]


class Sweep:
    """Leads the tool sideways, and back where it has come far enough."""

    def __init__(self) -> None:
        self._side = 1.0

    def chunk(self, position: NDArray[Any], rot6d: NDArray[Any]) -> Floats:
        """Actions ``(8, 10)`` from where the tool is: ``position (3,)`` [m] and ``rot6d (6,)`` in the base frame."""
        if abs(position[1]) > SWEEP:
            self._side = -float(np.sign(position[1]))
        chunk = np.tile(np.concatenate([position, rot6d, [-1.0]]), (HORIZON, 1))
        chunk[:, 1] = np.clip(position[1] + self._side * (AHEAD + PACE * np.arange(HORIZON)), -0.2, 0.2)
        return chunk.astype(np.float32)


class DrillPolicy:
    """Answers as :class:`robolearn.deploy.serving.inference.Inference` does, by a clock that may stand.

    Args:
        clock: [ns].

    Attributes:
        takes: [s] that a chunk takes; None: it never comes.
        refines: [s] that a residual takes; None: it never comes.
        spoil: what becomes of each chunk ``(8, 10)``; of each refined action ``(10,)`` that of ``spoil_refined``.
        fails: words of an error in place of every answer; none if empty.
        asked: chunks that were asked for.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock, self._sweep = clock, Sweep()
        self.takes: float | None = 0.03
        self.refines: float | None = 0.005
        self.spoil: Callable[[Floats], Any] = lambda chunk: chunk
        self.spoil_refined: Callable[[Floats], Any] = lambda action: action
        self.fails, self.asked = "", 0
        self._waiting: list[_Question] = []
        self._number = 0

    def submit_sample(self, observation: Mapping[str, NDArray[Any]], seed: int, decision: int) -> int:
        """Ask for a chunk."""
        self.asked += 1
        return self._put(
            "sample", self.takes, lambda: self.spoil(self._sweep.chunk(observation["tcp_pos"][-1], observation["tcp_rot6d"][-1]))
        )

    def submit_refine(self, observation: Mapping[str, NDArray[Any]], base_action: NDArray[Any], phase: int) -> int:
        """Ask for a residual."""
        return self._put("refine", self.refines, lambda: self.spoil_refined(base_action.astype(np.float32)))

    def poll(self) -> list[Any]:
        """What has come."""
        now = self._clock()
        due = [question for question in self._waiting if question.due is not None and question.due <= now]
        self._waiting = [question for question in self._waiting if question not in due]
        return [self._outcome(question, now) for question in due]

    def _put(self, kind: str, takes: float | None, answer: Callable[[], Any]) -> int:
        self._number += 1
        now = self._clock()
        self._waiting.append(_Question(self._number, kind, now, None if takes is None else now + round(takes * 1e9), answer))
        return self._number

    def _outcome(self, question: _Question, now: int) -> Any:
        value = None if self.fails else question.answer()
        times = {"submitted": question.asked * 1e-9, "finished": now * 1e-9}
        return SimpleNamespace(id=question.id, kind=question.kind, value=value, error=self.fails, info={}, timings={}, **times)
