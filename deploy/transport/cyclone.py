"""ROS 2 without ROS: topics, services and actions through pip's ``cyclonedds``.

Topics interoperate with every DDS vendor; services and actions with rmw_cyclonedds, whose way of telling requests apart this follows.
"""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from cyclonedds.core import GuardCondition, WaitSet
from cyclonedds.internal import dds_infinity

from robolearn.deploy.messages import MalformedError, Messages
from robolearn.deploy.transport.base import READ, WRITE, Callback, Message, Publisher, QoS, Received, Subscription, TransportError
from robolearn.deploy.transport.cyclone_config import Network, read_network
from robolearn.deploy.transport.cyclone_domain import forget, join, leave
from robolearn.deploy.transport.cyclone_endpoints import RawReader, RawWriter, Topics
from robolearn.deploy.transport.cyclone_graph import Graph
from robolearn.deploy.transport.cyclone_services import CycloneCaller, CycloneService
from robolearn.deploy.transport.cyclone_types import TypeMaker, topic_name
from robolearn.deploy.transport.matching import alone, incompatible
from robolearn.deploy.transport.services import Caller, ExchangeTransport, Reply

_open_transports: weakref.WeakSet[Cyclone] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """End what was left open while the interpreter still stands; Cyclone DDS's threads crash it otherwise."""
    for transport in list(_open_transports):
        transport.close()


class Cyclone(ExchangeTransport):
    """One participant of a DDS domain.

    Args:
        node: name under which ROS lists it.
        messages: of which distribution; ROS 2 Humble's without.
        network: where; what ROS's environment variables say without.

    Raises:
        TransportError: Cyclone DDS refused the configuration, for the reason that it gives.
    """

    name = "cyclonedds"

    def __init__(self, node: str = "robolearn", messages: Messages | None = None, network: Network | None = None) -> None:
        super().__init__()
        self.messages = messages if messages is not None else Messages()
        self._network = network if network is not None else read_network()
        self.participant = join(self._network, node)
        self.topics, self.types = Topics(self.participant), TypeMaker(self.messages)
        self._readers: list[tuple[RawReader, Callable[[bytes], None]]] = []
        self._writers: list[RawWriter] = []
        self._matchers: list[RawReader] = []
        self._ends: list[_CyclonePublisher | _CycloneSubscription] = []
        self._lock = threading.RLock()
        self._open = True
        self._waitset, self._guard = WaitSet(self.participant), GuardCondition(self.participant)
        self._waitset.attach(self._guard)
        self._graph = Graph(self, node)
        _open_transports.add(self)
        self._thread = threading.Thread(target=self._run, name=f"cyclonedds {node}", daemon=True)
        self._thread.start()

    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic."""
        subscription = _CycloneSubscription(self, topic, self.messages.prepared(type), callback, qos)
        self._ends.append(subscription)
        return subscription

    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic."""
        publisher = _CyclonePublisher(self, topic, self.messages.prepared(type), qos)
        self._ends.append(publisher)
        return publisher

    def serve_later(self, service: str, type: str, handler: Callable[[Message, Reply], None]) -> None:
        """Answer a service's requests whenever ``handler`` replies."""
        CycloneService(self, service, type, handler)

    def caller(self, service: str, type: str) -> Caller:
        """What sends requests to a service."""
        return CycloneCaller(self, service, type)

    def now(self) -> int:
        """The system's clock [ns]."""
        return time.time_ns()

    def diagnostics(self) -> list[str]:
        """What is wrong with the graph, in words."""
        with self._lock:
            told = [line for end in self._ends for line in end.diagnose()] if self._open else []
        return told + self.told_troubles()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback sets."""
        if threading.current_thread() is self._thread and not event.is_set():
            raise TransportError("a callback cannot wait for its own transport: wait on another thread")
        return event.wait(timeout)

    def close(self) -> None:
        """Leave the domain; the thread has ended when this returns."""
        with self._lock:
            if not self._open:
                return
            self._open = False
        _open_transports.discard(self)
        self._guard.set(True)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        with self._lock:
            for writer in self._writers:
                writer.close()
                forget(writer.writer)
            for reader in [*self._matchers, *(reader for reader, _ in self._readers)]:
                reader.close()
                forget(reader.condition)
                forget(reader.reader)
            self._waitset.attached = []
            for entity in (self._waitset, self._guard, *self.topics.all()):
                forget(entity)
            leave(self._network, self.participant)

    def writer(self, topic: str, type: Any, qos: QoS, userdata: str) -> RawWriter:
        """A writer of serialised messages to a DDS topic."""
        with self._lock:
            self._check_open()
            writer = RawWriter(self.participant, self.topics.get(topic, type), qos, userdata)
            self._writers.append(writer)
            self._graph.tell(self._writers, [reader for reader, _ in self._readers])
            return writer

    def reader(self, topic: str, type: Any, qos: QoS, userdata: str, take: Callable[[bytes], None]) -> RawReader:
        """A reader of serialised messages of a DDS topic, which ``take`` is called with on the transport's thread."""
        with self._lock:
            self._check_open()
            reader = RawReader(self.participant, self.topics.get(topic, type), qos, userdata)
            self._readers.append((reader, take))
            self._waitset.attach(reader.condition)
            self._graph.tell(self._writers, [reader for reader, _ in self._readers])
            return reader

    def matcher(self, topic: str, type: Any) -> RawReader:
        """A reader that nobody reads: it only counts who else writes to a DDS topic."""
        with self._lock:
            self._check_open()
            reader = RawReader(self.participant, self.topics.get(topic, type), QoS(depth=1), "", others=True)
            self._matchers.append(reader)
            return reader

    def typehash(self, type: str) -> str:
        """What ROS 2 from Iron on wants to read in an endpoint's user data."""
        return f"typehash={self.messages.hash(type)};"

    def _check_open(self) -> None:
        if not self._open:
            raise TransportError("this transport is closed; open another")

    def _run(self) -> None:
        while self._open:
            self._waitset.wait(dds_infinity)
            for reader, take in list(self._readers):
                self.guarded(f"reading {reader.name}", self._take, reader, take)

    def _take(self, reader: RawReader, take: Callable[[bytes], None]) -> None:
        for raw in reader.take():
            if not self._open:
                return
            self.guarded(f"a callback of {reader.name}", take, raw)


class _CyclonePublisher(Publisher):
    def __init__(self, transport: Cyclone, topic: str, type: str, qos: QoS) -> None:
        self.topic, self.type = topic, type
        self._messages, self._transport = transport.messages, transport
        self._matcher: RawReader | None = None
        self._writer = transport.writer(topic_name(topic), transport.types.message(type), qos, transport.typehash(type))

    def publish(self, message: Message) -> bytes:
        if getattr(message, "__msgtype__", None) != self.type:
            raise TransportError(f"{self.topic} carries {self.type}, not {getattr(message, '__msgtype__', message)!s:.80}")
        raw: bytes = self._messages.encode(message)
        self._writer.write(raw)
        return raw

    @property
    def readers(self) -> int:
        return self._writer.matched

    @property
    def rivals(self) -> int:
        if self._matcher is None:
            self._matcher = self._transport.matcher(topic_name(self.topic), self._transport.types.message(self.type))
        return self._matcher.matched

    def diagnose(self) -> list[str]:
        return _diagnosed(self.topic, "publisher", self._writer)


class _CycloneSubscription(Subscription):
    def __init__(self, transport: Cyclone, topic: str, type: str, callback: Callback, qos: QoS) -> None:
        self.topic, self.type = topic, type
        self._messages, self._now, self._callback = transport.messages, transport.now, callback
        self._reader = transport.reader(topic_name(topic), transport.types.message(type), qos, transport.typehash(type), self._take)

    def _take(self, raw: bytes) -> None:
        received = self._now()
        try:
            message = self._messages.decode(self.type, raw)
        except MalformedError:
            self.malformed += 1
            return
        self._callback(Received(self.topic, self.type, message, raw, received))

    @property
    def writers(self) -> int:
        return self._reader.matched

    def diagnose(self) -> list[str]:
        told = _diagnosed(self.topic, "subscription", self._reader)
        return told + ([f"{self.topic}: {self.malformed} malformed messages"] if self.malformed else [])


def _diagnosed(topic: str, end: str, raw: RawReader | RawWriter) -> list[str]:
    policy = raw.incompatible
    if policy is not None:
        return [incompatible(topic, policy)]
    return [] if raw.matched or "/_action/" in topic else [alone(topic, end)]
