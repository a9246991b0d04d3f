"""robosuite's Stack: put the smaller cube onto the larger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Task, grasp, nearness, stack_stages
from robolearn.sim.robosuite.view import Array, xyzw

_HIGH_ENOUGH = 0.04  # [m] of the cube's middle above the table


class Stack(Task):
    """Cube A onto cube B."""

    parts: ClassVar[Mapping[str, str]] = {"cube_a": "cubeA_main", "cube_b": "cubeB_main"}
    contacts: ClassVar[Contacts] = {**grasp("cubeA_main"), "cubes": [("cubeA_g0", "cubeB_main")]}

    def judge(self) -> Judgement:
        """Reward: 1 when stacked and let go; shaped, reaching, grasping, lifting and aligning before that."""
        upper, lower = self.view.body("cubeA_main")[0], self.view.body("cubeB_main")[0]
        grasped = self.grasped()
        lifted = upper[:, 2] > self.host.table_offset[2] + _HIGH_ENOUGH
        stacked = ~grasped & lifted & self.view.touching("cubes")
        reach = 0.25 * nearness(self.distance(upper)) + 0.25 * grasped
        apart = np.linalg.norm(upper[:, :2] - lower[:, :2], axis=1)
        lift = lifted * (1.0 + 0.5 * nearness(apart, 1.0))
        shaped = np.maximum(np.maximum(reach, lift), 2.0 * stacked) / 2.0
        return Judgement(stacked, stacked.astype(float), shaped, stack_stages(grasped, lifted))

    def objects(self) -> Array:
        """Poses of both cubes, A to B, gripper to A and to B."""
        (upper, turned), (lower, laid) = self.view.body("cubeA_main"), self.view.body("cubeB_main")
        tool = self.view.tool()
        return np.concatenate([upper, xyzw(turned), lower, xyzw(laid), lower - upper, upper - tool, lower - tool], 1)
