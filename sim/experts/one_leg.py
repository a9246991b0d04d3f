"""A scripted expert for one_leg."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.rotation import matrix_from_rotvec
from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import (
    Array,
    Goal,
    Scene,
    Seat,
    Skill,
    Wrench,
    along,
    back_off,
    carry,
    hand_rotation,
    hold,
    insert,
    near,
    reach,
    regrasp,
    retreat,
    screw,
    squeeze,
)
from robolearn.sim.furniture import FENCE_WALLS, HOLE_OFFSET, SEATED, TOP_HALF

_STANDOFF = (0.022, 0.027)  # [m] from a face to the middle of closed fingers lowered beside it, along x and y
_GRIP = along("leg4", tilt=np.radians(60.0))
_QUARTER = matrix_from_rotvec(np.array([0.0, np.pi / 2, 0.0]))
_SEAT = Seat("leg4", "top", np.array([-HOLE_OFFSET, SEATED, -HOLE_OFFSET]), _QUARTER)
_WRENCH = Wrench("leg4", "top")


class OneLegExpert(Expert):
    """Pushes the top into the corner (first +y, then +x), grasps leg 4, stands it up, inserts it and screws it home."""

    task = "one_leg"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {
            **push_top("over_leg"),
            "over_leg": Phase(reach(_GRIP, 0.07, 0.02), OPEN, "reach_leg"),
            "reach_leg": Phase(reach(_GRIP, 0.0, 0.005), OPEN, "grasp", lead=0.03, patience=25),
            "grasp": Phase(hold, CLOSE, "carry", least=4),
            "carry": Phase(carry(_SEAT, 0.045, 0.008), CLOSE, "align"),
            "align": Phase(carry(_SEAT, 0.030, 0.003), CLOSE, "insert", lead=0.02, patience=25),
            "insert": Phase(insert(_SEAT, 0.0095), CLOSE, "release", lead=0.02, patience=25),
            "release": Phase(hold, OPEN, "back_off", least=3),
            "back_off": Phase(back_off("leg4"), OPEN, "over_pin"),
            **screw_home(_WRENCH, "over_pin", "over_pin"),
        }


def screw_home(wrench: Wrench, first: str, following: str) -> dict[str, Phase]:
    """Stroke by stroke until ``following`` takes over; the first phase is called ``first``."""
    return {
        first: Phase(regrasp(wrench, 0.05, 0.02), OPEN, "onto_pin", patience=40),
        "onto_pin": Phase(regrasp(wrench, 0.0, 0.006), OPEN, "squeeze", lead=0.03, patience=25),
        "squeeze": Phase(squeeze(wrench), CLOSE, "screw", least=4, patience=8),
        "screw": Phase(screw(wrench), CLOSE, "unhand", lead=0.02),
        "unhand": Phase(hold, OPEN, following, least=3),
    }


def push_top(following: str) -> dict[str, Phase]:
    """The square top into the fence's corner, with closed fingers: along y, then along x."""
    return {
        "above_y": Phase(push(1, "above"), CLOSE, "lower_y"),
        "lower_y": Phase(push(1, "lower"), CLOSE, "push_y", lead=0.04),
        "push_y": Phase(push(1, "push"), CLOSE, "leave_y", lead=0.04),
        "leave_y": Phase(retreat(0.075), CLOSE, "above_x"),
        "above_x": Phase(push(0, "above"), CLOSE, "lower_x"),
        "lower_x": Phase(push(0, "lower"), CLOSE, "push_x", lead=0.04),
        "push_x": Phase(push(0, "push"), CLOSE, "leave_x", lead=0.04),
        "leave_x": Phase(retreat(0.075), OPEN, following),
    }


def _reach_of_top(scene: Scene) -> Array:
    """Half-width of the top along the base's axes, ``(n,)``."""
    turned = scene.rotation("top")
    reach: Array = TOP_HALF[0] * (np.abs(turned[:, 0, 0]) + np.abs(turned[:, 0, 2]))
    return reach


def push(axis: int, stage: str) -> Skill:
    """Approach above, lower, or push the top along one of the base's axes towards the fence."""

    def goal(scene: Scene) -> Goal:
        rotation = hand_rotation(0.0, 0.0, len(scene.tcp))
        top = scene.position("top")
        position = top.copy()
        position[:, axis] -= _reach_of_top(scene) + _STANDOFF[axis]
        position[:, 2] = 0.075 if stage == "above" else 0.020
        if stage != "push":
            return Goal(position, rotation, near(scene, position, rotation, 0.012))
        wall = scene.position("fence")[:, axis] + FENCE_WALLS[axis]
        gap = wall - TOP_HALF[0] - top[:, axis]
        position[:, axis] = scene.tcp[:, axis] + 0.02 + np.clip(gap, 0.0, 0.03)
        position[:, 1 - axis] = scene.tcp[:, 1 - axis] * 0.5 + top[:, 1 - axis] * 0.5
        return Goal(position, rotation, gap < 0.002)

    return goal
