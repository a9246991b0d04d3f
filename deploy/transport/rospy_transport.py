"""ROS 1 through rospy: the same types and messages as on ROS 2, translated at the border."""

from __future__ import annotations

import contextlib
import threading
import time
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
from robolearn.deploy.transport.matching import alone
from robolearn.deploy.transport.rospy_action_client import RospyActionClient
from robolearn.deploy.transport.rospy_action_server import RospyActionServer
from robolearn.deploy.transport.rospy_node import begin_node, end_node, import_rospy
from robolearn.deploy.transport.rospy_services import RospyServiceClient, serve
from robolearn.deploy.transport.rospy_types import ANY, md5_of, message_class, ros1_name
from robolearn.deploy.transport.troubles import Troubles, Turns

_ASK_EVERY = 1.0  # how long what the master says of publishers is believed [s]
_ACTION_PARTS = ("/goal", "/cancel", "/status", "/feedback", "/result")


class Rospy(Transport):
    """This process as a ROS 1 node.

    ``ROS_MASTER_URI``, ``ROS_IP`` and ``ROS_HOSTNAME`` hold as for every ROS 1 program. Reliability means nothing here: topics are TCP.

    Args:
        node: the node's name; a number that makes it unique follows.
        messages: of which distribution's names and fields; ROS 2 Humble's without.
        use_sim_time: have time from ``/clock``, as the master's parameter ``/use_sim_time`` says.
        timeout: for the master's answers [s].

    Raises:
        TransportError: ROS 1 is not installed, no master answers, or this process is or was a node already.
    """

    name = "rospy"

    def __init__(self, node: str = "robolearn", messages: Messages | None = None, use_sim_time: bool = False, timeout: float = 5.0) -> None:
        self.rospy: Any = import_rospy()
        self.master = begin_node(self.rospy, node, use_sim_time, timeout)
        self.messages = messages if messages is not None else Messages()
        self.troubles = Troubles()
        self.turns = Turns(self.troubles)
        self._use_sim_time = use_sim_time
        self._ends: list[_RospyPublisher | _RospySubscription] = []
        self._lock = threading.RLock()
        self._open = True
        self._publishers: dict[str, set[str]] = {}  # names of nodes by topic, as the master told lately
        self._guard = threading.Thread(target=self._watch, name="rospy guard", daemon=True)
        self._guard.start()

    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic."""
        self.check_open()
        subscription = _RospySubscription(self, topic, self.messages.prepared(type, ros1=True), callback, qos)
        with self._lock:
            self._ends.append(subscription)
        return subscription

    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic."""
        self.check_open()
        with self._lock:
            others = {end.type for end in self._ends if isinstance(end, _RospyPublisher) and end.topic == topic} - {type}
            if others:
                raise TransportError(f"{topic} carries {others.pop()} already; a ROS 1 node cannot also publish {type} on it")
            publisher = _RospyPublisher(self, topic, self.messages.prepared(type, ros1=True), qos)
            self._ends.append(publisher)
        return publisher

    def serve(self, service: str, type: str, handler: Callable[[Message], Message]) -> None:
        """Answer a service's requests with responses."""
        self.check_open()
        serve(self, service, type, handler)

    def client(self, service: str, type: str) -> ServiceClient:
        """What calls a service."""
        self.check_open()
        return RospyServiceClient(self, service, type)

    def serve_action(self, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
        """Take an action's goals, from clients of actionlib's."""
        RospyActionServer(self, action, type, accept, execute)

    def action_client(self, action: str, type: str) -> ActionClient:
        """What sends goals to a server of actionlib's."""
        return RospyActionClient(self, action, type)

    def now(self) -> int:
        """The system's clock, or with ``use_sim_time`` ROS's [ns]."""
        return int(self.rospy.get_rostime().to_nsec()) if self._use_sim_time else time.time_ns()

    def diagnostics(self) -> list[str]:
        """What is wrong with the graph, in words."""
        try:
            known = {topic: type for topic, type in self.master.ask("getTopicTypes") or []}
        except TransportError as error:
            return [str(error), *self.troubles.told()]
        with self._lock:
            ends = list(self._ends)
        return [line for end in ends for line in end.diagnose(known.get(end.topic, ANY))] + self.troubles.told()

    def close(self) -> None:
        """Leave the graph; nothing is called back when this has returned."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        for name in end_node(self.rospy):
            self.troubles.note(f"rospy's thread {name} has not ended")
        if threading.current_thread() is not self._guard:
            self._guard.join()

    def _watch(self) -> None:
        """Ask the master who publishes; close when the main thread ends, for rospy's threads would keep a process alive that did not."""
        main, asked = threading.main_thread(), -_ASK_EVERY
        while self._open and main.is_alive():
            main.join(0.2)
            if time.monotonic() - asked > _ASK_EVERY:
                asked = time.monotonic()
                with contextlib.suppress(TransportError):  # diagnostics tell of a master that has gone
                    publishers, *_ = self.master.ask("getSystemState")
                    self._publishers = {topic: set(nodes) for topic, nodes in publishers}
        self.close()

    def other_publishers(self, topic: str) -> int:
        """How many other nodes publish a topic, as the master told a second ago or less."""
        return len(self._publishers.get(topic, set()) - {self.rospy.get_caller_id()})

    def check_open(self) -> None:
        """Raise unless the graph can be changed: rospy waits without end for a master that has gone.

        Raises:
            TransportError: closed, or no master answers.
        """
        if not self._open:
            raise TransportError("this transport is closed; rospy allows another only in another process")
        self.master.ask("getPid")

    @property
    def is_open(self) -> bool:
        """Whether callbacks are called still."""
        return self._open


class _RospyPublisher(Publisher):
    def __init__(self, owner: Rospy, topic: str, type: str, qos: QoS) -> None:
        self.owner, self.topic, self.type = owner, topic, type
        self._class = message_class(type)
        latch = qos.durability == "transient_local"
        self._publisher = owner.rospy.Publisher(topic, self._class, tcp_nodelay=True, latch=latch, queue_size=max(1, qos.depth))

    def publish(self, message: Message) -> bytes:
        if getattr(message, "__msgtype__", None) != self.type:
            raise TransportError(f"{self.topic} carries {self.type}, not {getattr(message, '__msgtype__', message)!s:.80}")
        if not self.owner.is_open:
            raise TransportError(f"{self.topic}: this transport is closed")
        raw: bytes = self.owner.messages.encode_ros1(message)
        try:
            self._publisher.publish(self._class(raw))
        except self.owner.rospy.ROSException as error:
            raise TransportError(f"{self.topic}: rospy did not publish: {error}") from None
        return raw

    @property
    def readers(self) -> int:
        return int(self._publisher.get_num_connections()) if self.owner.is_open else 0

    @property
    def rivals(self) -> int:
        return self.owner.other_publishers(self.topic) if self.owner.is_open else 0

    def diagnose(self, known: str) -> list[str]:
        own = ros1_name(self.type)
        if known not in (own, ANY):
            return [f"{self.topic}: this publisher has {own}, another participant {known}"]
        return [] if self.readers or self.topic.endswith(_ACTION_PARTS) else [alone(self.topic, "publisher")]


class _RospySubscription(Subscription):
    def __init__(self, owner: Rospy, topic: str, type: str, callback: Callback, qos: QoS) -> None:
        self.owner, self.topic, self.type, self._callback = owner, topic, type, callback
        self._md5 = md5_of(type)
        # Bulk data waits in rospy's buffer before it is thrown away: what is too small for it comes late instead.
        bulk = owner.messages.most_bytes(type) > 1 << 20
        options = {"buff_size": 1 << 24} if bulk else {}
        self._subscriber = owner.rospy.Subscriber(
            topic, message_class(type, ANY), self._on_message, queue_size=max(1, qos.depth), tcp_nodelay=True, **options
        )

    def _on_message(self, carrier: Any) -> None:
        """Called by rospy, on a thread a publisher."""
        received = self.owner.now()
        if not self.owner.is_open:
            return
        if carrier._connection_header.get("md5sum") != self._md5:
            self.malformed += 1
            return
        try:
            message = self.owner.messages.decode_ros1(self.type, carrier._buff)
        except MalformedError:
            self.malformed += 1
            return
        found = Received(self.topic, self.type, message, bytes(carrier._buff), received)
        self.owner.turns.run(f"the callback of {self.topic}", self._callback, found)

    @property
    def writers(self) -> int:
        return sum(link.md5sum == self._md5 for link in self._links())

    def _links(self) -> list[Any]:
        implementation = self._subscriber.impl
        return list(implementation.connections or ()) if implementation is not None and self.owner.is_open else []

    def diagnose(self, known: str) -> list[str]:
        own, told = ros1_name(self.type), []
        for link in self._links():
            if link.md5sum != self._md5:
                told.append(
                    f"{self.topic}: this subscription has {own} with md5 {self._md5}, {link.callerid_pub} {link.type} with {link.md5sum}"
                )
        if not told and not self._links():
            wrong = f"{self.topic}: this subscription has {own}, another participant {known}"
            told.append(alone(self.topic, "subscription") if known in (own, ANY) else wrong)
        if self.malformed:
            told.append(f"{self.topic}: {self.malformed} malformed messages")
        return told
