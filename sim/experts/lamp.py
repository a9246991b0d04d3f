"""A scripted expert for lamp."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.screwing import FreeWrench, empty, fallen, level, screw_home, unwind
from robolearn.sim.experts.skills import (
    Array,
    Goal,
    Scene,
    Seat,
    Skill,
    along,
    back_off,
    carry,
    hand_rotation,
    hold,
    insert,
    near,
    reach,
    retreat,
)
from robolearn.sim.furniture import FENCE_WALLS
from robolearn.sim.tasks.lamp import BASE_HALF, BULB_SEATED, HOOD_SEATED, HOOD_TOP

_STANDOFF = (0.022, 0.036)  # [m] from a face to the middle of closed fingers lowered beside it, along x and y: they are wider above
_FREE = 0.02  # [m] back from a pushed face before the hand rises: rubbing along it, the hand would tip the base over the fence
_BULB = Seat("bulb", "lamp_base", np.array([0.0, BULB_SEATED, 0.0]), np.eye(3), free=True)
_HOOD = Seat("hood", "lamp_base", np.array([0.0, HOOD_SEATED, 0.0]), np.eye(3), free=True)
_STEM = 0.040  # [m] from the bulb's origin to where it is held
_WRENCH = FreeWrench("bulb", "lamp_base", above=_STEM + 0.004, faces=4, width=0.033)
_RING = HOOD_TOP - 0.009  # [m] from the hood's origin to where it is held
_ABOVE = 0.21  # [m] over the standing bulb


class LampExpert(Expert):
    """Pushes the base into the corner (x first: the bulb lies beside the other way), screws the bulb into it, lifts the hood over it."""

    task = "lamp"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {
            "above_x": Phase(_push(0, "above"), CLOSE, "lower_x"),
            "lower_x": Phase(_push(0, "lower"), CLOSE, "push_x", lead=0.04),
            "push_x": Phase(_push(0, "push"), CLOSE, "free_x", lead=0.04),
            "free_x": Phase(_push(0, "free"), CLOSE, "leave_x", patience=15),
            "leave_x": Phase(retreat(0.12), CLOSE, "above_y"),
            "above_y": Phase(_push(1, "above"), CLOSE, "lower_y"),
            "lower_y": Phase(_push(1, "lower"), CLOSE, "push_y", lead=0.04),
            "push_y": Phase(_push(1, "push"), CLOSE, "free_y", lead=0.04),
            "free_y": Phase(_push(1, "free"), CLOSE, "leave_y", patience=15),
            "leave_y": Phase(retreat(0.12), OPEN, "come_back"),
            "come_back": Phase(_come_back, OPEN, "over_bulb"),
            "over_bulb": Phase(reach(_on_bulb, 0.07, 0.02), OPEN, "reach_bulb"),
            "reach_bulb": Phase(reach(_on_bulb, 0.0, 0.005), OPEN, "grasp_bulb", lead=0.03, patience=25),
            "grasp_bulb": Phase(hold, CLOSE, "carry_bulb", lead=0.01, least=4),
            "carry_bulb": Phase(carry(_BULB, 0.050, 0.008), CLOSE, "align_bulb", failed=empty, instead="let_bulb_go"),
            "align_bulb": Phase(carry(_BULB, 0.030, 0.003), CLOSE, "insert_bulb", lead=0.02, patience=25),
            "insert_bulb": Phase(insert(_BULB, 0.0125), CLOSE, "let_bulb_go", lead=0.02, patience=25),
            "let_bulb_go": Phase(hold, OPEN, "leave_bulb", lead=0.01, least=3),
            "leave_bulb": Phase(back_off("bulb", 0.12), OPEN, "level_hand", failed=fallen("bulb"), instead="over_bulb"),
            "level_hand": Phase(level("bulb", 0.12), OPEN, "bulb_over", patience=20),
            **screw_home("bulb", _WRENCH, 0.045, _BULB, "leave_stem", "over_bulb", BASE_HALF),
            "leave_stem": Phase(unwind(_ABOVE), OPEN, "over_hood"),
            "over_hood": Phase(reach(_on_hood, 0.05, 0.012), OPEN, "reach_hood"),
            "reach_hood": Phase(reach(_on_hood, 0.0, 0.005), OPEN, "grasp_hood", lead=0.03, patience=25),
            "grasp_hood": Phase(hold, CLOSE, "lift_hood", lead=0.01, least=4),
            "lift_hood": Phase(retreat(0.27), CLOSE, "carry_hood"),
            "carry_hood": Phase(carry(_HOOD, 0.115, 0.008), CLOSE, "align_hood", failed=empty, instead="let_hood_go"),
            "align_hood": Phase(carry(_HOOD, 0.110, 0.003), CLOSE, "lower_hood", lead=0.02, patience=25),
            "lower_hood": Phase(insert(_HOOD, 0.002), CLOSE, "let_hood_go", lead=0.03, patience=40),
            "let_hood_go": Phase(hold, OPEN, "leave_hood", lead=0.01, least=3),
            "leave_hood": Phase(retreat(0.25), OPEN, "over_hood", least=8),
        }


def _on_bulb(scene: Scene) -> tuple[Array, Array]:
    """On its stem."""
    position, rotation = _LYING(scene)
    axis = scene.rotation("bulb")[:, :, 1]
    return position + (_STEM + 0.004 * scene.variation[:, 2:3]) * axis, rotation


def _come_back(scene: Scene) -> Goal:
    """Over the bulb, hand down: far from the robot it cannot lean back."""
    position, rotation = scene.position("bulb") + np.array([0.05, 0.0, 0.13]), hand_rotation(0.0, 0.0, len(scene.tcp))
    return Goal(position, rotation, near(scene, position, rotation, 0.05))


_LYING = along("bulb", tilt=np.radians(68.0))


def _on_hood(scene: Scene) -> tuple[Array, Array]:
    """On two sides of its ring."""
    x = scene.rotation("hood")[:, :, 0]
    yaw = np.arctan2(x[:, 1], x[:, 0])
    yaw = yaw - np.round(yaw / (np.pi / 4)) * np.pi / 4
    position = scene.position("hood") + np.array([0.0, 0.0, 1.0]) * (_RING + 0.002 * scene.variation[:, 3:])
    return position, hand_rotation(yaw, 0.0, len(yaw))


def _push(axis: int, stage: str) -> Skill:
    """Approach above, lower, push the base along one of the robot's axes up to the fence, or free the hand; with closed fingers."""

    def goal(scene: Scene) -> Goal:
        rotation, base = hand_rotation(0.0, 0.0, len(scene.tcp)), scene.position("lamp_base")
        turned = scene.rotation("lamp_base")
        position = base.copy()
        position[:, axis] -= BASE_HALF * (np.abs(turned[:, 0, 0]) + np.abs(turned[:, 0, 2])) + _STANDOFF[axis]
        position[:, axis] -= _FREE if stage == "free" else 0.0
        position[:, 2] = 0.12 if stage == "above" else 0.030
        if stage != "push":
            return Goal(position, rotation, near(scene, position, rotation, 0.012))
        gap = scene.position("fence")[:, axis] + FENCE_WALLS[axis] - BASE_HALF - base[:, axis]
        position[:, axis] = scene.tcp[:, axis] + 0.004 + 1.5 * np.clip(gap, 0.0, 0.03)
        position[:, 1 - axis] = 0.5 * (scene.tcp + base)[:, 1 - axis]
        return Goal(position, rotation, gap < 0.002)

    return goal
