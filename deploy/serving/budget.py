"""A critic with a time limit: steering that is late, broken or undecided falls back to what the base would have done."""

from __future__ import annotations

import time
from concurrent.futures import Future, TimeoutError
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.serving.worker import Worker
from robolearn.protocols import Critic, Observation


class BudgetedCritic:
    """Scores on a thread of its own and gives NaN where the scores are not there in time, upon which a steered sampler keeps candidate 0.

    A critic that hangs holds that one thread: until it comes back every decision falls back at once, and nothing piles up.

    Args:
        critic: what is asked.
        seconds: [s] a score may take; None waits as long as it takes.

    Attributes:
        seconds_taken: [s] of the last score, as long as it was waited for.
        outcome: of the last score: ``""``, ``overrun``, ``failed`` or ``not finite``.
        counts: ``{outcome: how often}`` since :meth:`reset_statistics`, ``scored`` being all.
        error: what the critic last raised, in words.
    """

    def __init__(self, critic: Critic, seconds: float | None) -> None:
        self.critic, self.seconds = critic, seconds
        self.env_spec, self.action_horizon = critic.env_spec, critic.action_horizon
        self.observation_keys: tuple[str, ...] = tuple(getattr(critic, "observation_keys", ()))
        self._worker = Worker("critic")
        self._running: Future[Any] | None = None
        self.error = ""
        self.reset_statistics()

    def reset_statistics(self) -> None:
        """Count from nothing, as after warming up."""
        self.seconds_taken, self.outcome = 0.0, ""
        self.counts = {"scored": 0, "overrun": 0, "failed": 0, "not finite": 0}

    def score(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """The critic's scores ``{name: (B, ...)}, (B, K, h, A) -> (E, B, K)``, or NaN ``(1, B, K)`` where it has none in time."""
        begun = time.perf_counter()
        scores, self.outcome = self._scored(observation, chunks)
        self.seconds_taken = time.perf_counter() - begun
        self.counts["scored"] += 1
        if self.outcome:
            self.counts[self.outcome] += 1
        return np.full((1, *chunks.shape[:2]), np.nan, np.float32) if scores is None else scores

    def _scored(self, observation: Observation, chunks: NDArray[np.float32]) -> tuple[NDArray[np.float32] | None, str]:
        if self._running is not None and not self._running.done():
            return None, "overrun"
        self._running = self._worker.submit(lambda: self.critic.score(observation, chunks))
        try:
            scores: NDArray[np.float32] = np.asarray(self._running.result(self.seconds))
        except TimeoutError:
            return None, "overrun"
        except Exception as error:  # whatever a critic raises, the robot goes on with the base
            self.error = f"{type(error).__name__}: {error}"
            return None, "failed"
        if scores.ndim != 3 or scores.shape[1:] != chunks.shape[:2]:
            self.error = f"scores of shape {scores.shape} for chunks of shape {chunks.shape}"
            return None, "failed"
        return scores, "" if np.isfinite(scores).all() else "not finite"
