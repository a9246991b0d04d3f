"""Whom a run's story needs: who acts, who prepares and judges, what is observed, who is heard, and what is written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

Observation = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Verdict:
    """How an episode goes, in whoever's words that judge it.

    Args:
        over: it need not go on.
        success: as far as is known; None: nobody says.
        stages: reached, by name.
        reason: why it is over without success.
    """

    over: bool = False
    success: bool | None = None
    stages: Mapping[str, bool] = field(default_factory=dict)
    reason: str = ""


class Actor(Protocol):
    """Says what to follow, step by step; see :class:`robolearn.deploy.runner.autonomy.Autonomy`."""

    @property
    def target(self) -> NDArray[Any] | None:
        """``(A,)`` to follow now, None for nothing."""
        ...

    def reset(self, seed: int) -> None:
        """An episode begins."""
        ...

    def restart(self) -> None:
        """The robot has stood: what was planned is forgotten."""
        ...

    def begin_step(self, number: int, observation: Observation, now: int) -> None:
        """A step begins at ``now`` [ns] with ``{name: (...)}``."""
        ...

    def poll(self, now: int) -> None:
        """Every tick: take what has come by ``now`` [ns]."""
        ...


class Stops(Protocol):
    """Hears what people want; see :class:`robolearn.deploy.runner.stops.Stops`."""

    def events(self) -> list[str]:
        """What was wanted since the last call, in order."""
        ...


class Judge(Protocol):
    """Prepares episodes and says how they go: a simulated world, or a person."""

    def prepare(self, seed: int) -> None:
        """Begin to bring the scene to its start; does not wait.

        Raises:
            UserError: it cannot be done.
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether the scene is at its start.

        Raises:
            UserError: it will not be.
        """
        ...

    def verdict(self) -> Verdict:
        """How the present episode goes."""
        ...


class Sensors(Protocol):
    """Gives what a policy observes."""

    def observation(self, at: int) -> Observation:
        """``{name: (...)}`` at ``at`` [ns]."""
        ...

    def newest(self) -> int | None:
        """The newest time of which every sensor of numbers has told [ns]."""
        ...


class Journal(Protocol):
    """Keeps what happens; see :class:`robolearn.deploy.recording.recorder.Recorder`."""

    def begin(self, source: str = "rollout", **provenance: Any) -> int:
        """An episode begins."""
        ...

    def step(self, observation: Observation, action: Any, *, intervention: bool = False, stamp: int | None = None) -> None:
        """One step of it."""
        ...

    def finish(self, success: bool | None, terminated: bool | None = None, notes: str = "", *, truncated: bool = False) -> None:
        """It is over."""
        ...

    def discard(self) -> None:
        """It never was."""
        ...

    def mark(self, event: str, words: str = "", stamp: int | None = None, **values: Any) -> None:
        """Something happened."""
        ...
