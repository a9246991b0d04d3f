"""A world of a point that is a tool, an operator who goes to the goal, and a policy that goes past it."""

from dataclasses import replace

import numpy as np

from robolearn.deploy.teleop.device import OperatorInput
from robolearn.spec import ArraySpec
from tests.fakes import IDENTITY_ROT6D, POINT_REACH_SPEC, PointReach

SPEC = replace(POINT_REACH_SPEC, observation={**POINT_REACH_SPEC.observation, "tcp_rot6d": ArraySpec((6,), units="rot6d")})


class PosedPoint(PointReach):
    """Shows a rotation, too, as a tool does, and keeps the actions it was given."""

    env_spec = SPEC
    given = []  # noqa: RUF012

    def step(self, actions):
        PosedPoint.given.append(np.array(actions[0]))
        return super().step(actions)

    def _observation(self):
        return {**super()._observation(), "tcp_rot6d": np.tile(IDENTITY_ROT6D, (self.num_envs, 1))}


class Scripted:
    """A device that plays a list: each entry is events, and whether somebody is there; its target is half way to the goal, or given."""

    script = []  # noqa: RUF012
    last = None

    def __init__(self, name="scripted"):
        Scripted.last = self
        self.polls, self.shown, self.closed, self.goal = 0, [], False, None
        self.target = None

    def open(self):
        pass

    def poll(self, now_ns, tool):
        events, active = self.script[self.polls] if self.polls < len(self.script) else ((), True)
        self.polls += 1
        assert self.polls < 500, "the session does not end"
        target = tool.copy()
        if self.target is not None:
            target = np.asarray(self.target, np.float32)
        return OperatorInput(target, active, tuple(events), now_ns)

    def show(self, status, pictures):
        self.shown.append(status)

    def close(self):
        self.closed = True


class PastTheGoal:
    """A policy that goes to a corner, and counts how often it was told to forget its plan."""

    env_spec = SPEC
    resets = 0

    def __init__(self, num_envs, checkpoint=""):
        PastTheGoal.resets = 0

    def reset(self, rows, seeds):
        PastTheGoal.resets += 1

    def act(self, observation):
        return np.concatenate([[0.4, 0.4, 0.4], IDENTITY_ROT6D, [1.0]])[None].astype(np.float32)
