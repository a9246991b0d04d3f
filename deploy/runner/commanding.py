"""The command loop of a robot, with what ``conf/run.yaml`` says of its safety."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.checks import Check, ClockCheck, TrackingCheck
from robolearn.deploy.runner.clocks import RobotClock
from robolearn.deploy.runner.command import Command
from robolearn.deploy.runner.contact import Contact
from robolearn.deploy.runner.driver import RobotDriver
from robolearn.deploy.runner.target_checks import TargetChecks
from robolearn.deploy.safety import Supervisor
from robolearn.deploy.sensors.sensors import JOINTS, Sensors, sources_of
from robolearn.errors import UserError

AGREE_S = 0.02  # [s] by which clocks may differ on which trajectories are stamped: half the robot's lead where that is less ...
LEAST_S = 0.01  # [s] ... and no less than this
NUMBERS = ("hold_s", "ramp_s", "holds", "tracking_rad", "tracking_m", "deaf_s", "follow_rad", "near_m", "near_rad")


def make_command(
    robot: Robot,
    safety: Mapping[str, Any],
    sensors: Sensors,
    driver: RobotDriver,
    checks: Sequence[Check],
    *,
    clock: Callable[[], int],
    monotonic: Callable[[], int] = time.monotonic_ns,
    dry_run: bool = False,
) -> Command:
    """What commands ``robot``.

    Args:
        robot: its limits, its lags and its arm.
        safety: ``safety`` of ``conf/run.yaml``.
        sensors: where the arm is.
        driver: the arm and the gripper.
        checks: what could be wrong, but for the clocks, and what is found out by where the arm is.
        clock: [ns], of the stamps.
        monotonic: [ns], which never jumps.
        dry_run: send nothing.

    Raises:
        UserError: the robot's clock is not ours, and its commands are stamped on ours.
    """
    number = {name: float(safety[name]) for name in NUMBERS}
    motion, compliant = robot.motion(), robot.robot_lag is not None
    joints = sources_of(robot)[JOINTS][0]
    if robot.arm.stamped and not joints.stamped:
        words = f"robot {robot.name!r} stamps its trajectories, and joint_states.stamped=false says that its clock is not ours"
        raise UserError(f"{words}: they would begin at any time; set robot.arm.stamped=false, too")
    agree = min(AGREE_S, max(robot.lead / 2, LEAST_S)) if robot.arm.stamped else math.inf
    jumps = ClockCheck(monotonic=monotonic, clock=clock)
    return Command(
        sensors,
        driver,
        motion,
        Supervisor(number["hold_s"], number["ramp_s"], int(number["holds"])),
        [jumps, *checks],
        TrackingCheck(robot.chain, number["tracking_rad"], number["tracking_m"], compliant=compliant),
        compliant=compliant,
        contact=Contact(deaf_s=number["deaf_s"], silent_s=robot.deaf, follow_rad=number["follow_rad"], compliant=compliant),
        targets=TargetChecks(motion, number["near_m"], number["near_rad"]),
        within=robot.arm.within(robot),
        clock=clock,
        settle=robot.arm.settle,
        robot_clock=RobotClock(
            agree, joints.latency, tick_s=1 / robot.rate_hz, jumps=lambda: jumps.jumps, stamped=lambda: sensors.joints_stamped
        ),
        dry_run=dry_run,
    )
