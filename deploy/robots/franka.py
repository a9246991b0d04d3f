"""Franka's seven-joint arms: kinematics and limits as published, and the margins kept from them."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

from robolearn.deploy.kinematics import Chain, pose
from robolearn.deploy.limits import JointLimits
from robolearn.errors import UserError, nearest

_QUARTER = math.pi / 2
# Craig's Denavit-Hartenberg parameters of the Panda and of the FR3, without the flange [m, rad].
_A = (0.0, 0.0, 0.0, 0.0825, -0.0825, 0.0, 0.088)
_ALPHA = (0.0, -_QUARTER, _QUARTER, _QUARTER, -_QUARTER, _QUARTER, _QUARTER)
_D = (0.333, 0.0, 0.316, 0.0, 0.384, 0.0, 0.0)

# https://frankarobotics.github.io/docs/robot_specifications.html: what libfranka stops at.
_PANDA = JointLimits(
    lower=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
    upper=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
    velocity=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
    acceleration=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
    jerk=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
)
_FR3 = JointLimits(
    lower=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
    upper=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
    velocity=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
    acceleration=(10.0,) * 7,
    jerk=(5000.0,) * 7,
)
PUBLISHED = {"panda": _PANDA, "fr3": _FR3}
# An FR3's joint may turn towards its end no faster than sqrt(factor * (end - angle)) - offset: upper and lower end, factor, offset.
FR3_SLOWING = (
    (2.7501, -2.7501, 12.0, 0.3),
    (1.7918, -1.7918, 5.17, 0.2),
    (2.9065, -2.9065, 7.0, 0.2),
    (-0.1458, -3.0481, 8.0, 0.3),
    (2.8101, -2.8101, 34.0, 0.35),
    (4.5205, 0.54092, 11.0, 0.35),
    (3.0196, -3.0196, 34.0, 0.35),
)

Model = Literal["panda", "fr3"]


def franka_chain(flange: float = 0.107, tool: float = 0.1034, turned: float = -math.pi / 4) -> Chain:
    """The arm from its base to its tool centre point.

    Args:
        flange: its distance from the last joint [m].
        tool: distance of the tool centre point from the flange [m]; Franka's hand has it at 0.1034.
        turned: the tool about its axis, seen from the flange [rad]; Franka's hand by -45 degrees.
    """
    end = pose((0.0, 0.0, flange)) @ pose((0.0, 0.0, tool), (0.0, 0.0, turned))
    return Chain.from_dh((*_A, 0.0), (*_ALPHA, 0.0), (*_D, 0.0), modified=True, tool=end)


def robosuite_panda_chain(tool: float = 0.0964) -> Chain:
    """The simulation's arm: robosuite's flange is 0.5 mm nearer, its hand turned as three digits of a quaternion say."""
    return franka_chain(flange=0.1065, tool=tool, turned=-2.0 * math.atan2(0.383, 0.924))


def franka_limits(
    model: Model = "fr3", *, rates: float = 0.8, acceleration: float = 0.8, jerk: float = 0.25, inset: float = 0.05
) -> JointLimits:
    """The published limits with margins; an FR3's allow less speed the nearer a joint is to its end, which braking keeps to.

    Args:
        model: whose.
        rates: share of the velocities.
        acceleration: share of the accelerations.
        jerk: share of the jerks: what is left is for the controller that follows.
        inset: [rad] from the ends of the joints.

    Raises:
        UserError: another model, or an inset that leaves an FR3 no room for braking.
    """
    if model not in PUBLISHED:
        raise UserError(f"no model {model!r}; there are {', '.join(PUBLISHED)}{nearest(model, PUBLISHED)}")
    limits = PUBLISHED[model].scaled(rates, acceleration, jerk, inset)
    if model == "panda":
        return limits
    curves = zip(limits.lower, limits.upper, limits.velocity, limits.acceleration, FR3_SLOWING, strict=True)
    return replace(limits, braking=tuple(_braking(*joint) for joint in curves))


def _braking(lower: float, upper: float, velocity: float, acceleration: float, slowing: tuple[float, float, float, float]) -> float:
    """The most that a joint may brake with so that, whatever its speed, it is below what an FR3 allows so near to its end."""
    ends, factor, offset = slowing[:2], slowing[2], slowing[3]
    spare = min(ends[0] - upper, lower - ends[1])  # [rad] that our ends are before theirs
    if offset * offset >= factor * spare:
        raise UserError(f"an FR3 stops {offset * offset / factor:.3f} rad before {ends[0]}; give an inset above that")
    most = acceleration
    for share in range(1, 101):
        speed = velocity * share / 100
        distance = (speed + offset) ** 2 / factor - spare  # from our end, at which the FR3 begins to allow no more than this speed
        if distance > 0:
            most = min(most, speed * speed / (2 * distance))
    return 0.95 * most
