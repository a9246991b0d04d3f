"""The episode that an operator is recording: steps that can be taken back before it is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.protocols import Observation
from robolearn.spec import ArraySpec

INTERVENTION = "intervention"  # extra array: 1 at steps at which the operator acted, 0 at the policy's
INTERVENTION_SPEC = ArraySpec((), "bool")  # as a robot's runner records it


class Take:
    """Steps of one world, in order.

    Args:
        names: of the observation's arrays that are kept.
        tagged: keep who acted, as the extra array ``intervention (T,)``.
    """

    def __init__(self, names: tuple[str, ...], *, tagged: bool = False) -> None:
        self._names, self._tagged = names, tagged
        self._observations: list[dict[str, NDArray[Any]]] = []
        self._actions: list[NDArray[np.float32]] = []
        self._states: list[NDArray[np.float64]] = []
        self._rewards: list[float] = []
        self._interventions: list[bool] = []
        self.undone = 0

    def __len__(self) -> int:
        return len(self._rewards)

    def add(
        self, observation: Observation, state: NDArray[np.float64], action: NDArray[np.float32], reward: float, by_operator: bool
    ) -> None:
        """One step: what was seen ``{name: (1, ...)}`` and the state ``(S,)`` before it, the action ``(A,)``, and what it was given."""
        self._observations.append({name: np.array(observation[name][0]) for name in self._names})
        self._states.append(np.array(state))
        self._actions.append(np.array(action, np.float32))
        self._rewards.append(float(reward))
        self._interventions.append(by_operator)

    def undo(self, steps: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64], float] | None:
        """Forget the last steps, at most all.

        Returns the observation ``{name: (1, ...)}`` and state ``(S,)`` to go on from, and the gripper's command before it (-1 where there
        was none); None where there is no step.
        """
        if not self._rewards or steps < 1:
            return None
        at = max(len(self) - steps, 0)
        observation, state = {name: value[None] for name, value in self._observations[at].items()}, self._states[at]
        self.undone += len(self) - at
        for steps_of in (self._observations, self._states, self._actions, self._rewards, self._interventions):
            del steps_of[at:]
        return observation, state, float(self._actions[-1][-1]) if at else -1.0

    def episode(self, *, success: bool, terminated: bool, record_state: bool, provenance: Mapping[str, Any]) -> Episode:
        """All of it, with its label."""
        noted = {**provenance, **({"undone_steps": self.undone} if self.undone else {})}
        tags = np.array(self._interventions, bool)  # (T,)
        return Episode(
            observations={name: np.stack([seen[name] for seen in self._observations]) for name in self._names},
            actions=np.stack(self._actions),
            rewards=np.array(self._rewards, np.float32),
            terminated=terminated,
            truncated=False,
            success=success,
            sim_state=np.stack(self._states) if record_state else None,
            extras={INTERVENTION: tags} if self._tagged else {},
            provenance=noted,
        )
