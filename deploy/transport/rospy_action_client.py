"""An action's client as ROS 1's actionlib has it: five topics."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from robolearn.deploy.transport.base import ActionClient, Goal, Message, Received, TransportError
from robolearn.deploy.transport.rospy_action_server import (
    ABORTED,
    PENDING,
    PREEMPTED,
    RECALLED,
    RECALLING,
    REJECTED,
    SUCCEEDED,
    TALK,
    action_topics,
    stamp_of,
)

if TYPE_CHECKING:
    from robolearn.deploy.transport.rospy_transport import Rospy

_ENDED = {SUCCEEDED: "succeeded", PREEMPTED: "canceled", RECALLED: "canceled", ABORTED: "aborted"}


class RospyActionClient(ActionClient):
    """Sends goals to one action."""

    def __init__(self, owner: Rospy, action: str, type: str) -> None:
        self.owner, self.action, self.type = owner, action, type
        self._goals: weakref.WeakValueDictionary[str, SentGoal] = weakref.WeakValueDictionary()
        self._numbers = itertools.count(1)
        topics = action_topics(action, type)
        self._heard = (
            owner.subscribe(*topics["status"], self._on_status, TALK),
            owner.subscribe(*topics["feedback"], self._on_feedback, TALK),
            owner.subscribe(*topics["result"], self._on_result, TALK),
        )
        self._goal = owner.publisher(*topics["goal"], TALK)
        self._cancel = owner.publisher(*topics["cancel"], TALK)

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        return all(end.writers for end in self._heard) and self._goal.readers > 0 and self._cancel.readers > 0

    def send(self, goal: Message, feedback: Callable[[Message], None] | None = None) -> Goal:
        """Send a goal; does not wait."""
        if not self.ready:
            raise TransportError(f"nobody serves the action {self.action}")
        now = self.owner.now()
        sent = SentGoal(self, f"{self.owner.rospy.get_caller_id()}-{next(self._numbers)}-{now}", feedback)
        self._goals[sent.id] = sent
        stamp, kind = stamp_of(now), self.type.replace("/action/", "/msg/")
        named = {"id": sent.id, "stamp": stamp}
        self._goal.publish(self.owner.messages.new(f"{kind}ActionGoal", header={"stamp": stamp}, goal_id=named, goal=goal))
        return sent

    def cancel(self, id: str) -> None:
        """Ask the server to stop a goal."""
        self._cancel.publish(self.owner.messages.new("actionlib_msgs/msg/GoalID", id=id))

    def _on_status(self, received: Received) -> None:
        for status in received.message.status_list:
            goal = self._goals.get(status.goal_id.id)
            if goal is not None:
                goal.take_status(status.status)

    def _on_feedback(self, received: Received) -> None:
        goal = self._goals.get(received.message.status.goal_id.id)
        if goal is not None and goal.feedback is not None:
            goal.feedback(received.message.feedback)

    def _on_result(self, received: Received) -> None:
        goal = self._goals.get(received.message.status.goal_id.id)
        if goal is not None:
            goal.take_result(received.message)


class SentGoal(Goal):
    """A goal that was sent.

    Attributes:
        id: its name.
        feedback: called with the server's feedback, on the transport's thread.
    """

    def __init__(self, client: RospyActionClient, id: str, feedback: Callable[[Message], None] | None) -> None:
        self.id, self.feedback = id, feedback
        self._client = client
        self._decided, self._ended = threading.Event(), threading.Event()
        self._status, self._result = PENDING, None

    def accepted(self, timeout: float) -> bool:
        """Whether the server took it, waiting at most ``timeout`` [s]."""
        if not self._client.owner.turns.wait(self._decided, timeout):
            raise TransportError(f"the action {self._client.action} did not answer a goal within {timeout:g} s")
        return self._status != REJECTED

    def result(self, timeout: float) -> tuple[str, Message]:
        """How it ended, and the result message."""
        if not (self._decided.is_set() and self._status == REJECTED) and not self._client.owner.turns.wait(self._ended, timeout):
            raise TransportError(f"the action {self._client.action} had no result within {timeout:g} s")
        if self._status == REJECTED:
            raise TransportError(f"the action {self._client.action} rejected the goal, which so has no result")
        if self._status not in _ENDED:
            raise TransportError(f"the action {self._client.action} lost the goal (status {self._status})")
        return _ENDED[self._status], self._result

    def cancel(self) -> None:
        """Ask the server to stop; does not wait."""
        self._client.cancel(self.id)

    def take_status(self, status: int) -> None:
        """Hear how it stands; the result is what ends it."""
        if status not in (PENDING, RECALLING) and not self._ended.is_set():
            self._status = status
            self._decided.set()

    def take_result(self, message: Message) -> None:
        """Hear how it ended."""
        self._status, self._result = message.status.status, message.result
        self._decided.set()
        self._ended.set()
