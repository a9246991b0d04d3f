"""A scripted expert for round_table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import (
    HAND_YAW,
    Array,
    Goal,
    Mask,
    Scene,
    Seat,
    Wrench,
    along,
    back_off,
    carry,
    hand_rotation,
    hold,
    insert,
    reach,
    regrasp,
    retreat,
    screw,
    squeeze,
)
from robolearn.sim.furniture import FENCE_WALLS
from robolearn.sim.tasks.round_table import BASE_SEATED, BASE_TWIST, LEG_SEATED, LEG_TWIST, TOP_RADIUS, about_y

_BOSS = np.array([0.0, 0.0, 0.020])  # from the top's origin to where its boss is held
_ACROSS = np.pi / 4  # between the hand and the base's bars: the fingers close between them
_LEG = Seat("leg", "top", np.array([0.0, LEG_SEATED, 0.0]), about_y(LEG_TWIST), free=True)
_BASE = Seat("table_base", "leg", np.array([0.0, BASE_SEATED, 0.0]), about_y(BASE_TWIST), free=True)
_PLATE = 0.003  # [m] of the tool above the base's origin, so that the fingers end with its plate
_UPRIGHT = 0.93
_LOW = 0.003  # [m] from its seat: less than half a turn
_ANGLE = 0.2  # [rad] from its last angle


class RoundTableExpert(Expert):
    """Slides the top into the corner by its boss, stands the leg up in it, screws it home, does the same with the base."""

    task = "round_table"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {
            "over_boss": Phase(reach(_boss, 0.05, 0.02), OPEN, "onto_boss"),
            "onto_boss": Phase(reach(_boss, 0.0, 0.006), OPEN, "hold_boss", lead=0.03, patience=25),
            "hold_boss": Phase(hold, CLOSE, "slide", least=4),
            "slide": Phase(_slide, CLOSE, "leave_boss", lead=0.04),
            "leave_boss": Phase(hold, OPEN, "rise", least=3),
            "rise": Phase(retreat(0.10), OPEN, "over_leg"),
            "over_leg": Phase(reach(_on_leg, 0.07, 0.02), OPEN, "reach_leg"),
            "reach_leg": Phase(reach(_on_leg, 0.0, 0.005), OPEN, "grasp_leg", lead=0.03, patience=25),
            "grasp_leg": Phase(hold, CLOSE, "carry_leg", least=4),
            "carry_leg": Phase(carry(_LEG, 0.050, 0.008), CLOSE, "align_leg", failed=_empty, instead="let_leg_go"),
            "align_leg": Phase(carry(_LEG, 0.030, 0.003), CLOSE, "insert_leg", lead=0.02, patience=25),
            "insert_leg": Phase(insert(_LEG, 0.0125), CLOSE, "let_leg_go", lead=0.02, patience=25),
            "let_leg_go": Phase(hold, OPEN, "leave_leg", least=3),
            "leave_leg": Phase(back_off("leg"), OPEN, "leg_over", failed=_fallen("leg"), instead="over_leg"),
            **_screw_home("leg", _LEG_WRENCH, 0.065, _LEG, "leave_pin", "over_leg"),
            "leave_pin": Phase(_unwind, OPEN, "over_base"),
            "over_base": Phase(reach(_on_base, 0.06, 0.02), OPEN, "reach_base"),
            "reach_base": Phase(reach(_on_base, 0.0, 0.005), OPEN, "grasp_base", lead=0.03, patience=25),
            "grasp_base": Phase(hold, CLOSE, "lift_base", least=4),
            "lift_base": Phase(retreat(0.16), CLOSE, "carry_base"),
            "carry_base": Phase(carry(_BASE, 0.045, 0.008), CLOSE, "align_base", failed=_empty, instead="let_base_go"),
            "align_base": Phase(carry(_BASE, 0.030, 0.003), CLOSE, "insert_base", lead=0.02, patience=25),
            "insert_base": Phase(insert(_BASE, 0.0125), CLOSE, "base_screw", lead=0.02, patience=25),
            "let_base_go": Phase(hold, OPEN, "leave_base", least=3),
            "leave_base": Phase(_unwind, OPEN, "base_over", failed=_fallen("table_base"), instead="over_base"),
            **_screw_home("base", _BASE_WRENCH, 0.05, _BASE, "finish", "over_base"),
            "finish": Phase(retreat(0.2), OPEN, "finish"),
        }


@dataclass(frozen=True)
class Cross(Wrench):
    """A wrench between the bars of a cross, which stands at any angle."""

    def yaw(self, scene: Scene) -> Array:
        """The largest hand yaw in reach at which the fingers are between bars, ``(n,)``."""
        bar = scene.rotation(self.child)[:, :, 0]
        between = (np.arctan2(bar[:, 1], bar[:, 0]) + _ACROSS) % (np.pi / 2)
        yaw: Array = np.floor((HAND_YAW[1] - between) / (np.pi / 2)) * np.pi / 2 + between
        return yaw


_LEG_WRENCH = Wrench("leg", "top", above=0.003, faces=0, width=0.040)
_BASE_WRENCH = Cross("table_base", "leg", above=_PLATE, faces=4, width=0.043)


def _screw_home(name: str, wrench: Wrench, height: float, seat: Seat, following: str, lost: str) -> dict[str, Phase]:
    """Stroke by stroke until the child is home; then ``following``, or ``lost`` if it lies on the table."""
    turn, home = screw(wrench), _home(seat)

    def turn_home(scene: Scene) -> Goal:
        goal, left = turn(scene), np.maximum(_left(scene, seat), 0.0) + 0.1
        assert goal.yaw is not None
        return replace(goal, yaw=np.maximum(goal.yaw, scene.yaw - left), done=goal.done | home(scene))

    over, onto, squeezed, screwed, unhand, check = (f"{name}_{stage}" for stage in ("over", "onto", "squeeze", "screw", "unhand", "check"))
    return {
        over: Phase(regrasp(wrench, height, 0.02), OPEN, onto, patience=50, failed=_fallen(wrench.child), instead=lost),
        onto: Phase(regrasp(wrench, 0.0, 0.006), OPEN, squeezed, lead=0.03, patience=25),
        squeezed: Phase(squeeze(wrench), CLOSE, screwed, least=4, patience=8),
        screwed: Phase(turn_home, CLOSE, unhand, lead=0.02, failed=_empty, instead=unhand),
        unhand: Phase(hold, OPEN, check, least=3),
        check: Phase(hold, OPEN, over, failed=home, instead=following),
    }


def _left(scene: Scene, seat: Seat) -> Array:
    """Angle that is left to turn [rad], infinity where that is more than half a turn, ``(n,)``."""
    turned = seat.rotation.T @ scene.relative(seat.child, seat.parent).rotation
    angle = np.arctan2(turned[:, 0, 2], turned[:, 0, 0])
    left: Array = np.where((np.abs(seat.left(scene)) < _LOW).all(1), angle, np.inf)
    return left


def _home(seat: Seat) -> Callable[[Scene], Mask]:
    """Whether the child has been turned to its last angle."""
    return lambda scene: _left(scene, seat) < _ANGLE


def _empty(scene: Scene) -> Mask:
    """Whether the fingers have closed on nothing."""
    empty: Mask = scene.width < 0.015
    return empty


def _fallen(part: str) -> Callable[[Scene], Mask]:
    """Whether a part that should stand upright does not."""
    return lambda scene: scene.rotation(part)[:, 2, 1] < _UPRIGHT


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
    rotation = hand_rotation(np.arctan2(-axis[:, 1], -axis[:, 0]), lean, len(scene.tcp))
    return scene.position("table_base") + (_PLATE + 0.001 * scene.variation[:, 3:]) * axis, rotation


def _unwind(scene: Scene) -> Goal:
    """Up, and the wrist back to the middle of its range."""
    position = scene.tcp.copy()
    position[:, 2] = 0.16
    yaw = np.full(len(position), np.pi / 2)
    done = (scene.tcp[:, 2] > 0.14) & (np.abs(scene.yaw - yaw) < 0.3)
    return Goal(position, hand_rotation(yaw, 0.0, len(yaw)), done, yaw)


def _slide(scene: Scene) -> Goal:
    """Into the corner, a little beyond, so that both walls are felt."""
    top = scene.position("top")
    gap = scene.position("fence")[:, :2] + FENCE_WALLS - TOP_RADIUS - top[:, :2]
    position = scene.tcp.copy()
    position[:, :2] += gap + 0.006
    position[:, 2] = top[:, 2] + _BOSS[2]
    return Goal(position, scene.hand, (gap < 0.003).all(1))
