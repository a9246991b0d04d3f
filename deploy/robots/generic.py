"""Any arm of turning joints, from its description."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from robolearn.deploy.kinematics import Chain, pose
from robolearn.deploy.robot import Robot
from robolearn.deploy.urdf import limits_from_urdf
from robolearn.errors import UserError
from robolearn.nodes import check_arguments


def robot_of_urdf(
    path: str,
    base: str,
    tip: str,
    *,
    tool_xyz: Sequence[float] = (0.0, 0.0, 0.0),
    tool_rpy: Sequence[float] = (0.0, 0.0, 0.0),
    acceleration: float = 5.0,
    jerk: float = 1000.0,
    rates: float = 0.5,
    **others: Any,
) -> Robot:
    """A robot whose joints, kinematics and limits a URDF says.

    Args:
        path: the URDF, its macros expanded.
        base: the link whose frame policies' poses are in.
        tip: the link that the tool is fixed to.
        tool_xyz: the tool centre point, seen from ``tip`` [m].
        tool_rpy: its roll, pitch, yaw there [rad].
        acceleration: of each joint [rad/s^2]; descriptions have none.
        jerk: of each joint [rad/s^3].
        rates: share of the description's velocities.
        others: arguments of :class:`robolearn.deploy.robot.Robot`.

    Raises:
        UserError: the URDF has no such arm, or another argument is wrong.
    """
    if len(tool_xyz) != 3 or len(tool_rpy) != 3:
        raise UserError(f"a tool takes xyz and rpy of three numbers each, got {list(tool_xyz)} and {list(tool_rpy)}")
    check_arguments("a robot", Robot, others)
    chain = Chain.from_urdf(path, base, tip, pose(tool_xyz, tool_rpy))
    limits = limits_from_urdf(path, base, tip, acceleration=acceleration, jerk=jerk, rates=rates)
    return Robot(joints=chain.names, chain=chain, limits=limits, **{"base_frame": base, **others})
