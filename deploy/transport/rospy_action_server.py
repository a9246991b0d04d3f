"""An action's server as ROS 1's actionlib has it: goals and wishes to cancel come on two topics, three tell how they go and end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from robolearn.deploy.transport.base import GoalHandle, Message, QoS, Received, TransportError

if TYPE_CHECKING:
    from robolearn.deploy.transport.rospy_transport import Rospy

# actionlib_msgs/msg/GoalStatus
PENDING, ACTIVE, PREEMPTED, SUCCEEDED, ABORTED, REJECTED, PREEMPTING, RECALLING, RECALLED, LOST = range(10)
ENDS = {"succeeded": SUCCEEDED, "canceled": PREEMPTED, "aborted": ABORTED}
TALK = QoS("reliable", depth=10)
STATUS = QoS("reliable", "transient_local", 10)
_REMEMBERED = 5 * 10**9  # how long a goal that ended, or a wish to cancel one that has not come yet, is known [ns]


def action_topics(action: str, type: str) -> dict[str, tuple[str, str]]:
    """An action's five topics and their types, by what they are for; ``type`` is ``pkg/action/Name``."""
    message = type.replace("/action/", "/msg/")
    types = {"goal": f"{message}ActionGoal", "feedback": f"{message}ActionFeedback", "result": f"{message}ActionResult"}
    types |= {"cancel": "actionlib_msgs/msg/GoalID", "status": "actionlib_msgs/msg/GoalStatusArray"}
    return {part: (f"{action}/{part}", kind) for part, kind in types.items()}


def stamp_of(nanoseconds: int) -> dict[str, int]:
    """A ROS time's fields."""
    return {"sec": nanoseconds // 10**9, "nanosec": nanoseconds % 10**9}


class RospyActionServer:
    """Serves one action; the transport's callbacks keep it alive."""

    def __init__(
        self, owner: Rospy, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]
    ) -> None:
        self.owner, self.action, self.type = owner, action, type
        self._accept, self._execute = accept, execute
        self._goals: dict[str, ServedGoal] = {}
        self._cancelled: dict[str, int] = {}  # ids that were cancelled before their goal came, and when [ns]
        self._cancelled_until = 0  # goals with a stamp up to this are cancelled [ns]
        self._lock = threading.RLock()
        topics = action_topics(action, type)
        self._status = owner.publisher(*topics["status"], STATUS)
        self._result = owner.publisher(*topics["result"], TALK)
        self._feedback = owner.publisher(*topics["feedback"], TALK)
        owner.subscribe(*topics["cancel"], self._on_cancel, TALK)
        owner.subscribe(*topics["goal"], self._on_goal, TALK)
        self.tell_status()

    def tell_status(self) -> None:
        """Publish how all goals stand; those that ended a while ago are forgotten."""
        now = self.owner.now()
        with self._lock:
            self._goals = {id: goal for id, goal in self._goals.items() if not goal.ended or now - goal.ended < _REMEMBERED}
            listed = [goal.described for goal in self._goals.values()]
            header = {"stamp": stamp_of(now)}
            self._status.publish(self.owner.messages.new("actionlib_msgs/msg/GoalStatusArray", header=header, status_list=listed))

    def tell_result(self, goal: ServedGoal, result: Message) -> None:
        """Publish a goal's end."""
        self._publish(self._result, "ActionResult", goal, result=result)
        self.tell_status()

    def tell_feedback(self, goal: ServedGoal, message: Message) -> None:
        """Publish how a goal goes."""
        self._publish(self._feedback, "ActionFeedback", goal, feedback=message)

    def _publish(self, publisher: object, part: str, goal: ServedGoal, **fields: Message) -> None:
        kind = self.type.replace("/action/", "/msg/") + part
        header = {"stamp": stamp_of(self.owner.now())}
        publisher.publish(self.owner.messages.new(kind, header=header, status=goal.described, **fields))  # type: ignore[attr-defined]

    def _on_goal(self, received: Received) -> None:
        asked, now = received.message.goal_id, self.owner.now()
        stamp = asked.stamp.sec * 10**9 + asked.stamp.nanosec
        id = asked.id or f"{self.owner.rospy.get_caller_id()}-{now}"  # who publishes a goal by hand gives it no id
        goal = ServedGoal(self, id, stamp or now, received.message.goal)
        with self._lock:
            if id in self._goals:
                return
            self._goals[id] = goal
            is_cancelled = self._cancelled.pop(id, None) is not None or 0 < stamp <= self._cancelled_until
        nothing = self.owner.messages.new(f"{self.type}_Result")
        if is_cancelled:
            goal.end(RECALLED, nothing)
            return
        is_accepted = False
        try:
            is_accepted = bool(self._accept(goal.goal))
        finally:
            if not is_accepted:
                goal.end(REJECTED, nothing)
        if is_accepted:
            goal.begin()
            self._begin(goal, nothing)

    def _begin(self, goal: ServedGoal, nothing: Message) -> None:
        self.tell_status()
        try:
            self._execute(goal)
        except Exception:
            if not goal.ended:
                goal.end(ABORTED, nothing)
            raise

    def _on_cancel(self, received: Received) -> None:
        """Cancel the goal of an id, those up to a stamp, or with neither all of them."""
        id, now = received.message.id, self.owner.now()
        stamp = received.message.stamp.sec * 10**9 + received.message.stamp.nanosec
        with self._lock:
            for goal in self._goals.values():
                if goal.id == id or 0 < goal.stamp <= stamp or not (id or stamp):
                    goal.ask_to_stop()
            self._cancelled_until = max(self._cancelled_until, stamp)
            self._cancelled = {name: when for name, when in self._cancelled.items() if now - when < _REMEMBERED}
            if id and id not in self._goals:
                self._cancelled[id] = now
        self.tell_status()


class ServedGoal(GoalHandle):
    """A goal that came.

    Attributes:
        id: its name.
        stamp: when it was sent [ns].
        ended: when it ended [ns]; 0 before.
    """

    def __init__(self, server: RospyActionServer, id: str, stamp: int, goal: Message) -> None:
        self.goal, self.id, self.stamp, self.ended = goal, id, stamp, 0
        self._server, self._status = server, PENDING
        self._lock = threading.Lock()

    @property
    def described(self) -> dict[str, object]:
        """Fields of its ``actionlib_msgs/msg/GoalStatus``."""
        return {"goal_id": {"id": self.id, "stamp": stamp_of(self.stamp)}, "status": self._status}

    @property
    def cancel_requested(self) -> bool:
        """Whether the client asked to stop."""
        return self._status == PREEMPTING

    def feedback(self, message: Message) -> None:
        """Tell the client how it goes."""
        self._server.tell_feedback(self, message)

    def finish(self, status: Literal["succeeded", "canceled", "aborted"], result: Message) -> None:
        """End the goal; once."""
        if status not in ENDS:
            raise TransportError(f"a goal ends {', '.join(ENDS)}, not {status!r}")
        self.end(ENDS[status], result)

    def begin(self) -> None:
        """It is accepted: from now on a wish to cancel is told."""
        with self._lock:
            self._status = PREEMPTING if self._status == RECALLING else ACTIVE

    def ask_to_stop(self) -> None:
        """Mark it as one that should stop, unless it has ended."""
        with self._lock:
            if not self.ended:
                self._status = RECALLING if self._status in (PENDING, RECALLING) else PREEMPTING

    def end(self, code: int, result: Message) -> None:
        """End it with a code of ``actionlib_msgs/msg/GoalStatus``; once."""
        with self._lock:
            if self.ended:
                raise TransportError("this goal has ended already; it cannot end again")
            self._status, self.ended = code, max(1, self._server.owner.now())
        self._server.tell_result(self, result)
