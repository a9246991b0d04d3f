"""Franka's hand, simulated: the actions of its driver, and its fingers' joint states."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from robolearn.deploy.transport.base import GoalHandle, Message, Transport

ARRIVED = 0.003  # [m]
STILL = 0.003  # [m/s] below which fingers have stopped
PATIENCE = 2.0  # [s] of a goal


@dataclass
class _Task:
    """A goal under way: what it asked for, and when it began."""

    handle: GoalHandle
    kind: str
    width: float
    inner: float
    outer: float
    begun: int | None = None


class FrankaHand:
    """Serves ``<node>/move``, ``/grasp``, ``/homing`` and ``/gripper_action``; one goal at a time, the newest.

    Args:
        transport: where.
        close_to: tells the world how far apart the fingers should be [m].
        node: name of the gripper's node.
        widest: opening [m].
    """

    def __init__(
        self, transport: Transport, close_to: Callable[[float], None], node: str = "/franka_gripper", widest: float = 0.08
    ) -> None:
        self._new, self._close_to, self._widest = transport.messages.new, close_to, widest
        self._lock = threading.Lock()
        self._task: _Task | None = None
        self._wish: float | None = None
        for name, type in (("move", "Move"), ("grasp", "Grasp"), ("homing", "Homing")):
            transport.serve_action(f"{node}/{name}", f"franka_msgs/action/{type}", self._sound, self._begin(name))
        transport.serve_action(f"{node}/gripper_action", "control_msgs/action/GripperCommand", self._sound, self._begin("command"))

    def _sound(self, goal: Message) -> bool:
        wanted = [getattr(goal, name) for name in ("width", "speed", "force") if hasattr(goal, name)]
        wanted += [goal.command.position] if hasattr(goal, "command") else []
        return all(-1e-6 <= value < 1e4 for value in wanted)

    def _begin(self, kind: str) -> Callable[[GoalHandle], None]:
        def begin(handle: GoalHandle) -> None:
            goal = handle.goal
            width = {"homing": self._widest}.get(kind, getattr(goal, "width", 0.0))
            inner = outer = 1.0
            if kind == "grasp":
                inner, outer = goal.epsilon.inner, goal.epsilon.outer
            elif kind == "command":
                width = 2 * goal.command.position
            with self._lock:
                before, self._task = self._task, _Task(handle, kind, float(width), float(inner), float(outer))
                self._wish = float(width)
            if before is not None:
                self._finish(before, "aborted", False, "another goal came")

        return begin

    @property
    def busy(self) -> bool:
        """Whether a goal is under way."""
        return self._task is not None

    def step(self, width: float, speed: float, now: int) -> None:
        """Go on with the goal, the fingers being ``width`` [m] apart and closing at ``speed`` [m/s] at ``now`` [ns]."""
        with self._lock:
            task, wish, self._wish = self._task, self._wish, None
        if wish is not None:
            self._close_to(wish)
        if task is None:
            return
        task.begun = now if task.begun is None else task.begun
        elapsed = (now - task.begun) * 1e-9
        arrived = abs(width - min(task.width, self._widest)) < ARRIVED
        stopped = elapsed > 0.2 and abs(speed) < STILL
        if task.handle.cancel_requested:
            self._end(task, "canceled", False, "canceled", width, arrived)
        elif arrived or stopped or elapsed > PATIENCE:
            held = task.width - task.inner <= width <= task.width + task.outer
            well = held if task.kind == "grasp" else arrived or stopped
            self._end(task, "succeeded" if well else "aborted", well, "" if well else f"the fingers stand at {width:.3f} m", width, arrived)

    def forget(self) -> None:
        """The scene was reset: abort what is under way, and open."""
        with self._lock:
            task, self._task, self._wish = self._task, None, None
        if task is not None:
            self._finish(task, "aborted", False, "the scene was reset")

    def _end(self, task: _Task, status: Any, success: bool, error: str, width: float, arrived: bool) -> None:
        with self._lock:
            if self._task is not task:
                return
            self._task = None
        self._finish(task, status, success, error, width, arrived)

    def _finish(self, task: _Task, status: Any, success: bool, error: str, width: float = 0.0, arrived: bool = False) -> None:
        if task.kind == "command":
            fields = {"position": width / 2, "stalled": success and not arrived, "reached_goal": arrived}
            result = self._new("control_msgs/action/GripperCommand_Result", **fields)
        else:
            name = {"move": "Move", "grasp": "Grasp", "homing": "Homing"}[task.kind]
            result = self._new(f"franka_msgs/action/{name}_Result", success=success, error=error)
        task.handle.finish(status, result)
