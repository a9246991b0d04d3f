"""How far an episode of one_leg has come: its stages, in order, and the goal pose of FurnitureBench."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.furniture import HOLES, LEG_HALF, SEATED, TOP_HALF
from robolearn.sim.tasks.one_leg_view import OneLegView
from robolearn.sim.thread import RelativePose, Thread

Mask = NDArray[np.bool_]

_HOLES = np.array(HOLES)
_GOALS = np.stack([_HOLES[:, 0], np.full(len(HOLES), SEATED), _HOLES[:, 1]], 1)  # (4, 3)
GOAL_TOLERANCE = 0.005  # [m] an axis
GOAL_COSINE = 0.94  # of each axis of the leg with that of the top
# The fence's inner walls, seen from its origin [m]: where the top's +x and +y edges stop.
_WALLS = np.array([-0.01, 0.165])


def at_goal(pose: RelativePose) -> Mask:
    """Whether the leg is at one of the four goal poses: 5 mm an axis, axis cosines >= 0.94, ``(N,)``."""
    near: Mask = (np.abs(pose.position[:, None] - _GOALS) <= GOAL_TOLERANCE).all(2).any(1)
    aligned: Mask = (np.diagonal(pose.rotation, axis1=1, axis2=2) >= GOAL_COSINE).all(1)
    both: Mask = near & aligned
    return both


def advance_stages(stages: Mask, view: OneLegView, pose: RelativePose, thread: Thread | None) -> None:
    """Latch in ``stages (N, 6)`` each stage once it and all before it have been reached.

    The last, success, is the goal pose alone, now, whatever led to it.
    """
    reached = np.ones(len(stages), bool)
    for index, condition in enumerate(_conditions(view, pose, thread)):
        stages[:, index] |= condition & reached
        reached = stages[:, index]
    stages[:, -1] = at_goal(pose)


def _conditions(view: OneLegView, pose: RelativePose, thread: Thread | None) -> tuple[Mask, ...]:
    """Pushed, grasped, upright, inserted, screwed: whether each holds now, ``(N,)``."""
    top, leg, width = view.top, view.leg, view.gripper_width
    gap = view.fence_position[:, :2] + _WALLS - TOP_HALF[0] - top[:, :2]
    held = (width > 0.02) & (width < 0.045) & (np.linalg.norm(leg[:, :3] - view.tcp_position, axis=1) < 0.06)
    at_hole = (np.abs(pose.pin_end[:, None, [0, 2]] - _HOLES).max(2) < 0.006).any(1)
    height = thread.height() if thread is not None else pose.position[:, 1] - SEATED
    return (
        (gap[:, 0] < 0.015) & (gap[:, 1] < 0.03),
        held & (leg[:, 2] > 2 * LEG_HALF[0]),
        pose.rotation[:, 1, 1] > 0.9,
        at_hole & (pose.pin_end[:, 1] < TOP_HALF[1] - 0.010),
        at_hole & (height < 0.0035),
    )
