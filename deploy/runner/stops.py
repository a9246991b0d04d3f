"""Emergency stop, deadman and re-arming: from a topic, a service, or a key."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace

from robolearn.deploy.safety import ESTOP, Problem
from robolearn.deploy.transport.base import LATCHED, READ, Message, Received, Transport
from robolearn.errors import UserError

BOOL, TRIGGER = "std_msgs/msg/Bool", "std_srvs/srv/Trigger"
RETAINED = replace(READ, reliability="reliable", durability="transient_local")  # what was said before anybody listened
EVENTS = ("begin", "rearm", "success", "failure", "discard", "quit", "takeover", "release", "pause", "resume")


class Stops:
    """Listens to whoever may stop the robot.

    Topics and services, below ``prefix``: ``estop`` (Bool: pressed while true; Trigger: pressed until re-armed), ``rearm`` (Trigger),
    ``deadman`` (Bool, sent again and again while held), ``begin`` (Bool, Trigger: the scene is set).

    Args:
        transport: where they are.
        prefix: of their names.
        deadman: whether the robot moves only while a deadman is held.
        deadman_s: how old the deadman's last word may be [s].
        estop: another topic like ``estop``, the robot's own; none if empty.
    """

    def __init__(
        self, transport: Transport, prefix: str = "/robolearn", *, deadman: bool = False, deadman_s: float = 0.3, estop: str = ""
    ) -> None:
        self._transport, self._messages = transport, transport.messages
        self._deadman, self._deadman_ns = deadman, round(deadman_s * 1e9)
        self._lock = threading.Lock()
        self._pressed: dict[str, bool] = {}  # by whom; whether re-arming releases it
        self._told: set[str] = set()  # whose press the command loop has heard of: nothing that comes before releases it
        self._held = 0  # [ns] until when the deadman's word holds
        self._events: deque[str] = deque()
        self._begins = False
        for topic in dict.fromkeys((f"{prefix}/estop", *([estop] if estop else []))):
            transport.subscribe(topic, BOOL, self._on_estop, READ)
            transport.subscribe(topic, BOOL, self._on_retained, RETAINED)
        transport.subscribe(f"{prefix}/begin", BOOL, self._on_begin, READ)
        if deadman:
            transport.subscribe(f"{prefix}/deadman", BOOL, self._on_deadman, READ)
        transport.serve(f"{prefix}/estop", TRIGGER, self._serve_estop)
        transport.serve(f"{prefix}/rearm", TRIGGER, self._serve_rearm)
        transport.serve(f"{prefix}/begin", TRIGGER, self._serve_begin)
        self._state = transport.publisher(f"{prefix}/state", "std_msgs/msg/String", LATCHED)

    def press(self, who: str) -> None:
        """Stop, until re-armed."""
        with self._lock:
            self._press(who, True)

    def _press(self, who: str, momentary: bool) -> None:
        self._pressed[who] = momentary
        self._told.discard(who)

    def note(self, event: str) -> None:
        """Say what an operator wants.

        Raises:
            UserError: no such event.
        """
        if event == "estop":
            self.press("operator")
        elif event == "begin":
            with self._lock:
                self._begins = True
        elif event in EVENTS:
            with self._lock:
                self._events.append(event)
        else:
            raise UserError(f"no event {event!r}; there are estop, {', '.join(EVENTS)}")

    def events(self) -> list[str]:
        """What was wanted since the last call, in order; re-arming releases what was pressed but not what is held down."""
        with self._lock:
            events = list(self._events)
            self._events.clear()
            if "rearm" in events:
                self._pressed = {who: momentary for who, momentary in self._pressed.items() if not momentary or who not in self._told}
        return events

    def begins(self) -> bool:
        """Whether somebody has said since the last call that an episode may begin."""
        with self._lock:
            begins, self._begins = self._begins, False
        return begins

    def problems(self, now: int) -> list[Problem]:
        """What forbids motion at ``now`` [ns, the transport's clock]."""
        with self._lock:
            found = [Problem(ESTOP, f"e-stop pressed ({who})", "stop") for who in self._pressed]
            self._told.update(self._pressed)
            if self._deadman and not now <= self._held <= now + 2 * self._deadman_ns:  # further ahead: the clock went back
                found.append(Problem("deadman", "the deadman is not held", "wait"))
        return found

    def say(self, state: str, why: str = "") -> None:
        """Publish the runner's state and why it is in it, for displays."""
        self._state.publish(self._messages.new("std_msgs/msg/String", data=f"{state}: {why}" if why else state))

    def _on_estop(self, received: Received) -> None:
        who = f"topic {received.topic}"
        with self._lock:
            if received.message.data:
                self._press(who, False)
            elif who in self._told:
                self._pressed.pop(who, None)
            elif who in self._pressed:
                self._pressed[who] = True  # let go before anybody looked: it stops all the same, until re-armed
            if not received.message.data:
                self._pressed.pop(_retained(received.topic), None)

    def _on_retained(self, received: Received) -> None:
        """What was said long ago releases nothing that was pressed since; :meth:`_on_estop` releases it by what is said now."""
        with self._lock:
            if received.message.data:
                self._press(_retained(received.topic), False)
            else:
                self._pressed.pop(_retained(received.topic), None)

    def _on_deadman(self, received: Received) -> None:
        with self._lock:
            self._held = received.received + self._deadman_ns if received.message.data else 0

    def _on_begin(self, received: Received) -> None:
        if received.message.data:
            self.note("begin")

    def _serve_estop(self, request: Message) -> Message:
        self.press("service")
        return self._messages.new("std_srvs/srv/Trigger_Response", success=True, message="stopping")

    def _serve_rearm(self, request: Message) -> Message:
        self.note("rearm")
        return self._messages.new("std_srvs/srv/Trigger_Response", success=True, message="asked; the runner says what came of it")

    def _serve_begin(self, request: Message) -> Message:
        self.note("begin")
        return self._messages.new("std_srvs/srv/Trigger_Response", success=True, message="heard; it begins when nothing is wrong")


def _retained(topic: str) -> str:
    return f"topic {topic}, retained"
