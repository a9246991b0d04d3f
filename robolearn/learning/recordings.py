"""Recordings of another project's simulator: what is kept of one, and what a world that plays it back can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode


@dataclass(frozen=True)
class Recording:
    """A demonstration in the words of its own project.

    Args:
        name: there.
        states: (T, S) the simulator's, each before its action.
        actions: (T, A).
        model: the document of the world it was made in; None where none was kept.
    """

    name: str
    states: NDArray[np.float64]
    actions: NDArray[Any]
    model: str | None


class RecordedWorld(Protocol):
    """A world like the one of recordings.

    ``env`` is the :class:`robolearn.protocols.Environment`, which can also ``observation()``.
    """

    env: Any

    def episode(self, recording: Recording) -> tuple[Episode, NDArray[np.bool_]]:
        """A recording in the words of ``env``, a success where a state is one; and the stages that each state is in, ``(T, S)``."""
        ...
