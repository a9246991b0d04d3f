"""An action's client as ROS 2 has it: goals over three services, feedback over a topic."""

from __future__ import annotations

import threading
import uuid
import weakref
from collections.abc import Callable

import numpy as np

from robolearn.deploy.transport.action_server import ENDS, FEEDBACK, action_names
from robolearn.deploy.transport.base import ActionClient, Goal, Message, Received, TransportError
from robolearn.deploy.transport.services import ExchangeTransport

_ENDED = {code: name for name, code in ENDS.items()}


class ExchangeActionClient(ActionClient):
    """Sends goals to one action."""

    def __init__(self, transport: ExchangeTransport, action: str, type: str) -> None:
        self.transport, self.action, self.type = transport, action, type
        names = action_names(action)
        self._goals: weakref.WeakValueDictionary[bytes, SentGoal] = weakref.WeakValueDictionary()
        # First, so that a server that knows whom to answer knows whom to tell how it goes.
        self._feedback = transport.subscribe(names["feedback"], f"{type}_FeedbackMessage", self._on_feedback, FEEDBACK)
        self.send_goal = transport.caller(names["send_goal"], f"{type}_SendGoal")
        self.cancel_goal = transport.caller(names["cancel_goal"], "action_msgs/srv/CancelGoal")
        self.get_result = transport.caller(names["get_result"], f"{type}_GetResult")

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        return all(caller.ready for caller in (self.send_goal, self.cancel_goal, self.get_result)) and self._feedback.writers > 0

    def send(self, goal: Message, feedback: Callable[[Message], None] | None = None) -> Goal:
        """Send a goal; does not wait."""
        if not self.ready:
            raise TransportError(f"nobody serves the action {self.action}")
        sent = SentGoal(self, feedback)
        self._goals[sent.id.tobytes()] = sent
        sent.start(goal)
        return sent

    def _on_feedback(self, received: Received) -> None:
        goal = self._goals.get(received.message.goal_id.uuid.tobytes())
        if goal is not None and goal.feedback is not None:
            goal.feedback(received.message.feedback)


class SentGoal(Goal):
    """A goal that was sent.

    Attributes:
        id: ``(16,)`` bytes that name it.
        feedback: called with the server's feedback, on the transport's thread.
    """

    def __init__(self, client: ExchangeActionClient, feedback: Callable[[Message], None] | None) -> None:
        self.id, self.feedback = np.frombuffer(uuid.uuid4().bytes, np.uint8), feedback
        self._client = client
        self._answered, self._ended = threading.Event(), threading.Event()
        self._accepted = False
        self._outcome: Message | None = None

    def start(self, goal: Message) -> None:
        """Send the goal, and once it is accepted ask for the result."""
        request = self._make("SendGoal_Request", goal_id={"uuid": self.id}, goal=goal)
        self._client.send_goal.send(request, self._on_answer)

    def accepted(self, timeout: float) -> bool:
        """Whether the server took it, waiting at most ``timeout`` [s]."""
        if not self._client.transport.wait(self._answered, timeout):
            raise TransportError(f"the action {self._client.action} did not answer a goal within {timeout:g} s")
        return self._accepted

    def result(self, timeout: float) -> tuple[str, Message]:
        """How it ended, and the result message."""
        if self._answered.is_set() and not self._accepted:
            raise TransportError(f"the action {self._client.action} rejected the goal, which so has no result")
        if not self._client.transport.wait(self._ended, timeout):
            raise TransportError(f"the action {self._client.action} had no result within {timeout:g} s")
        if self._outcome is None or self._outcome.status not in _ENDED:
            raise TransportError(f"the action {self._client.action} does not know the goal, or rejected it")
        return _ENDED[self._outcome.status], self._outcome.result

    def cancel(self) -> None:
        """Ask the server to stop; does not wait."""
        info = {"goal_id": {"uuid": self.id}}
        request = self._client.transport.messages.new("action_msgs/srv/CancelGoal_Request", goal_info=info)
        self._client.cancel_goal.send(request, lambda _: None)

    def _make(self, part: str, **fields: object) -> Message:
        return self._client.transport.messages.new(f"{self._client.type}_{part}", **fields)

    def _on_answer(self, response: Message) -> None:
        self._accepted = bool(response.accepted)
        if self._accepted:
            self._client.get_result.send(self._make("GetResult_Request", goal_id={"uuid": self.id}), self._on_result)
        else:
            self._ended.set()
        self._answered.set()

    def _on_result(self, response: Message) -> None:
        self._outcome = response
        self._ended.set()
