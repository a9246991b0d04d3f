"""Records what the loop plays: every row's steps, cut into episodes as they end."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.protocols import Environment, Observation


class Recorder:
    """Buffers of all rows, each written at its row's own clock; an episode is cut out when it ends."""

    def __init__(self, env: Environment, steps: int, with_state: bool, provenance: dict[str, Any]) -> None:
        self._env, self._steps, self._with_state, self._provenance = env, steps, with_state, provenance
        self._buffers: dict[str, NDArray[Any]] = {}
        self._rows = np.arange(env.num_envs)

    def _write(self, name: str, clock: NDArray[np.int64], values: NDArray[Any]) -> None:
        if name not in self._buffers:
            self._buffers[name] = np.zeros((self._env.num_envs, self._steps, *values.shape[1:]), values.dtype)
        self._buffers[name][self._rows, clock] = values

    def before(self, clock: NDArray[np.int64], observation: Observation, actions: NDArray[np.float32]) -> None:
        """What every row sees and does at its step ``clock (N,)``."""
        for name in self._env.env_spec.observation:
            self._write(f"observation/{name}", clock, observation[name])
        self._write("actions", clock, actions)
        if self._with_state:
            self._write("sim_state", clock, self._env.get_state())

    def after(self, clock: NDArray[np.int64], rewards: NDArray[Any]) -> None:
        """What it was given for it, ``(N,)``."""
        self._write("rewards", clock, np.asarray(rewards, np.float32))

    def episode(self, row: int, steps: int, terminated: bool, truncated: bool, success: bool, known: dict[str, Any]) -> Episode:
        """A row's first ``steps`` steps, with what else is ``known`` in its provenance."""
        cut = {name: buffer[row, :steps].copy() for name, buffer in self._buffers.items()}
        prefix = "observation/"
        return Episode(
            observations={name.removeprefix(prefix): values for name, values in cut.items() if name.startswith(prefix)},
            actions=cut["actions"],
            rewards=cut["rewards"],
            terminated=terminated,
            truncated=truncated,
            success=success,
            sim_state=cut.get("sim_state"),
            provenance={**self._provenance, **known},
        )
