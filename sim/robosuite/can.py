"""robosuite's PickPlaceCan: put the can into its quarter of the other bin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Task, grasp, nearness, stack_stages
from robolearn.sim.robosuite.view import Array, View, xyzw

_REACH, _GRASP, _LIFT, _HOVER = 0.1, 0.35, 0.5, 0.7
_LIFT_HEIGHT = 0.25  # [m] above the bin, at which lifting is rewarded in full
_LIFTED = 0.06  # [m] of the can's middle above the bin's bottom: clear of it


class PickPlaceCan(Task):
    """The other groceries are hidden."""

    parts: ClassVar[Mapping[str, str]] = {"can": "Can_main"}
    hidden = ("Milk_main", "Bread_main", "Cereal_main")
    contacts: ClassVar[Contacts] = grasp("Can_main")

    def __init__(self, view: View, host: Any) -> None:
        super().__init__(view, host)
        self._target = np.array(host.target_bin_placements[host.object_id])
        self._quarter = np.array(host.bin_size[:2]) / 4.0
        self._bottom = float(host.bin2_pos[2])

    def judge(self) -> Judgement:
        """Reward: 1 when in the bin and let go; shaped, the most of reaching, grasping, lifting and hovering."""
        can, _ = self.view.body("Can_main")
        grasped = self.grasped()
        near = nearness(self.distance(can))
        beside = np.abs(can[:, :2] - self._target[:2])
        above = (beside < self._quarter).all(1)
        within = above & (can[:, 2] > self._bottom) & (can[:, 2] < self._bottom + 0.1)
        success = within & (near < 0.6)
        missing = np.maximum(self._bottom + _LIFT_HEIGHT - can[:, 2], 0.0)
        lift = np.where(grasped, _GRASP + nearness(missing, 15.0) * (_LIFT - _GRASP), 0.0)
        hover = np.where(above, _LIFT, lift) + nearness(np.linalg.norm(self._target[:2] - can[:, :2], axis=1)) * (_HOVER - _LIFT)
        staged = np.max([_REACH * near, _GRASP * grasped, lift, hover], 0)
        sparse = success.astype(float)
        lifted = can[:, 2] > self._bottom + _LIFTED
        return Judgement(success, sparse, np.where(success, 1.0, staged), stack_stages(grasped, grasped & lifted, above))

    def objects(self) -> Array:
        """The can as the hand sees it, position 3 and quaternion 4; its position 3 and quaternion 4 in the world."""
        position, quaternion = self.view.body("Can_main")
        return np.concatenate([*self.relative(position, quaternion), position, xyzw(quaternion)], 1)
