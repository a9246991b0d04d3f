"""What the runner asks of any middleware: topics, services, actions, a clock, and word of what does not match."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from robolearn.errors import UserError

Message = Any  # a dataclass of rosbags' for the ROS definition, arrays as numpy; see robolearn.deploy.messages


class TransportError(UserError):
    """The middleware is not there, or refuses what it was asked."""


@dataclass(frozen=True)
class QoS:
    """Quality of service, in ROS 2's words; ROS 1 heeds ``depth`` and, as latching, ``durability``.

    Args:
        reliability: a best-effort reader matches every writer, a reliable writer every reader.
        durability: ``transient_local`` gives late readers the last message.
        depth: messages kept.
        lifespan: [s] after which a message that a publisher sent, and nobody has read yet, is dropped; None keeps it. A publisher's alone;
            ROS 1 has none.
    """

    reliability: Literal["reliable", "best_effort"] = "best_effort"
    durability: Literal["volatile", "transient_local"] = "volatile"
    depth: int = 5
    lifespan: float | None = None


READ = QoS()  # what a subscription asks: it matches whatever the driver offers
WRITE = QoS("reliable", depth=1)  # what a publisher offers: it matches whatever the driver asks
LATCHED = QoS("reliable", "transient_local", 1)


@dataclass(frozen=True)
class Received:
    """A message as it came.

    Args:
        topic: its ROS name, such as ``/joint_states``.
        type: ``sensor_msgs/msg/JointState``.
        message: decoded.
        raw: serialised, CDR with its four-byte header (ROS 1: ROS 1's bytes); what a recording keeps.
        received: [ns] on the transport's clock.
    """

    topic: str
    type: str
    message: Message
    raw: bytes
    received: int


Callback = Callable[[Received], None]


class Publisher(ABC):
    """Sends one topic."""

    @abstractmethod
    def publish(self, message: Message) -> bytes:
        """Send, and give the bytes that went out; never waits more than 0.1 s for a slow reader.

        Raises:
            TransportError: a message of another type, or the middleware refused it.
        """

    @property
    @abstractmethod
    def readers(self) -> int:
        """Matched subscriptions now."""

    @property
    def rivals(self) -> int:
        """Other publishers of the topic now, in this process or any; 0 where the middleware does not tell."""
        return 0


class Subscription(ABC):
    """Receives one topic."""

    malformed: int = 0  # messages that could not be decoded; they reach no callback

    @property
    @abstractmethod
    def writers(self) -> int:
        """Matched publishers now."""


class ServiceClient(ABC):
    """Calls one service."""

    @abstractmethod
    def call(self, request: Message, timeout: float) -> Message:
        """The response to one request.

        Raises:
            TransportError: nobody serves, or nothing came within ``timeout`` [s].
        """

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether somebody serves."""


class Goal(ABC):
    """A goal that was sent to an action server."""

    @abstractmethod
    def accepted(self, timeout: float) -> bool:
        """Whether the server took it, waiting at most ``timeout`` [s].

        Raises:
            TransportError: no answer in time.
        """

    @abstractmethod
    def result(self, timeout: float) -> tuple[str, Message]:
        """How it ended, ``succeeded``, ``canceled`` or ``aborted``, and the result message.

        Raises:
            TransportError: no answer within ``timeout`` [s].
        """

    @abstractmethod
    def cancel(self) -> None:
        """Ask the server to stop; does not wait."""


class ActionClient(ABC):
    """Sends goals to one action."""

    @abstractmethod
    def send(self, goal: Message, feedback: Callable[[Message], None] | None = None) -> Goal:
        """Send a goal; does not wait."""

    @property
    @abstractmethod
    def ready(self) -> bool:
        """Whether somebody serves."""


class GoalHandle(ABC):
    """What an action's server knows of one goal.

    Attributes:
        goal: the goal message.
    """

    goal: Message

    @property
    @abstractmethod
    def cancel_requested(self) -> bool:
        """Whether the client asked to stop."""

    @abstractmethod
    def feedback(self, message: Message) -> None:
        """Tell the client how it goes."""

    @abstractmethod
    def finish(self, status: Literal["succeeded", "canceled", "aborted"], result: Message) -> None:
        """End the goal; once."""


class Transport(ABC):
    """One participant of a middleware.

    Callbacks and handlers run one at a time on a thread of the transport's: they must be short. Everything else may be called from any
    thread. Topics, services and actions are ROS names; types are ROS 2's (``pkg/msg/Name``, ``pkg/srv/Name``, ``pkg/action/Name``) on
    every backend, ROS 1 too.

    Attributes:
        name: of the backend.
        messages: makes, encodes and decodes messages.
    """

    name: str
    messages: Any

    @abstractmethod
    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic."""

    @abstractmethod
    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic."""

    @abstractmethod
    def serve(self, service: str, type: str, handler: Callable[[Message], Message]) -> None:
        """Answer a service's requests with responses."""

    @abstractmethod
    def client(self, service: str, type: str) -> ServiceClient:
        """What calls a service."""

    @abstractmethod
    def serve_action(self, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
        """Take an action's goals: ``accept`` says whether, ``execute`` begins one and returns; its handle is finished later, by anyone."""

    @abstractmethod
    def action_client(self, action: str, type: str) -> ActionClient:
        """What sends an action's goals."""

    @abstractmethod
    def now(self) -> int:
        """The clock that stamps are of [ns]: ROS time, which is the system's unless a backend is told otherwise."""

    @abstractmethod
    def diagnostics(self) -> list[str]:
        """What is wrong with the graph in words: topics without a counterpart, incompatible QoS by policy, malformed messages."""

    @abstractmethod
    def close(self) -> None:
        """Leave; every thread of the transport's has ended when this returns."""

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
