"""One world of an assembly task as a plain ``gymnasium.Env``: the first row of a batch of one."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from robolearn.sim.assembly import Assembly
from robolearn.sim.world import Observation


class SingleAssembly(gymnasium.Env[Observation, NDArray[np.float32]]):
    """A batch of one, its leading axis left out; the task's own time limit truncates, a shorter one of ``gymnasium.make`` too.

    Args:
        task: its name, see :mod:`robolearn.sim.catalog`.
        render_mode: ``rgb_array`` or None.
        options: as :class:`robolearn.sim.assembly.Assembly` takes them; ``threads`` is 1.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10}  # noqa: RUF012

    def __init__(self, task: str, render_mode: str | None = None, **options: Any) -> None:
        self._rows = Assembly(task, 1, autoreset="disabled", render_mode=render_mode, **{"threads": 1, **options})
        self.render_mode = render_mode
        self.env_spec = self._rows.env_spec
        self.metadata = {**SingleAssembly.metadata, "render_fps": self._rows.metadata["render_fps"]}
        self.observation_space = self._rows.single_observation_space
        self.action_space = self._rows.single_action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observation, dict[str, Any]]:
        """Start the seed's episode, or without one the next; ``options`` as :meth:`robolearn.sim.assembly.Assembly.reset` takes them."""
        observation = self._rows.reset(seed=seed, options=options)
        super().reset(seed=seed)
        return self._first(observation)

    def step(self, action: NDArray[np.float32]) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Hold a command ``(A,)`` for a control step; an episode's last observation is sound, as the batch's are."""
        observation, reward, terminated, truncated, info = self._rows.step(np.asarray(action)[None])
        observation, info = self._first((observation, info))
        return observation, float(reward[0]), bool(terminated[0]), bool(truncated[0]), info

    @staticmethod
    def _first(rows: tuple[Observation, dict[str, Any]]) -> tuple[Observation, dict[str, Any]]:
        observation, info = ({name: values[0] for name, values in of_rows.items()} for of_rows in rows)
        return observation, info

    def get_state(self) -> NDArray[np.float64]:
        """Exact state of simulator and task, ``(S,)``."""
        state: NDArray[np.float64] = self._rows.get_state()[0]
        return state

    def set_state(self, state: NDArray[np.float64]) -> None:
        """Go on from :meth:`get_state`'s output."""
        self._rows.set_state(state[None])

    def render(self) -> NDArray[np.uint8] | None:
        """A picture, ``(240, 320, 3)``; None where no ``render_mode`` was asked for. Needs EGL or OSMesa."""
        return None if self.render_mode is None else self._rows.render(0)

    def close(self) -> None:
        """Free threads and renderer."""
        self._rows.close()
