"""Whatever is asked, no limit is broken and no promise: ROBOLEARN_ADVERSARIAL=1000000 asks a million times."""

import os

import numpy as np
import pytest

from robolearn.deploy.limits import ToolLimits, Workspace
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robots.franka import franka_chain, franka_limits
from robolearn.deploy.robots.universal import ur_chain, ur_limits
from tests.deploy.adversaries import Adversary, Held
from tests.deploy.arms_for_tests import CHAIN, HOME, WORKSPACE

ASKED = int(os.environ.get("ROBOLEARN_ADVERSARIAL", "4000"))
STRETCHED = (0.0, 0.0, 0.0, -0.25, 0.0, 0.62, 0.0)  # nearly singular
UR_HOME = (0.0, -1.5708, -1.5708, -1.5708, 1.5708, 0.0)
ANYWHERE = Workspace((-2.0, -2.0, -2.0), (2.0, 2.0, 2.0))
AROUND_UR = Workspace((0.25, -0.4, 0.05), (0.7, 0.15, 0.5), 0.05, ((0.0, 0.05, 0.0), (0.0, -0.05, 0.0)))

ARMS = {
    "simulated Franka at 100 Hz": (0.55, CHAIN, franka_limits("panda"), WORKSPACE, HOME, 100, ToolLimits(1.0, 3.0)),
    "FR3 at 250 Hz, no workspace, from a singularity": (
        0.15,
        franka_chain(),
        franka_limits("fr3"),
        ANYWHERE,
        STRETCHED,
        250,
        ToolLimits(2.0, 6.0),
    ),
    "UR5e at 125 Hz": (0.3, ur_chain("ur5e", 0.16), ur_limits("ur5e"), AROUND_UR, UR_HOME, 125, ToolLimits(0.5, 1.5)),
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", ARMS)
def test_no_limit_is_broken_and_no_promise_whatever_is_asked(name):
    share, chain, limits, workspace, home, rate, tool = ARMS[name]
    motion = MotionGenerator(chain, limits, workspace, rate, tool=tool, posture=home)
    motion.start(np.array(home), 0)
    adversary, held = Adversary(7, workspace.low, workspace.high), Held(motion, round(np.ceil(0.03 * rate - 1e-9)))
    random, now, period = np.random.default_rng(8), 0, round(1e9 / rate)
    for _ in range(round(share * ASKED)):
        now += period * (1 if random.random() > 0.002 else int(random.integers(1, 80)))  # the runner stalls at times
        call = now + int(random.uniform(-0.45, 0.45) * period)
        point = motion.follow(adversary.action(), call) if random.random() > 0.01 else motion.decelerate(call)
        held.check(point)
    assert held.broken == {}
    assert (
        min(motion.clamps[reason] for reason in ("not finite", "degenerate rotation", "step", "joint acceleration", "joint velocity")) > 0
    )


def test_a_compliant_arm_is_never_sent_beyond_its_workspace_whatever_is_asked():
    motion = MotionGenerator(
        CHAIN, franka_limits("panda"), WORKSPACE, 100, tool=ToolLimits(3.0, 12.0), posture=HOME, robot_lag=(4.86, 9.16)
    )
    motion.start(np.array(HOME), 0)
    random, (_, facing) = np.random.default_rng(1), CHAIN.forward(np.array(HOME))
    low, high, lowest = np.array(WORKSPACE.low), np.array(WORKSPACE.high), []
    for tick in range(3000):
        if tick % 30 == 0:
            goal = random.uniform(low - 0.2, high + 0.2)
        asked = np.concatenate([goal, facing[:2].reshape(-1), [1.0]])
        point = motion.follow(asked, tick * 10_000_000) if tick % 300 < 280 else motion.decelerate(tick * 10_000_000)
        assert (point.position >= low - 1e-3).all() and (point.position <= high + 1e-3).all()
        lowest.append((point.position[2] + np.array(WORKSPACE.tool_points) @ point.rotation[2]).min())
    assert WORKSPACE.table_height is not None and min(lowest) >= WORKSPACE.table_height - 1e-3


def test_the_checks_above_see_what_is_broken():
    motion = MotionGenerator(CHAIN, franka_limits("panda"), WORKSPACE, 100, posture=HOME)
    motion.start(np.array(HOME), 0)
    loose = franka_limits("panda", rates=0.1, acceleration=0.1, jerk=0.01)
    strict = MotionGenerator(CHAIN, loose, Workspace((0.56, -1, 0.12), (0.58, 1, 0.2), 0.12), 100)
    adversary, held = Adversary(7, WORKSPACE.low, WORKSPACE.high), Held(strict, 3)
    for tick in range(800):
        point = motion.follow(adversary.action(), tick * 10_000_000)
        if tick % 100 == 50:  # what was promised is forgotten
            motion.start(point.positions[0], tick * 10_000_000)
        held.check(point)
    assert {"velocity", "acceleration", "jerk", "workspace", "table", "promise"} <= set(held.broken)


def test_after_all_that_a_sensible_target_is_reached():
    motion = MotionGenerator(CHAIN, franka_limits("panda"), WORKSPACE, 100, tool=ToolLimits(1.0, 3.0), posture=HOME)
    position, rotation = CHAIN.forward(np.array(HOME))
    sensible = np.concatenate([position, rotation[:2].reshape(-1), [1.0]])
    for seed in range(3):
        motion.start(np.array(HOME), 0)
        adversary = Adversary(seed, WORKSPACE.low, WORKSPACE.high)
        for tick in range(400):
            motion.follow(adversary.action(), tick * 10_000_000)
        for tick in range(400, 1200):
            point = motion.follow(sensible, tick * 10_000_000)
        assert np.linalg.norm(CHAIN.forward(point.positions[0])[0] - position) < 2e-3
