"""Who acts in test_ray_players.py, in processes of Ray's; without torch, as each loads it anew."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.protocols import Observation
from tests.fakes import MoodyExpert, PointReach


class MortalExpert(MoodyExpert):
    """Takes its process along at its twentieth step, as long as there are fewer graves than it is to die."""

    def __init__(self, num_envs: int, graves: str, deaths: int) -> None:
        super().__init__(num_envs)
        self.graves, self.deaths, self.steps = Path(graves), deaths, 0

    def act(self, observation: Observation) -> NDArray[np.float32]:
        self.steps += 1
        if self.steps == 20 and self._takes_a_grave():
            os.kill(os.getpid(), signal.SIGKILL)
        actions: NDArray[np.float32] = super().act(observation)
        return actions

    def _takes_a_grave(self) -> bool:
        """Whether one was free; two actors that come to it together do not both get it."""
        for number in range(self.deaths):
            try:
                (self.graves / str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            return True
        return False


class UnevenReach(PointReach):
    """Its time limits depend on the seeds, so that rows fall out of step."""

    def __init__(self, num_envs: int) -> None:
        super().__init__(num_envs, max_episode_steps=25)
        self.seeds = np.zeros(num_envs, np.int64)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, Any]:
        mask = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        self.seeds = np.where(mask, seed, self.seeds)
        return super().reset(seed=seed, options=options)

    def step(self, actions: NDArray[Any]) -> Any:
        observation, reward, terminated, truncated, info = super().step(actions)
        return observation, reward, terminated, truncated | (self._state[:, 7] >= 12 + self.seeds % 13), info


class MortalReach(UnevenReach):
    """Notes in a file of its process which seeds it is stepped for; and takes the first process along.

    That is at a step when some of its episodes are over and others are not, after the caller has got those that are.

    Args:
        num_envs: rows N.
        notes: folder of ``<process>.steps``, of ``<seed>.got``, which the caller makes, and of ``over.json``, the seeds over at the end.
        step: after which it ends.
    """

    def __init__(self, num_envs: int, notes: str, step: int) -> None:
        super().__init__(num_envs)
        self.notes, self.last = Path(notes), step
        self.steps, self.over = 0, set[int]()
        self.still = np.zeros(num_envs, bool)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, Any]:
        self.still &= options is not None and ~options["reset_mask"]
        return super().reset(seed=seed, options=options)

    def park(self, rows: NDArray[np.bool_]) -> None:
        self.still |= rows

    def step(self, actions: NDArray[Any]) -> Any:
        if self.steps == self.last and not (self.notes / "over.json").exists():
            self._die()
        with (self.notes / f"{os.getpid()}.steps").open("a") as file:
            file.writelines(f"{seed}\n" for seed in self.seeds[~self.still])
        self.steps += 1
        result = super().step(actions)
        self.over |= set(self.seeds[~self.still & (result[2] | result[3])].tolist())
        return result

    def _die(self) -> None:
        (self.notes / "over.json").write_text(json.dumps(sorted(self.over)))
        for _ in range(1000):
            if all((self.notes / f"{seed}.got").exists() for seed in self.over):
                break
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGKILL)


class LostExpert(MoodyExpert):
    """Does not know what to do."""

    def act(self, observation: Observation) -> NDArray[np.float32]:
        return np.full((len(self.shares), 10), np.nan, np.float32)
