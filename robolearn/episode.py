"""One recorded episode: observations, actions, rewards, how it ended and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import nearest
from robolearn.provenance import SOURCES
from robolearn.spec import EnvSpec, SpecError


@dataclass(frozen=True)
class Episode:
    """T steps; ``observations[name][t]`` is what was seen before ``actions[t]`` was sent.

    Args:
        observations: ``{name: (T, ...)}``.
        actions: ``(T, A)`` in environment units, as executed.
        rewards: ``(T,)``.
        terminated: the task itself ended (success or failure) on the last step.
        truncated: a time limit cut the episode; never merged with ``terminated``.
        success: the task was solved.
        sim_state: ``(T, S)`` the simulator's integration state before each action, or None.
        extras: ``{name: (T, ...)}``, recorded beside and seen by no policy; those that the spec names.
        provenance: where it came from, JSON-ready; the keys are those of :data:`robolearn.provenance.KEYS`.
    """

    observations: Mapping[str, NDArray[Any]]
    actions: NDArray[Any]
    rewards: NDArray[Any]
    terminated: bool
    truncated: bool
    success: bool
    sim_state: NDArray[Any] | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    def check(self, spec: EnvSpec) -> None:
        """Raise ``SpecError`` unless the episode fits ``spec`` and every array has T finite rows; extras may hold NaN: not known."""
        self._check_types(spec)
        steps = len(self.actions)
        if steps == 0:
            raise SpecError("an episode has at least one step; this one has none")
        for name, array, shape in (("actions", self.actions, (steps, spec.action.size)), ("rewards", self.rewards, (steps,))):
            if array.shape != shape:
                raise SpecError(f"{name} have shape {array.shape}, expected {shape}")
            finite = np.isfinite(array).reshape(steps, -1).all(1)
            if not finite.all():
                raise SpecError(f"{name} hold NaN or infinity, first at step {int(np.argmin(finite))}")
        spec.check_observation(self.observations)
        for name in spec.observation:
            if len(self.observations[name]) != steps:
                raise SpecError(f"observation {name!r} has {len(self.observations[name])} rows for {steps} actions")
        for name, entry in spec.extras.items():
            if name not in self.extras or self.extras[name].shape != (steps, *entry.shape):
                came = f"shape {self.extras[name].shape}" if name in self.extras else "is missing"
                raise SpecError(f"extra array {name!r}: expected shape {(steps, *entry.shape)}, {came}")
        self._check_state(steps)

    def _check_state(self, steps: int) -> None:
        if self.sim_state is None:
            return
        if len(self.sim_state) != steps:
            raise SpecError(f"sim_state has {len(self.sim_state)} rows for {steps} actions")
        if self.sim_state.ndim != 2:
            raise SpecError(f"sim_state has shape {self.sim_state.shape}, expected ({steps}, S)")
        if not np.isfinite(self.sim_state).all():
            raise SpecError("sim_state holds NaN or infinity; an episode without simulator states has none")

    def _check_types(self, spec: EnvSpec) -> None:
        source = self.provenance.get("source")
        if source is not None and source not in SOURCES:
            raise SpecError(f"no source {source!r}; there are {', '.join(SOURCES)}{nearest(str(source), SOURCES)}")
        arrays = {"actions": self.actions, "rewards": self.rewards, **({} if self.sim_state is None else {"sim_state": self.sim_state})}
        arrays |= {f"observation {name!r}": self.observations[name] for name in spec.observation if name in self.observations}
        arrays |= {f"extra array {name!r}": self.extras[name] for name in spec.extras if name in self.extras}
        for what, array in arrays.items():
            if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
                raise SpecError(f"{what}: expected an array of numbers, got {getattr(array, 'dtype', type(array).__name__)}")
