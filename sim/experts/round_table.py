"""A scripted expert for round_table."""

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
    along,
    back_off,
    carry,
    hand_rotation,
    hold,
    insert,
    reach,
    retreat,
)
from robolearn.sim.furniture import FENCE_WALLS
from robolearn.sim.tasks.round_table import BASE_SEATED, BASE_TWIST, LEG_SEATED, LEG_TWIST, TOP_RADIUS, about_y

_BOSS = np.array([0.0, 0.0, 0.020])  # from the top's origin to where its boss is held
_FAR_ROUND = np.radians(150.0)  # of hand yaw: further the leaning wrist does not turn
_ACROSS = np.pi / 4  # between the hand and the base's bars: the fingers close between them
_LEG = Seat("leg", "top", np.array([0.0, LEG_SEATED, 0.0]), about_y(LEG_TWIST), free=True)
_BASE = Seat("table_base", "leg", np.array([0.0, BASE_SEATED, 0.0]), about_y(BASE_TWIST), free=True)
_PLATE = 0.003  # [m] of the tool above the base's origin, so that the fingers end with its plate


class RoundTableExpert(Expert):
    """Slides the top into the corner by its boss, stands the leg up in it, screws it home, does the same with the base."""

    task = "round_table"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {
            "over_boss": Phase(reach(_boss, 0.05, 0.02), OPEN, "onto_boss"),
            "onto_boss": Phase(reach(_boss, 0.0, 0.006), OPEN, "hold_boss", lead=0.03, patience=25),
            "hold_boss": Phase(hold, CLOSE, "slide", lead=0.01, least=4),
            "slide": Phase(_slide, CLOSE, "leave_boss", lead=0.04),
            "leave_boss": Phase(hold, OPEN, "rise", lead=0.01, least=3),
            "rise": Phase(retreat(0.10), OPEN, "over_leg"),
            "over_leg": Phase(reach(_on_leg, 0.07, 0.02), OPEN, "reach_leg"),
            "reach_leg": Phase(reach(_on_leg, 0.0, 0.005), OPEN, "grasp_leg", lead=0.03, patience=25),
            "grasp_leg": Phase(hold, CLOSE, "carry_leg", lead=0.01, least=4),
            "carry_leg": Phase(carry(_LEG, 0.050, 0.008), CLOSE, "align_leg", failed=empty, instead="let_leg_go"),
            "align_leg": Phase(carry(_LEG, 0.030, 0.003), CLOSE, "insert_leg", lead=0.02, patience=25),
            "insert_leg": Phase(insert(_LEG, 0.0125), CLOSE, "let_leg_go", lead=0.02, patience=25),
            "let_leg_go": Phase(hold, OPEN, "leave_leg", lead=0.01, least=3),
            "leave_leg": Phase(back_off("leg"), OPEN, "level_hand", failed=fallen("leg"), instead="over_leg"),
            "level_hand": Phase(level("leg", 0.08), OPEN, "leg_over", patience=20),
            **screw_home("leg", _LEG_WRENCH, 0.065, _LEG, "leave_pin", "over_leg", TOP_RADIUS),
            "leave_pin": Phase(unwind(0.16), OPEN, "over_base"),
            "over_base": Phase(reach(_on_base, 0.06, 0.02), OPEN, "reach_base"),
            "reach_base": Phase(reach(_on_base, 0.0, 0.005), OPEN, "grasp_base", lead=0.03, patience=25),
            "grasp_base": Phase(hold, CLOSE, "lift_base", lead=0.01, least=4),
            "lift_base": Phase(retreat(0.16), CLOSE, "carry_base"),
            "carry_base": Phase(carry(_BASE, 0.045, 0.008), CLOSE, "align_base", failed=empty, instead="let_base_go"),
            "align_base": Phase(carry(_BASE, 0.030, 0.003), CLOSE, "insert_base", lead=0.02, patience=25),
            "insert_base": Phase(insert(_BASE, 0.0125), CLOSE, "base_screw", lead=0.02, patience=25),
            "let_base_go": Phase(hold, OPEN, "leave_base", lead=0.01, least=3),
            "leave_base": Phase(unwind(0.16), OPEN, "base_over", failed=fallen("table_base"), instead="over_base"),
            **screw_home("base", _BASE_WRENCH, 0.05, _BASE, "finish", "over_base", TOP_RADIUS),
            "finish": Phase(retreat(0.2), OPEN, "finish"),
        }


_LEG_WRENCH = FreeWrench("leg", "top", above=0.003, faces=0, width=0.040)
_BASE_WRENCH = FreeWrench("table_base", "leg", above=_PLATE, faces=4, width=0.043, across=_ACROSS)


def _boss(scene: Scene) -> tuple[Array, Array]:
    rotation = hand_rotation(0.4 * scene.variation[:, 1], 0.0, len(scene.tcp))
    return scene.position("top") + _BOSS, rotation


def _on_leg(scene: Scene) -> tuple[Array, Array]:
    """Near its middle."""
    position, rotation = _LYING(scene)
    axis = scene.rotation("leg")[:, :, 1]
    return position + (0.003 + 0.003 * scene.variation[:, 2:3]) * axis, rotation


_LYING = along("leg", tilt=np.radians(60.0))


def _on_base(scene: Scene) -> tuple[Array, Array]:
    """Between its bars, the hand leaned as the base leans."""
    axis = scene.rotation("table_base")[:, :, 1]
    lean = -np.arccos(np.clip(axis[:, 2], -1.0, 1.0))
    yaw = np.arctan2(-axis[:, 1], -axis[:, 0])
    turned = yaw > _FAR_ROUND  # the fingers change places
    rotation = hand_rotation(np.where(turned, yaw - np.pi, yaw), np.where(turned, -lean, lean), len(yaw))
    return scene.position("table_base") + (_PLATE + 0.001 * scene.variation[:, 3:]) * axis, rotation


def _slide(scene: Scene) -> Goal:
    """Into the corner, a little beyond, so that both walls are felt."""
    top = scene.position("top")
    gap = scene.position("fence")[:, :2] + FENCE_WALLS - TOP_RADIUS - top[:, :2]
    position = scene.tcp.copy()
    position[:, :2] += gap + 0.006
    position[:, 2] = top[:, 2] + _BOSS[2]
    return Goal(position, scene.hand, (gap < 0.003).all(1))
