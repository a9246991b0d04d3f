"""Skills of experts that screw several parts together: stroke by stroke until a part is home, and what to do when it falls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Phase
from robolearn.sim.experts.skills import (
    Array,
    Goal,
    Mask,
    Scene,
    Seat,
    Skill,
    Wrench,
    hand_rotation,
    hold,
    near,
    regrasp,
    screw,
    squeeze,
)
from robolearn.sim.furniture import FENCE_WALLS

_UPRIGHT = 0.93
_LOW = 0.003  # [m] from its seat: less than half a turn
_ANGLE = 0.2  # [rad] from its last angle
_MOST = np.radians(165.0)  # of hand yaw: beyond it the elbow decides whether the wrist can
_LED = 0.004  # [m]
_STILL = 0.01  # [m] lead of a hand that should not drag what it holds about


@dataclass(frozen=True)
class FreeWrench(Wrench):
    """A wrench on a part that stands at any angle; ``across``: what the hand is turned by from the part's x [rad]."""

    across: float = 0.0

    def yaw(self, scene: Scene) -> Array:
        """The largest hand yaw in reach at which the fingers meet two faces, ``(n,)``."""
        if not self.faces:
            return np.full(len(scene.tcp), _MOST)
        side, x = 2 * np.pi / self.faces, scene.rotation(self.child)[:, :, 0]
        turned = (np.arctan2(x[:, 1], x[:, 0]) + self.across) % side
        yaw: Array = np.floor((_MOST - turned) / side) * side + turned
        return yaw


def screw_home(name: str, wrench: Wrench, height: float, seat: Seat, following: str, lost: str, half: float) -> dict[str, Phase]:
    """Stroke by stroke until the child is home; then ``following``, or ``lost`` if it lies on the table.

    What is turned is led back into the fence's corner, where its axis stands ``half`` [m] off both walls: else hands drag it away.
    """
    turn, home = screw(wrench), _home(seat)

    def turn_home(scene: Scene) -> Goal:
        goal, left = turn(scene), np.maximum(_left(scene, seat), 0.0) + 0.1
        assert goal.yaw is not None
        corner = scene.position("fence")[:, :2] + FENCE_WALLS - half
        position = goal.position.copy()
        position[:, :2] += np.clip(corner - scene.position(wrench.child)[:, :2], -_LED, _LED)
        return replace(goal, position=position, yaw=np.maximum(goal.yaw, scene.yaw - left), done=goal.done | home(scene))

    over, onto, squeezed, screwed, unhand, check = (f"{name}_{stage}" for stage in ("over", "onto", "squeeze", "screw", "unhand", "check"))
    return {
        over: Phase(regrasp(wrench, height, 0.02), OPEN, onto, patience=50, failed=fallen(wrench.child), instead=lost),
        onto: Phase(regrasp(wrench, 0.0, 0.006), OPEN, squeezed, lead=0.03, patience=25),
        squeezed: Phase(squeeze(wrench), CLOSE, screwed, lead=_STILL, least=4, patience=8),
        screwed: Phase(turn_home, CLOSE, unhand, lead=0.02, failed=empty, instead=unhand),
        unhand: Phase(hold, OPEN, check, lead=_STILL, least=3),
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


def empty(scene: Scene) -> Mask:
    """Whether the fingers have closed on nothing."""
    empty: Mask = scene.width < 0.015
    return empty


def fallen(part: str) -> Callable[[Scene], Mask]:
    """Whether a part that should stand upright does not."""
    return lambda scene: scene.rotation(part)[:, 2, 1] < _UPRIGHT


def level(part: str, height: float) -> Skill:
    """Over a standing part, ``height`` [m] above its origin, the hand from leaning to down, turned to yaw 0.

    While it leans forward, the wrist's first and last axes are parallel: turned then, it winds up the wrong one.
    """

    def goal(scene: Scene) -> Goal:
        position, rotation = scene.position(part) + np.array([0.0, 0.0, height]), hand_rotation(0.0, 0.0, len(scene.tcp))
        return Goal(position, rotation, near(scene, position, rotation, 0.02))

    return goal


def unwind(height: float) -> Skill:
    """Up to a height above the table [m], and the wrist back to the middle of its range."""

    def goal(scene: Scene) -> Goal:
        position = scene.tcp.copy()
        position[:, 2] = height
        yaw = np.full(len(position), np.pi / 2)
        done = (scene.tcp[:, 2] > height - 0.02) & (np.abs(scene.yaw - yaw) < 0.3)
        return Goal(position, hand_rotation(yaw, 0.0, len(yaw)), done, yaw)

    return goal
