"""One recorded episode: observations, actions, rewards, how it ended and where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
        provenance: source (teleop, expert, rollout, augmentation, import), seed, parent, note, versions; JSON-ready.
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
        """Raise ``SpecError`` unless the episode fits ``spec`` and every array has T finite rows."""
        steps = len(self.actions)
        if steps == 0:
            raise SpecError("an episode has at least one step; this one has none")
        if self.actions.shape != (steps, spec.action.size):
            raise SpecError(f"actions have shape {self.actions.shape}, expected ({steps}, {spec.action.size})")
        if not np.isfinite(self.actions).all():
            raise SpecError(f"actions hold NaN or infinity, first at step {int(np.argmin(np.isfinite(self.actions).all(1)))}")
        if self.rewards.shape != (steps,):
            raise SpecError(f"rewards have shape {self.rewards.shape}, expected ({steps},)")
        spec.check_observation(self.observations)
        for name in spec.observation:
            if len(self.observations[name]) != steps:
                raise SpecError(f"observation {name!r} has {len(self.observations[name])} rows for {steps} actions")
        for name, entry in spec.extras.items():
            if name not in self.extras or self.extras[name].shape != (steps, *entry.shape):
                came = f"shape {self.extras[name].shape}" if name in self.extras else "is missing"
                raise SpecError(f"extra array {name!r}: expected shape {(steps, *entry.shape)}, {came}")
        if self.sim_state is not None and len(self.sim_state) != steps:
            raise SpecError(f"sim_state has {len(self.sim_state)} rows for {steps} actions")
