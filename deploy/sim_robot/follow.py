"""The action of a joint trajectory controller: a trajectory with tolerances, and word of how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sim_robot.controllers import TrajectoryController
from robolearn.deploy.sim_robot.trajectory import Motion, RejectedTrajectory, read_trajectory
from robolearn.deploy.transport.base import GoalHandle, Message, Transport
from robolearn.protocols import RobotState

Array = NDArray[np.float64]

TYPE = "control_msgs/action/FollowJointTrajectory"
FEEDBACK_HZ = 20.0
SUCCESSFUL, INVALID_GOAL, PATH_VIOLATED, GOAL_VIOLATED = 0, -1, -4, -5


@dataclass
class _Goal:
    """A goal under way: tolerances ``(J,)`` [rad], infinite where there are none."""

    handle: GoalHandle
    path: Array
    goal: Array
    patience: float
    told: int = 0


class FollowTrajectory:
    """Serves ``<controller>/follow_joint_trajectory``; one goal at a time, the newest.

    Only positions are held to tolerances. A tolerance of 0 is the controller's own, which is none. With a ``goal_time_tolerance`` of 0 the
    arm has all the time it needs to come within the goal's tolerance.

    Args:
        transport: where.
        controller: plays the trajectories.
        active: whether it has the arm; goals are refused where it has not.
    """

    def __init__(self, transport: Transport, controller: TrajectoryController, active: Callable[[], bool]) -> None:
        self._new, self._now, self._controller, self._active = transport.messages.new, transport.now, controller, active
        self._lock = threading.Lock()
        self._fresh: GoalHandle | None = None
        self._goal: _Goal | None = None
        transport.serve_action(f"{controller.name}/follow_joint_trajectory", TYPE, self._accept, self._execute)

    @property
    def busy(self) -> bool:
        """Whether a goal is under way."""
        return self._goal is not None

    @property
    def waiting(self) -> bool:
        """Whether a goal is to begin."""
        return self._fresh is not None

    def begin(self, now: int) -> bool:
        """Begin the goal that came last, if one did; whether one began."""
        with self._lock:
            handle, self._fresh = self._fresh, None
        if handle is None:
            return False
        self.abort("another goal came")
        message = handle.goal
        path, end = self._tolerance(message.path_tolerance), self._tolerance(message.goal_tolerance)
        goal = _Goal(handle, path, end, _seconds(message))
        try:
            self._controller.take(message.trajectory, now)
        except RejectedTrajectory as error:  # it was sound when it was accepted: time has passed
            self._finish(goal, "aborted", INVALID_GOAL, str(error))
            return False
        self._goal = goal
        return True

    def step(self, desired: Motion, state: RobotState, now: int) -> None:
        """Go on with the goal, ``desired (1, J)`` being where the arm should be at ``now`` [ns]."""
        goal = self._goal
        if goal is None:
            return
        away = desired.position[0] - state.position
        late = (now - self._controller.end) * 1e-9
        if goal.handle.cancel_requested:
            self._controller.hold(desired.position[0] if late >= 0 else state.position, now)
            self._end("canceled", SUCCESSFUL, "canceled")
        elif late < 0 and (np.abs(away) > goal.path).any():
            self._violated(PATH_VIOLATED, "path", away, goal.path, state, now)
        elif late >= 0 and (np.abs(away) <= goal.goal).all():
            self._end("succeeded", SUCCESSFUL, "")
        elif late > goal.patience:
            self._violated(GOAL_VIOLATED, "goal", away, goal.goal, state, now)
        elif now - goal.told >= 1e9 / FEEDBACK_HZ:
            goal.told = now
            self._tell(goal, desired, state)

    def abort(self, why: str) -> None:
        """End the goal under way, if there is one: somebody else has the arm."""
        if self._goal is not None:
            self._end("aborted", INVALID_GOAL, why)

    def _violated(self, code: int, what: str, away: Array, tolerance: Array, state: RobotState, now: int) -> None:
        worst = int(np.argmax(np.abs(away) - tolerance))
        name = self._controller.joints[worst]
        self._controller.hold(state.position, now)
        self._end("aborted", code, f"{name} is {abs(away[worst]):.3f} rad off, beyond the {what} tolerance of {tolerance[worst]:g}")

    def _accept(self, goal: Message) -> bool:
        try:
            read_trajectory(goal.trajectory, self._controller.joints, self._now())
        except RejectedTrajectory as error:
            self._controller.rejected = str(error)
            return False
        return self._active() and {str(each.name) for each in (*goal.path_tolerance, *goal.goal_tolerance)} <= set(self._controller.joints)

    def _execute(self, handle: GoalHandle) -> None:
        with self._lock:
            before, self._fresh = self._fresh, handle
        if before is not None:
            before.finish("aborted", self._result(INVALID_GOAL, "another goal came"))

    def _tolerance(self, given: Iterable[Any]) -> Array:
        """Tolerances of the joints ``(J,)``: what is not positive is none."""
        by_name = {str(each.name): float(each.position) for each in given}
        return np.array([by_name[name] if by_name.get(name, 0.0) > 0 else np.inf for name in self._controller.joints])

    def _tell(self, goal: _Goal, desired: Motion, state: RobotState) -> None:
        points = {
            "desired": {"positions": desired.position[0], "velocities": desired.velocity[0]},
            "actual": {"positions": state.position, "velocities": state.velocity},
            "error": {"positions": desired.position[0] - state.position, "velocities": desired.velocity[0] - state.velocity},
        }
        goal.handle.feedback(self._new(f"{TYPE}_Feedback", joint_names=list(self._controller.joints), **points))

    def _result(self, code: int, words: str) -> Message:
        return self._new(f"{TYPE}_Result", error_code=code, error_string=words)

    def _end(self, status: Any, code: int, words: str) -> None:
        goal, self._goal = self._goal, None
        if goal is not None:
            self._finish(goal, status, code, words)

    def _finish(self, goal: _Goal, status: Any, code: int, words: str) -> None:
        goal.handle.finish(status, self._result(code, words))


def _seconds(goal: Message) -> float:
    """How long the arm may take beyond its trajectory [s]."""
    given = goal.goal_time_tolerance
    return float(given.sec + given.nanosec * 1e-9) or np.inf
