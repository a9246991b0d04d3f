"""Actions through rclpy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from robolearn.deploy.transport.action_server import ENDS
from robolearn.deploy.transport.base import ActionClient, Goal, GoalHandle, Message, TransportError
from robolearn.deploy.transport.rclpy_services import wait_for
from robolearn.deploy.transport.rclpy_types import class_of, from_rclpy, to_rclpy

if TYPE_CHECKING:
    from robolearn.deploy.transport.rclpy_transport import Rclpy

_ENDED = {code: name for name, code in ENDS.items()}


def serve_action(owner: Rclpy, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
    """Take an action's goals.

    Rclpy would have a goal executed within one call, which would hold up its thread. So a goal is only noted when it is accepted,
    and is executed, in rclpy's sense, at the moment it is finished; until then its status is ACCEPTED.
    """
    from rclpy.action import ActionServer, CancelResponse, GoalResponse

    def on_goal(asked: Any) -> Any:
        taken = owner.turns.run(f"the action {action}", lambda: accept(from_rclpy(owner.messages, f"{type}_Goal", asked)))
        return GoalResponse.ACCEPT if taken else GoalResponse.REJECT

    def on_accepted(handle: Any) -> None:
        goal = from_rclpy(owner.messages, f"{type}_Goal", handle.request)
        owner.turns.run(f"the action {action}", execute, RclpyGoalHandle(owner, type, handle, goal))

    ActionServer(
        owner.node,
        class_of(type),
        action,
        execute_callback=lambda handle: class_of(f"{type}_Result")(),
        goal_callback=on_goal,
        handle_accepted_callback=on_accepted,
        cancel_callback=lambda _: CancelResponse.ACCEPT,
    )


class RclpyGoalHandle(GoalHandle):
    """A goal that came."""

    def __init__(self, owner: Rclpy, type: str, handle: Any, goal: Message) -> None:
        self.goal = goal
        self._owner, self._type, self._handle = owner, type, handle
        self._lock = threading.Lock()
        self._ended = False

    @property
    def cancel_requested(self) -> bool:
        """Whether the client asked to stop."""
        return bool(self._handle.is_cancel_requested)

    def feedback(self, message: Message) -> None:
        """Tell the client how it goes."""
        self._handle.publish_feedback(to_rclpy(self._owner.messages, message))

    def finish(self, status: Literal["succeeded", "canceled", "aborted"], result: Message) -> None:
        """End the goal; once."""
        if status not in ENDS:
            raise TransportError(f"a goal ends {', '.join(ENDS)}, not {status!r}")
        given = to_rclpy(self._owner.messages, result)
        with self._lock:
            if self._ended:
                raise TransportError(f"this goal has ended already; it cannot end {status} again")
            self._ended = True

        def end(handle: Any) -> Any:
            if status == "succeeded":
                handle.succeed()
            elif status == "canceled" and handle.is_cancel_requested:
                handle.canceled()
            else:  # ROS 2 knows no goal that was cancelled without anybody's asking
                handle.abort()
            return given

        self._handle.execute(end)


class RclpyActionClient(ActionClient):
    """Sends goals to one action."""

    def __init__(self, owner: Rclpy, action: str, type: str) -> None:
        from rclpy.action import ActionClient as Client

        self.owner, self.action, self.type = owner, action, type
        self._client = Client(owner.node, class_of(type), action)

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        return self.owner.is_open and bool(self._client.server_is_ready())

    def send(self, goal: Message, feedback: Callable[[Message], None] | None = None) -> Goal:
        """Send a goal; does not wait."""
        if not self.ready:
            raise TransportError(f"nobody serves the action {self.action}")

        def on_feedback(told: Any) -> None:
            message = from_rclpy(self.owner.messages, f"{self.type}_Feedback", told.feedback)
            if feedback is not None:
                self.owner.turns.run(f"feedback of {self.action}", feedback, message)

        return SentGoal(self, self._client.send_goal_async(to_rclpy(self.owner.messages, goal), on_feedback if feedback else None))


class SentGoal(Goal):
    """A goal that was sent.

    Args:
        client: that sent it.
        answer: rclpy's future of its acceptance.
    """

    def __init__(self, client: RclpyActionClient, answer: Any) -> None:
        self._client, self._answer = client, answer
        self._outcome: Any = None
        self._cancelled = False
        self._asked = threading.Event()  # for the result, or not to be asked for one
        answer.add_done_callback(self._on_answer)

    def accepted(self, timeout: float) -> bool:
        """Whether the server took it, waiting at most ``timeout`` [s]."""
        late = f"the action {self._client.action} did not answer a goal within {timeout:g} s"
        return bool(wait_for(self._client.owner, self._answer, timeout, late).accepted)

    def result(self, timeout: float) -> tuple[str, Message]:
        """How it ended, and the result message."""
        late = f"the action {self._client.action} had no result within {timeout:g} s"
        if not self._client.owner.turns.wait(self._asked, timeout):
            raise TransportError(late)
        if self._outcome is None:
            raise TransportError(f"the action {self._client.action} rejected the goal, which so has no result")
        outcome = wait_for(self._client.owner, self._outcome, timeout, late)
        if outcome.status not in _ENDED:
            raise TransportError(f"the action {self._client.action} does not know the goal (status {outcome.status})")
        message = from_rclpy(self._client.owner.messages, f"{self._client.type}_Result", outcome.result)
        return _ENDED[outcome.status], message

    def cancel(self) -> None:
        """Ask the server to stop; does not wait."""
        self._cancelled = True
        if self._answer.done() and self._answer.result() is not None and self._answer.result().accepted:
            self._answer.result().cancel_goal_async()

    def _on_answer(self, answer: Any) -> None:
        """Called by rclpy when the server has answered."""
        handle = answer.result()
        if handle is not None and handle.accepted:
            self._outcome = handle.get_result_async()
            if self._cancelled:
                handle.cancel_goal_async()
        self._asked.set()
