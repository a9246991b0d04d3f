"""robosuite's Lift: raise a cube from the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Task, grasp, nearness, stack_stages
from robolearn.sim.robosuite.view import Array, xyzw

_HIGH_ENOUGH = 0.04  # [m] of the cube's middle above the table


class Lift(Task):
    """The cube's size is the one that robosuite draws for the seed of its world; every start has the same."""

    parts: ClassVar[Mapping[str, str]] = {"cube": "cube_main"}
    contacts: ClassVar[Contacts] = grasp("cube_main")

    def judge(self) -> Judgement:
        """Reward: 1 when lifted; shaped, reaching and grasping before that."""
        cube, _ = self.view.body("cube_main")
        grasped = self.grasped()
        lifted = cube[:, 2] > self.host.model.mujoco_arena.table_offset[2] + _HIGH_ENOUGH
        shaped = np.where(lifted, 1.0, (nearness(self.distance(cube)) + 0.25 * grasped) / 2.25)
        return Judgement(lifted, lifted.astype(float), shaped, stack_stages(grasped))

    def objects(self) -> Array:
        """Cube's position 3 and quaternion 4, position seen from the gripper 3."""
        position, quaternion = self.view.body("cube_main")
        return np.concatenate([position, xyzw(quaternion), position - self.view.tool()], 1)
