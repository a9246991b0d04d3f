"""Franka's seven-joint arms: kinematics and limits as published, and the margins kept from them."""

from __future__ import annotations

import math
from typing import Literal

from robolearn.deploy.kinematics import Chain, pose
from robolearn.deploy.limits import JointLimits

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
    """The published limits with margins.

    An FR3 allows less speed the nearer a joint is to its end; within these margins an arm that can still stop keeps to that too.

    Args:
        model: whose.
        rates: share of the velocities.
        acceleration: share of the accelerations.
        jerk: share of the jerks: what is left is for the controller that follows.
        inset: [rad] from the ends of the joints.
    """
    return PUBLISHED[model].scaled(rates, acceleration, jerk, inset)
