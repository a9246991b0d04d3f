"""The simulated robot's arm, and motion of it, for tests."""

import numpy as np

from robolearn.deploy.limits import ToolLimits, Workspace
from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.robots.franka import franka_limits, robosuite_panda_chain

HOME = (-0.026, 0.376, 0.125, -2.138, -0.094, 2.496, 0.019)
WORKSPACE = Workspace((0.2, -0.35, -0.02), (0.8, 0.35, 0.45), -0.001, ((0, 0, 0), (0, 0.02, 0.0098), (0, -0.02, 0.0098)))
TICK = 10_000_000  # [ns] at 100 Hz
CHAIN = robosuite_panda_chain()


def generator(rate_hz=100, workspace=WORKSPACE, limits=None, **options):
    """Motion that stands at home at time 0."""
    options = {"tool": ToolLimits(1.0, 3.0), "posture": HOME, **options}
    motion = MotionGenerator(CHAIN, limits or franka_limits("panda"), workspace, rate_hz, **options)
    motion.start(np.array(HOME), 0)
    return motion


def action(position, rotation, gripper=-1.0):
    """A canonical action."""
    return np.concatenate([position, np.asarray(rotation)[:2].reshape(-1), [gripper]])


def at_home():
    """The tool's pose at home."""
    return CHAIN.forward(np.array(HOME))
