"""A middleware within one process: participants on a shared bus, for tests and for parts that need no network.

Messages pass through their serialised form, so that what a receiver gets is what a network would have given it.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from robolearn.deploy.messages import MalformedError, Messages
from robolearn.deploy.transport.base import READ, WRITE, Callback, Message, Publisher, QoS, Received, Subscription, TransportError
from robolearn.deploy.transport.matching import mismatch, unmatched
from robolearn.deploy.transport.services import Caller, ExchangeTransport, Reply
from robolearn.deploy.transport.workers import Inline, Worker


class ManualClock:
    """A clock that stands until it is moved.

    Args:
        now: [ns].
    """

    def __init__(self, now: int = 1_000_000_000) -> None:
        self.now = now

    def __call__(self) -> int:
        """The time [ns]."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Move on, or back."""
        self.now += round(seconds * 1e9)


@dataclass
class Bus:
    """What participants meet on.

    Args:
        clock: gives the time of all participants [ns].
        threaded: every participant calls back on a thread of its own; otherwise callbacks run, one after another, within the call
            that caused them, which makes tests repeatable.
    """

    clock: Callable[[], int] = time.time_ns
    threaded: bool = True
    publishers: list[_Publisher] = field(default_factory=list)
    subscriptions: list[_Subscription] = field(default_factory=list)
    services: dict[str, _Service] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)


class InProcess(ExchangeTransport):
    """One participant.

    Args:
        bus: shared with the others; one of its own without.
        messages: of which distribution; ROS 2 Humble's without.
    """

    name = "in process"

    def __init__(self, bus: Bus | None = None, messages: Messages | None = None) -> None:
        super().__init__()
        self.bus = bus if bus is not None else Bus()
        self.messages = messages if messages is not None else Messages()
        self._worker: Worker | Inline = Worker() if self.bus.threaded else Inline()
        self._closed = False

    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic."""
        subscription = _Subscription(self, topic, self.messages.prepared(type), callback, qos)
        with self.bus.lock:
            self._check_open()
            self.bus.subscriptions.append(subscription)
            for publisher in self.bus.publishers:
                if publisher.reaches(subscription) and qos.durability == "transient_local":
                    for raw in publisher.kept:
                        subscription.arrive(raw, None)
        return subscription

    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic."""
        publisher = _Publisher(self, topic, self.messages.prepared(type), qos)
        with self.bus.lock:
            self._check_open()
            self.bus.publishers.append(publisher)
        return publisher

    def serve_later(self, service: str, type: str, handler: Callable[[Message, Reply], None]) -> None:
        """Answer a service's requests whenever ``handler`` replies."""
        self.messages.check(f"{type}_Request")
        with self.bus.lock:
            self._check_open()
            if service in self.bus.services:
                raise TransportError(f"{service} is served already")
            self.bus.services[service] = _Service(self, service, type, handler)

    def caller(self, service: str, type: str) -> Caller:
        """What sends requests to a service."""
        self.messages.check(f"{type}_Request")
        return _Caller(self, service, type)

    def now(self) -> int:
        """The bus's clock [ns]."""
        return self.bus.clock()

    def diagnostics(self) -> list[str]:
        """What is wrong with the graph, in words."""
        with self.bus.lock:
            ends: list[_Publisher | _Subscription] = [*self.bus.publishers, *self.bus.subscriptions]
            told = [line for end in ends if end.owner is self for line in end.diagnose()]
        return told + self.told_troubles()

    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback sets."""
        return self._worker.wait(event, timeout)

    def close(self) -> None:
        """Leave the bus; the thread has ended when this returns."""
        with self.bus.lock:
            self._closed = True
            self.bus.publishers[:] = [end for end in self.bus.publishers if end.owner is not self]
            self.bus.subscriptions[:] = [end for end in self.bus.subscriptions if end.owner is not self]
            for name in [name for name, service in self.bus.services.items() if service.owner is self]:
                del self.bus.services[name]
        self._worker.close()

    def later(self, what: str, call: Callable[..., Any], *arguments: Any) -> None:
        """Call back on this participant's thread."""
        if not self._closed:
            self._worker.do(lambda: None if self._closed else self.guarded(what, call, *arguments))

    def _check_open(self) -> None:
        if self._closed:
            raise TransportError("this transport is closed; open another")


class _Publisher(Publisher):
    def __init__(self, owner: InProcess, topic: str, type: str, qos: QoS) -> None:
        self.owner, self.topic, self.type, self.qos = owner, topic, type, qos
        self.kept: deque[bytes] = deque(maxlen=max(1, qos.depth) if qos.durability == "transient_local" else 0)

    def publish(self, message: Message) -> bytes:
        if getattr(message, "__msgtype__", None) != self.type:
            raise TransportError(f"{self.topic} carries {self.type}, not {getattr(message, '__msgtype__', message)!s:.80}")
        raw: bytes = self.owner.messages.encode(message)
        self.send(raw)
        return raw

    def send(self, raw: bytes) -> None:
        """Send what may be no message at all."""
        with self.owner.bus.lock:
            self.owner._check_open()
            self.kept.append(raw)
            reached = [end for end in self.owner.bus.subscriptions if self.reaches(end)]
        for subscription in reached:
            subscription.arrive(raw, self.qos.lifespan)

    @property
    def readers(self) -> int:
        with self.owner.bus.lock:
            return sum(self.reaches(end) for end in self.owner.bus.subscriptions)

    @property
    def rivals(self) -> int:
        with self.owner.bus.lock:
            return sum(end.topic == self.topic for end in self.owner.bus.publishers) - 1

    def reaches(self, other: _Subscription) -> bool:
        """Whether the two match."""
        return self.topic == other.topic and self.type == other.type and mismatch(self.qos, other.qos) is None

    def diagnose(self) -> list[str]:
        others = [end for end in self.owner.bus.subscriptions if end.topic == self.topic]
        return unmatched(self.topic, "publisher", self.type, self.qos, [(end.type, end.qos) for end in others])


class _Subscription(Subscription):
    def __init__(self, owner: InProcess, topic: str, type: str, callback: Callback, qos: QoS) -> None:
        self.owner, self.topic, self.type, self.qos = owner, topic, type, qos
        self._callback = callback
        self._waiting: deque[tuple[bytes, int, float | None]] = deque(maxlen=max(1, qos.depth))

    def arrive(self, raw: bytes, lifespan: float | None) -> None:
        """Take serialised bytes; those that find the queue full push the oldest out, those not read within ``lifespan`` [s] vanish."""
        self._waiting.append((raw, self.owner.now(), lifespan))
        self.owner.later(f"the callback of {self.topic}", self._deliver)

    def _deliver(self) -> None:
        if not self._waiting:
            return
        raw, received, lifespan = self._waiting.popleft()
        if lifespan is not None and self.owner.now() - received > lifespan * 1e9:
            return
        try:
            message = self.owner.messages.decode(self.type, raw)
        except MalformedError:
            self.malformed += 1
            return
        self._callback(Received(self.topic, self.type, message, raw, received))

    @property
    def writers(self) -> int:
        with self.owner.bus.lock:
            return sum(end.reaches(self) for end in self.owner.bus.publishers)

    def diagnose(self) -> list[str]:
        others = [end for end in self.owner.bus.publishers if end.topic == self.topic]
        told = unmatched(self.topic, "subscription", self.type, self.qos, [(end.type, end.qos) for end in others])
        return told + ([f"{self.topic}: {self.malformed} malformed messages"] if self.malformed else [])


@dataclass
class _Service:
    owner: InProcess
    name: str
    type: str
    handler: Callable[[Message, Reply], None]

    def request(self, raw: bytes, answer: Callable[[bytes], None]) -> None:
        """Have a request answered on the owner's thread."""
        messages = self.owner.messages

        def reply(response: Message) -> None:
            answer(messages.encode(response))

        self.owner.later(f"the service {self.name}", lambda: self.handler(messages.decode(f"{self.type}_Request", raw), reply))


class _Caller(Caller):
    def __init__(self, owner: InProcess, service: str, type: str) -> None:
        self._owner, self._service, self._type = owner, service, type
        self._numbers = itertools.count(1)
        self._pending: dict[int, Reply] = {}

    @property
    def ready(self) -> bool:
        found = self._owner.bus.services.get(self._service)
        return found is not None and found.type == self._type

    def send(self, request: Message, answer: Reply) -> int:
        if getattr(request, "__msgtype__", None) != f"{self._type}_Request":
            raise TransportError(f"{self._service} takes {self._type}_Request, not {getattr(request, '__msgtype__', request)!s:.80}")
        number = next(self._numbers)
        raw = self._owner.messages.encode(request)
        service = self._owner.bus.services.get(self._service)
        self._pending[number] = answer
        if service is not None and service.type == self._type:
            service.request(raw, lambda reply: self._owner.later(f"a response of {self._service}", self._answered, number, reply))
        return number

    def forget(self, number: int) -> None:
        self._pending.pop(number, None)

    def _answered(self, number: int, raw: bytes) -> None:
        answer = self._pending.pop(number, None)
        if answer is not None:
            answer(self._owner.messages.decode(f"{self._type}_Response", raw))
