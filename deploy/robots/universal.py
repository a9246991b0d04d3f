"""Universal Robots' six-joint e-series arms: kinematics and limits as published, and the margins kept from them."""

from __future__ import annotations

import math
from typing import Literal

from robolearn.deploy.kinematics import Chain, pose
from robolearn.deploy.limits import JointLimits
from robolearn.errors import UserError, nearest

# Denavit-Hartenberg parameters: d1, a2, a3, d4, d5, d6 [m].
# https://www.universal-robots.com/articles/ur/application-installation/dh-parameters-for-calculations-of-kinematics-and-dynamics/
_LENGTHS = {
    "ur3e": (0.15185, -0.24355, -0.2132, 0.13105, 0.08535, 0.0921),
    "ur5e": (0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996),
    "ur10e": (0.1807, -0.6127, -0.57155, 0.17415, 0.11985, 0.11655),
}
# Largest velocities [rad/s] of the six joints, from the data sheets.
_FASTEST = {
    "ur3e": (math.pi,) * 3 + (2 * math.pi,) * 3,
    "ur5e": (math.pi,) * 6,
    "ur10e": (2 * math.pi / 3,) * 2 + (math.pi,) * 4,
}
JOINTS = ("shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint", "wrist_1_joint", "wrist_2_joint", "wrist_3_joint")


def _check_model(model: str) -> None:
    if model not in _LENGTHS:
        raise UserError(f"no model {model!r}; there are {', '.join(_LENGTHS)}{nearest(model, _LENGTHS)}")


def ur_chain(model: str = "ur5e", tool: float = 0.0, turned: float = 0.0, frame: Literal["base", "base_link"] = "base") -> Chain:
    """The arm from its base to its tool centre point.

    Args:
        model: ur3e, ur5e or ur10e.
        tool: distance of the tool centre point from the flange [m].
        turned: the tool about its axis, seen from the flange [rad].
        frame: ``base`` is the teach pendant's; ROS' ``base_link`` is turned by half a turn about z.

    Raises:
        UserError: another model.
    """
    _check_model(model)
    d1, a2, a3, d4, d5, d6 = _LENGTHS[model]
    quarter = math.pi / 2
    chain = Chain.from_dh(
        (0.0, a2, a3, 0.0, 0.0, 0.0),
        (quarter, 0.0, 0.0, quarter, -quarter, 0.0),
        (d1, 0.0, 0.0, d4, d5, d6),
        tool=pose((0.0, 0.0, tool), (0.0, 0.0, turned)),
        names=JOINTS,
    )
    if frame == "base":
        return chain
    origins = chain.origins.copy()
    origins[0] = pose(rpy=(0.0, 0.0, math.pi)) @ origins[0]
    return Chain(origins, chain.axes, chain.tool, names=JOINTS)


def ur_limits(
    model: str = "ur5e", *, rates: float = 0.5, acceleration: float = 5.0, jerk: float = 1000.0, inset: float = 0.1
) -> JointLimits:
    """The published angles (two turns, the elbow one) and velocities with margins.

    Universal Robots publishes neither accelerations nor jerks; 5 rad/s^2 is well below what its own moves take.

    Args:
        model: ur3e, ur5e or ur10e; a ur3e's last joint turns for ever and is held to two turns.
        rates: share of the velocities.
        acceleration: [rad/s^2].
        jerk: [rad/s^3].
        inset: [rad] from the ends of the joints.

    Raises:
        UserError: another model.
    """
    _check_model(model)
    ends = tuple(math.pi if name == "elbow_joint" else 2 * math.pi for name in JOINTS)
    published = JointLimits(tuple(-end for end in ends), ends, _FASTEST[model], (acceleration,) * 6, (jerk,) * 6)
    return published.scaled(velocity=rates, inset=inset)
