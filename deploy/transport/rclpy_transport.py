"""ROS 2 through rclpy, on a machine that has ROS: whatever middleware it is set up with, services and actions included."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from robolearn.deploy.messages import MalformedError, Messages
from robolearn.deploy.transport.base import (
    READ,
    WRITE,
    ActionClient,
    Callback,
    GoalHandle,
    Message,
    Publisher,
    QoS,
    Received,
    ServiceClient,
    Subscription,
    Transport,
    TransportError,
)
from robolearn.deploy.transport.matching import alone, incompatible
from robolearn.deploy.transport.rclpy_actions import RclpyActionClient, serve_action
from robolearn.deploy.transport.rclpy_services import RclpyServiceClient, Unanswered, serve
from robolearn.deploy.transport.rclpy_types import class_of, distro_messages, import_rclpy, policy_name, profile_of
from robolearn.deploy.transport.troubles import Troubles, Turns


class Rclpy(Transport):
    """A node with a thread of its own; several may be in a process.

    Args:
        node: its name.
        messages: of which distribution; of the one that ``ROS_DISTRO`` names without.
        use_sim_time: have time from ``/clock``.

    Raises:
        TransportError: rclpy is not there, or refused to make a node.
    """

    name = "rclpy"

    def __init__(self, node: str = "robolearn", messages: Messages | None = None, use_sim_time: bool = False) -> None:
        rclpy = import_rclpy()
        from rclpy.context import Context
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.parameter import Parameter

        self.messages = messages if messages is not None else distro_messages()
        self.troubles = Troubles()
        self.turns = Turns(self.troubles)
        self._ends: list[_RclpyPublisher | _RclpySubscription] = []
        self._lock = threading.RLock()
        self._open = True
        self._context: Any = Context()
        try:
            rclpy.init(args=[], context=self._context)  # in a context of our own rclpy leaves signals alone
            parameters = [Parameter("use_sim_time", Parameter.Type.BOOL, use_sim_time)]
            self.node: Any = rclpy.create_node(node, context=self._context, parameter_overrides=parameters)
        except Exception as error:  # rclpy's own errors have no class in common
            raise TransportError(f"rclpy could not make the node {node}: {error}") from None
        self._executor: Any = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, name=f"rclpy {node}", daemon=True)
        self._thread.start()

    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic."""
        subscription = _RclpySubscription(self, topic, self.messages.prepared(type), callback, qos)
        self._add(subscription)
        return subscription

    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic."""
        publisher = _RclpyPublisher(self, topic, self.messages.prepared(type), qos)
        self._add(publisher)
        return publisher

    def serve(self, service: str, type: str, handler: Callable[[Message], Message]) -> None:
        """Answer a service's requests with responses."""
        with self.changing():
            serve(self, service, type, handler)

    def client(self, service: str, type: str) -> ServiceClient:
        """What calls a service."""
        with self.changing():
            return RclpyServiceClient(self, service, type)

    def serve_action(self, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
        """Take an action's goals."""
        with self.changing():
            serve_action(self, action, type, accept, execute)

    def action_client(self, action: str, type: str) -> ActionClient:
        """What sends an action's goals."""
        with self.changing():
            return RclpyActionClient(self, action, type)

    def now(self) -> int:
        """ROS's clock [ns]."""
        return int(self.node.get_clock().now().nanoseconds)

    def diagnostics(self) -> list[str]:
        """What is wrong with the graph, in words."""
        with self._lock:
            ends = list(self._ends) if self._open else []
        return [line for end in ends for line in end.diagnose()] + self.troubles.told()

    def close(self) -> None:
        """Leave; the thread has ended when this returns."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        self._executor.shutdown(timeout_sec=1.0)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self.node.destroy_node()
        self._context.try_shutdown()

    def changing(self) -> threading.RLock:
        """A lock to hold while the node gets another end.

        Raises:
            TransportError: closed.
        """
        if not self._open:
            raise TransportError("this transport is closed; open another")
        return self._lock

    @property
    def is_open(self) -> bool:
        """Whether it can be used still."""
        return self._open

    def _add(self, end: _RclpyPublisher | _RclpySubscription) -> None:
        with self.changing():
            end.begin()
            self._ends.append(end)

    def _spin(self) -> None:
        while self._open:
            try:
                self._executor.spin_once(timeout_sec=0.5)
            except Unanswered:
                continue
            except Exception as error:
                if self._open:  # shutting down is told by exceptions too
                    self.troubles.note(f"rclpy raised {type(error).__name__}: {error}")


class _End:
    """What publishers and subscriptions have in common."""

    def __init__(self, owner: Rclpy, topic: str, type: str, qos: QoS) -> None:
        self.owner, self.topic, self.type, self.qos = owner, topic, type, qos
        self._class = class_of(type)
        self._policy = ""  # the last by which another end did not match

    def _create(self, make: Callable[..., Any], callbacks: str, *arguments: Any, **options: Any) -> Any:
        """A publisher or subscription of rclpy's that tells of ends that do not match; silently where its middleware cannot."""
        try:
            import rclpy.event_handler as events
        except ImportError:  # before Iron
            import rclpy.qos_event as events

        told = getattr(events, callbacks)(incompatible_qos=self._on_incompatible)
        try:
            return make(self._class, self.topic, *arguments, profile_of(self.qos), event_callbacks=told, **options)
        except events.UnsupportedEventTypeError:
            return make(self._class, self.topic, *arguments, profile_of(self.qos), **options)

    def _on_incompatible(self, event: Any) -> None:
        self._policy = policy_name(event.last_policy_kind)


class _RclpyPublisher(_End, Publisher):
    def begin(self) -> None:
        """Enter the graph."""
        self._publisher = self._create(self.owner.node.create_publisher, "PublisherEventCallbacks")

    def publish(self, message: Message) -> bytes:
        if getattr(message, "__msgtype__", None) != self.type:
            raise TransportError(f"{self.topic} carries {self.type}, not {getattr(message, '__msgtype__', message)!s:.80}")
        if not self.owner.is_open:
            raise TransportError(f"{self.topic}: this transport is closed")
        raw: bytes = self.owner.messages.encode(message)
        try:
            self._publisher.publish(raw)
        except Exception as error:
            raise TransportError(f"{self.topic}: rclpy did not publish: {error}") from None
        return raw

    @property
    def readers(self) -> int:
        return int(self._publisher.get_subscription_count()) if self.owner.is_open else 0

    @property
    def rivals(self) -> int:
        return max(0, int(self.owner.node.count_publishers(self.topic)) - 1) if self.owner.is_open else 0

    def diagnose(self) -> list[str]:
        if self.readers:
            return []
        return [incompatible(self.topic, self._policy) if self._policy else alone(self.topic, "publisher")]


class _RclpySubscription(_End, Subscription):
    def __init__(self, owner: Rclpy, topic: str, type: str, callback: Callback, qos: QoS) -> None:
        super().__init__(owner, topic, type, qos)
        self._callback = callback

    def begin(self) -> None:
        """Enter the graph."""
        make = self.owner.node.create_subscription
        self._subscription = self._create(make, "SubscriptionEventCallbacks", self._on_message, raw=True)

    def _on_message(self, raw: bytes) -> None:
        received = self.owner.now()
        if not self.owner.is_open:
            return
        try:
            message = self.owner.messages.decode(self.type, raw)
        except MalformedError:
            self.malformed += 1
            return
        found = Received(self.topic, self.type, message, bytes(raw), received)
        self.owner.turns.run(f"the callback of {self.topic}", self._callback, found)

    @property
    def writers(self) -> int:
        if not self.owner.is_open:
            return 0
        count = getattr(self._subscription, "get_publisher_count", None)  # from Iron on; before, only of those that may match
        return int(count() if count is not None else 0 if self._policy else self.owner.node.count_publishers(self.topic))

    def diagnose(self) -> list[str]:
        told = [f"{self.topic}: {self.malformed} malformed messages"] if self.malformed else []
        if self.writers:
            return told
        return [*told, incompatible(self.topic, self._policy) if self._policy else alone(self.topic, "subscription")]
