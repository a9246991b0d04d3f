"""Adversarial targets, tick after tick, through everything between a policy and the arm: limits are held, and nothing jumps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.drills.rig import options_of
from robolearn.deploy.robot import Robot
from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.runner.target_checks import TargetChecks
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.sim_robot.controllers import MILLISECOND, TrajectoryController
from robolearn.deploy.sim_robot.guard import FrankaGuard
from robolearn.deploy.sim_robot.trajectory import RejectedTrajectory
from robolearn.deploy.transport.in_process import Bus, InProcess
from robolearn.nodes import instantiate
from robolearn.rotation import matrix_from_rotvec, rot6d_from_matrix

Array = NDArray[np.float64]

LATEST = 0.008  # [s] that a message may take


def hostile(random: np.random.Generator, low: Array, high: Array, tick: int) -> Array:
    """One target ``(10,)`` of a manner that changes every few dozen ticks: anywhere, at corners, outside, no numbers, no rotation."""
    manner = (tick // 40 * 7919) % 9
    position, turn = random.uniform(low, high), random.normal(size=3) * 2
    if manner == 0:
        position = np.where(random.random(3) < 0.5, low, high)
    elif manner == 1:
        position, turn = (low, np.array([3.1, 0.0, 0.0])) if tick % 2 else (high, np.array([-3.1, 0.01, 0.0]))
    elif manner == 2:
        position = random.normal(size=3) * 10 ** random.uniform(0, 8)
    elif manner == 3:
        position[2], turn = random.uniform(-1.0, 0.01), np.array([np.pi, 0.3 * random.normal(), 0.0])
    action = np.concatenate([position, rot6d_from_matrix(matrix_from_rotvec(turn)), [random.choice([-1.0, 1.0])]])
    if manner == 4:
        action[random.random(10) < 0.3] = random.choice([np.nan, np.inf, -np.inf])
    elif manner == 5:
        action = random.normal(size=10) * 10 ** random.uniform(0, 300)
    elif manner == 6:
        action[6:9] = action[3:6]
    elif manner == 7:
        action[:] = 0.0
    return action


class _Player:
    """A trajectory controller and libfranka's watch on it, fed with messages that arrive when they arrive."""

    def __init__(self, robot: Robot, now: int) -> None:
        self.controller, self.guard = TrajectoryController(robot.joints), FrankaGuard(PUBLISHED["panda"])
        self.controller.hold(np.array(robot.home), now)
        self.guard.reset(np.array(robot.home))
        self._now, self.rejected = now, 0

    def take(self, message: Any, arrival: int) -> None:
        """A message arrives."""
        self.play(arrival)
        try:
            self.controller.take(message, arrival)
        except RejectedTrajectory:
            self.rejected += 1

    def play(self, until: int) -> None:
        """The milliseconds up to then."""
        times = np.arange(self._now + MILLISECOND, until + 1, MILLISECOND, dtype=np.int64)
        if len(times):
            self.guard.check(self.controller.motion(times).position)
            self._now = int(times[-1])


def play(count: int, robot: str = "sim_franka", seed: int = 0) -> Mapping[str, Any]:
    """Play ``count`` targets; counts of what broke, by name, which are all to be 0."""
    arm: Robot = instantiate(options_of(robot))
    motion, random = arm.motion(), np.random.default_rng(seed)
    checks, now, period = TargetChecks(motion), 1_000_000_000, round(1e9 / arm.rate_hz)
    low, high = np.array(arm.workspace.low), np.array(arm.workspace.high)
    broken = {"joint limits": 0, "workspace": 0, "not at rest": 0}
    refused = 0
    with InProcess(Bus(threaded=False)) as transport:
        arm.arm.open(transport, arm)
        motion.start(np.array(arm.home), now)
        player, arrival = _Player(arm, now), now
        for tick in range(count):
            now += period
            action = hostile(random, low, high, tick)
            called = now + int(min(random.exponential(3e5), 4e6))
            refused += bool(checks.look(action))  # which the runner holds for; here it is followed all the same
            checks.followed()
            setpoint = motion.follow(action, called)
            _count(broken, setpoint, arm)
            arrival = max(arrival, called + int(random.uniform(0, LATEST) * 1e9))
            player.take(arm.arm.message(setpoint), arrival)
        player.play(now + 2_000_000_000)
    violations = sum(number for name, number in broken.items())
    guard = dict(player.guard.counts)
    return {
        "vectors": count,
        "limit_violations": violations,
        "discontinuity_faults": sum(guard.values()),
        "rejected_messages": player.rejected,
        "refused_targets": refused,
        "broken": broken,
        "guard": guard,
        "clamps": dict(motion.clamps),
    }


def _count(broken: dict[str, int], setpoint: Setpoint, robot: Robot) -> None:
    limits, tiny = robot.limits, 1e-6
    wrong = (setpoint.positions > np.array(limits.upper) + tiny) | (setpoint.positions < np.array(limits.lower) - tiny)
    wrong |= np.abs(setpoint.velocities) > np.array(limits.velocity) * (1 + tiny)
    wrong |= np.abs(setpoint.accelerations) > np.array(limits.acceleration) * (1 + 1e-5)
    broken["joint limits"] += not np.isfinite(setpoint.positions).all() or bool(wrong.any())
    tool, turned = robot.chain.forward(setpoint.positions)
    outside = (tool < np.array(robot.workspace.low) - 1e-3).any() or (tool > np.array(robot.workspace.high) + 1e-3).any()
    table = robot.workspace.table_height
    heights = tool[:, 2:] + turned[:, 2] @ np.array(robot.workspace.tool_points).T
    broken["workspace"] += bool(outside or (table is not None and heights.min() < table - 1e-3))
    broken["not at rest"] += bool(setpoint.velocities[-1].any())
