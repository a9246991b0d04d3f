"""An action's server as ROS 2 has it: three services, a feedback topic and a latched status topic."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from robolearn.deploy.transport.base import LATCHED, GoalHandle, Message, QoS, TransportError
from robolearn.deploy.transport.services import ExchangeTransport, Reply

ACCEPTED, EXECUTING, CANCELING, SUCCEEDED, CANCELED, ABORTED = range(1, 7)  # action_msgs/msg/GoalStatus; 0 is unknown
ENDS = {"succeeded": SUCCEEDED, "canceled": CANCELED, "aborted": ABORTED}
FEEDBACK = QoS("reliable", depth=10)
_KEPT = 32  # finished goals whose result may still be asked for
_UNKNOWN_GOAL, _GOAL_TERMINATED = 2, 3  # action_msgs/srv/CancelGoal


def action_names(action: str) -> dict[str, str]:
    """Names of an action's services and topics."""
    return {part: f"{action}/_action/{part}" for part in ("send_goal", "cancel_goal", "get_result", "feedback", "status")}


class ActionServer:
    """Serves one action; the transport's callbacks keep it alive."""

    def __init__(
        self,
        transport: ExchangeTransport,
        action: str,
        type: str,
        accept: Callable[[Message], bool],
        execute: Callable[[GoalHandle], None],
    ) -> None:
        self.transport, self.type = transport, type
        self._accept, self._execute = accept, execute
        self._goals: dict[bytes, ServedGoal] = {}
        self._lock = threading.RLock()
        names = action_names(action)
        self._feedback = transport.publisher(names["feedback"], f"{type}_FeedbackMessage", FEEDBACK)
        self._status = transport.publisher(names["status"], "action_msgs/msg/GoalStatusArray", LATCHED)
        transport.serve_later(names["cancel_goal"], "action_msgs/srv/CancelGoal", self._cancel)
        transport.serve_later(names["get_result"], f"{type}_GetResult", self._get_result)
        transport.serve_later(names["send_goal"], f"{type}_SendGoal", self._send_goal)

    def tell_feedback(self, goal: ServedGoal, message: Message) -> None:
        """Publish how a goal goes."""
        make = self.transport.messages.new
        self._feedback.publish(make(f"{self.type}_FeedbackMessage", goal_id=goal.info.goal_id, feedback=message))

    def tell_status(self) -> None:
        """Publish how all goals stand."""
        make = self.transport.messages.new
        with self._lock:
            listed = [make("action_msgs/msg/GoalStatus", goal_info=goal.info, status=goal.status) for goal in self._goals.values()]
            self._status.publish(make("action_msgs/msg/GoalStatusArray", status_list=listed))

    def _send_goal(self, request: Message, reply: Reply) -> None:
        make, now = self.transport.messages.new, self.transport.now()
        key = request.goal_id.uuid.tobytes()
        stamp = {"sec": now // 10**9, "nanosec": now % 10**9}
        accepted = key not in self._goals and self._accept(request.goal)
        if accepted:
            goal = ServedGoal(self, make("action_msgs/msg/GoalInfo", goal_id=request.goal_id, stamp=stamp), request.goal)
            with self._lock:
                self._goals[key] = goal
                finished = [name for name, known in self._goals.items() if known.status in ENDS.values()]
                for name in finished[: max(0, len(finished) - _KEPT)]:
                    del self._goals[name]
        reply(make(f"{self.type}_SendGoal_Response", accepted=bool(accepted), stamp=stamp))
        if accepted:
            goal.status = EXECUTING
            self.tell_status()
            self._execute(goal)

    def _get_result(self, request: Message, reply: Reply) -> None:
        with self._lock:
            goal = self._goals.get(request.goal_id.uuid.tobytes())
            if goal is None:
                reply(self.transport.messages.new(f"{self.type}_GetResult_Response"))  # status 0: unknown
            else:
                goal.answer_result(reply)

    def _cancel(self, request: Message, reply: Reply) -> None:
        make = self.transport.messages.new
        wanted = request.goal_info.goal_id.uuid.tobytes()
        stamp = _nanoseconds(request.goal_info.stamp)
        with self._lock:
            named = self._goals.get(wanted)
            chosen = [goal for goal in self._goals.values() if goal is named or _is_meant(goal, wanted, stamp)]
            running = [goal for goal in chosen if goal.ask_to_stop()]
        code = 0
        if any(wanted) and not running:
            code = _UNKNOWN_GOAL if named is None else _GOAL_TERMINATED
        reply(make("action_msgs/srv/CancelGoal_Response", return_code=code, goals_canceling=[goal.info for goal in running]))
        if running:
            self.tell_status()


def _nanoseconds(stamp: Message) -> int:
    return int(stamp.sec) * 10**9 + int(stamp.nanosec)


def _is_meant(goal: ServedGoal, wanted: bytes, stamp: int) -> bool:
    """Whether a request to cancel names the goal by time: all goals up to ``stamp``, or all when neither name nor time is given."""
    if stamp:
        return _nanoseconds(goal.info.stamp) <= stamp
    return not any(wanted)


class ServedGoal(GoalHandle):
    """A goal that a server took.

    Attributes:
        info: its id and when it was accepted.
        status: as in ``action_msgs/msg/GoalStatus``.
    """

    def __init__(self, server: ActionServer, info: Message, goal: Message) -> None:
        self.goal, self.info, self.status = goal, info, ACCEPTED
        self._server = server
        self._asked: list[Reply] = []
        self._result: Message | None = None
        self._lock = threading.Lock()

    @property
    def cancel_requested(self) -> bool:
        """Whether the client asked to stop."""
        return self.status == CANCELING

    def feedback(self, message: Message) -> None:
        """Tell the client how it goes."""
        self._server.tell_feedback(self, message)

    def finish(self, status: Literal["succeeded", "canceled", "aborted"], result: Message) -> None:
        """End the goal; once."""
        if status not in ENDS:
            raise TransportError(f"a goal ends {', '.join(ENDS)}, not {status!r}")
        response = self._server.transport.messages.new(f"{self._server.type}_GetResult_Response", status=ENDS[status], result=result)
        with self._lock:
            if self._result is not None:
                raise TransportError(f"this goal has ended already; it cannot end {status} again")
            self._result, self.status = response, ENDS[status]
            asked, self._asked = self._asked, []
        for reply in asked:
            reply(response)
        self._server.tell_status()

    def ask_to_stop(self) -> bool:
        """Mark the goal as one that should stop; False when it has ended."""
        with self._lock:
            if self._result is None:
                self.status = CANCELING
            return self._result is None

    def answer_result(self, reply: Reply) -> None:
        """Answer a question for the result, now or when there is one."""
        with self._lock:
            if self._result is None:
                self._asked.append(reply)
                return
        reply(self._result)
