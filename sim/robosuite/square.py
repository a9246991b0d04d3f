"""robosuite's NutAssemblySquare: put the square nut over its peg."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Task, grasp, nearness, stack_stages
from robolearn.sim.robosuite.view import Array, View, xyzw

_REACH, _GRASP, _LIFT, _HOVER = 0.1, 0.35, 0.5, 0.7
_LIFT_HEIGHT = 0.2  # [m] above the table's body, at which lifting is rewarded in full
_ON_PEG = 0.03  # [m] from the peg, along x and y
_LIFTED = 0.06  # [m] above the table top


class NutAssemblySquare(Task):
    """The round nut is hidden."""

    parts: ClassVar[Mapping[str, str]] = {"nut": "SquareNut_main"}
    hidden = ("RoundNut_main",)
    contacts: ClassVar[Contacts] = grasp("SquareNut_main")
    sites = ("SquareNut_handle_site",)

    def __init__(self, view: View, host: Any) -> None:
        super().__init__(view, host)
        self._peg = np.array(host.sim.data.body_xpos[host.peg1_body_id])
        self._table_body = float(host.sim.data.body_xpos[host.table_body_id][2])
        self._table_top = float(host.table_offset[2])

    def judge(self) -> Judgement:
        """Reward: 1 when around the peg and let go; shaped, the most of reaching, grasping, lifting and hovering."""
        nut, _ = self.view.body("SquareNut_main")
        grasped = self.grasped()
        beside = np.abs(nut[:, :2] - self._peg[:2])
        on_peg = (beside < _ON_PEG).all(1) & (nut[:, 2] < self._table_top + 0.05)
        success = on_peg & (nearness(self.distance(nut)) < 0.6)
        missing = np.maximum(self._table_body + _LIFT_HEIGHT - nut[:, 2], 0.0)
        lift = np.where(grasped, _GRASP + nearness(missing, 15.0) * (_LIFT - _GRASP), 0.0)
        hover = lift + nearness(np.linalg.norm(self._peg[:2] - nut[:, :2], axis=1)) * (_HOVER - _LIFT)
        reach = nearness(self.distance(self.view.site(self.sites[0]))) * _REACH
        staged = np.max([reach, _GRASP * grasped, lift, hover], 0)
        lifted = nut[:, 2] > self._table_top + _LIFTED
        stages = stack_stages(grasped, grasped & lifted, lifted & (beside < _ON_PEG).all(1))
        return Judgement(success, success.astype(float), np.where(success, 1.0, staged), stages)

    def objects(self) -> Array:
        """The nut as the hand sees it, position 3 and quaternion 4; its position 3 and quaternion 4 in the world."""
        position, quaternion = self.view.body("SquareNut_main")
        return np.concatenate([*self.relative(position, quaternion), position, xyzw(quaternion)], 1)
