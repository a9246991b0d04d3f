"""Injects faults into any transport: messages late, lost, out of order, twice or with NaN, a network that stalls, a clock that jumps."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

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
from robolearn.deploy.transport.schedule import Schedule
from robolearn.errors import check_share


@dataclass(frozen=True)
class Faults:
    """What happens to the messages of a topic.

    Args:
        delay: shortest and longest [s]; where they differ, messages may overtake each other.
        drop: share of messages lost.
        in_a_row: most that are lost one after the other; 0 for any number.
        reorder: share of messages held back until the next has passed.
        duplicate: share of messages that come twice.
        nan: share of messages in which one floating-point number becomes NaN.
    """

    delay: tuple[float, float] = (0.0, 0.0)
    drop: float = 0.0
    in_a_row: int = 0
    reorder: float = 0.0
    duplicate: float = 0.0
    nan: float = 0.0

    def __post_init__(self) -> None:
        check_share(0.0, 1.0, drop=self.drop, reorder=self.reorder, duplicate=self.duplicate, nan=self.nan)
        check_share(0.0, delay=min(self.delay))


class FaultyTransport(Transport):
    """A transport with faults that are switched while it runs; without any it is the one it wraps.

    Topics suffer both ways. Services and actions suffer stalls: a call waits for the end of one.

    Args:
        inner: wrapped; closed with this.
        generator: decides which messages suffer.
        threaded: late messages come by themselves, by the system's clock; otherwise by ``inner.now()``, when :meth:`release` is called.
    """

    def __init__(self, inner: Transport, generator: np.random.Generator, threaded: bool = True) -> None:
        self.inner, self.name, self.messages = inner, f"{inner.name}, with faults", inner.messages
        self._random = generator
        self._faults: dict[str | None, Faults] = {}
        self._stalls: dict[str | None, int] = {}
        self._offset = 0
        self._lock = threading.RLock()  # callbacks come one at a time, whichever thread they come from
        self._clock = time.monotonic_ns if threaded else inner.now
        self._schedule = Schedule(self._clock, threaded)

    def set(self, faults: Faults, topic: str | None = None) -> None:
        """Have messages of ``topic`` suffer from now on; without it, of every topic that has no faults of its own."""
        with self._lock:
            self._faults[topic] = faults

    def stall(self, seconds: float, topic: str | None = None) -> None:
        """Hold back everything of ``topic``, or everything, for a while; it comes at once afterwards, in order."""
        with self._lock:
            self._stalls[topic] = self._clock() + round(seconds * 1e9)

    def jump(self, seconds: float) -> None:
        """Put this transport's clock forward, or back."""
        self._offset += round(seconds * 1e9)

    def clear(self) -> None:
        """End all faults but a clock's that has jumped; what is held back comes when it was due."""
        with self._lock:
            self._faults.clear()
            self._stalls.clear()

    def release(self) -> None:
        """Deliver what is due by ``inner.now()``; for a transport that is not threaded."""
        self._schedule.release()

    def subscribe(self, topic: str, type: str, callback: Callback, qos: QoS = READ) -> Subscription:
        """Call back for every message of a topic that the faults let through."""
        line = _Line(self, topic)

        def spoilt(received: Received) -> Received:
            message = self.spoil(received.type, self.messages.encode(received.message))
            return dataclasses.replace(received, message=message, raw=self.messages.encode(message))

        def deliver(received: Received) -> None:
            callback(dataclasses.replace(received, received=self.now()))

        return self.inner.subscribe(topic, type, lambda received: line.take(received, spoilt, deliver), qos)

    def publisher(self, topic: str, type: str, qos: QoS = WRITE) -> Publisher:
        """What sends a topic, as far as the faults let it."""
        return _FaultyPublisher(self, topic, type, self.inner.publisher(topic, type, qos), qos)

    def serve(self, service: str, type: str, handler: Callable[[Message], Message]) -> None:
        """Answer a service's requests, without faults."""
        self.inner.serve(service, type, handler)

    def client(self, service: str, type: str) -> ServiceClient:
        """What calls a service, once no stall holds it."""
        return _FaultyClient(self, service, self.inner.client(service, type))

    def serve_action(self, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
        """Take an action's goals, without faults."""
        self.inner.serve_action(action, type, accept, execute)

    def action_client(self, action: str, type: str) -> ActionClient:
        """What sends an action's goals, without faults."""
        return self.inner.action_client(action, type)

    def now(self) -> int:
        """The wrapped transport's clock [ns], with its jumps."""
        return self.inner.now() + self._offset

    def diagnostics(self) -> list[str]:
        """What is wrong with the graph, as the wrapped transport tells it."""
        return self.inner.diagnostics()

    def close(self) -> None:
        """Leave; what is held back is lost."""
        self._schedule.close()
        self.inner.close()

    def faults(self, topic: str) -> Faults:
        """What messages of a topic suffer now."""
        return self._faults.get(topic, self._faults.get(None, Faults()))

    def stalled_until(self, topic: str) -> int:
        """When the topic's stall ends [ns], on the clock that faults go by."""
        return max(self._stalls.get(topic, 0), self._stalls.get(None, 0))

    def stalled_for(self, topic: str) -> float:
        """How long the topic's stall still lasts [s]."""
        return max(0.0, (self.stalled_until(topic) - self._clock()) / 1e9)

    def happens(self, share: float) -> bool:
        """Whether it happens this time."""
        return share > 0 and float(self._random.random()) < share

    def pass_on(self, topic: str, faults: Faults, call: Callable[[], Any]) -> None:
        """Do something when the topic's delay and stall are over."""
        late = round(self._random.uniform(*faults.delay) * 1e9) if max(faults.delay) > 0 else 0
        self._schedule.at(max(self._clock() + late, self.stalled_until(topic)), call)

    def spoil(self, type: str, raw: bytes) -> Message:
        """The message of these bytes, one of its floating-point numbers NaN."""
        message = self.messages.decode(type, raw)
        places = list(_places(message))
        if places:
            owner, name, index = places[int(self._random.integers(len(places)))]
            if index is None:
                setattr(owner, name, float("nan"))
            else:
                array = getattr(owner, name).copy()
                array[index] = np.nan
                setattr(owner, name, array)
        return message

    @property
    def lock(self) -> threading.RLock:
        """Held while something is called back."""
        return self._lock


class _Line:
    """What one end of a topic goes through."""

    def __init__(self, transport: FaultyTransport, topic: str) -> None:
        self._transport, self._topic = transport, topic
        self._held: list[Any] = []
        self._lost = 0  # in a row

    def take(self, item: Any, spoilt: Callable[[Any], Any], deliver: Callable[[Any], Any]) -> None:
        """Let ``item`` through, or not, or late, or twice."""
        transport = self._transport
        with transport.lock:
            faults = transport.faults(self._topic)
            if transport.happens(faults.drop) and not 0 < faults.in_a_row <= self._lost:
                self._lost += 1
                return
            self._lost = 0
            if transport.happens(faults.nan):
                item = spoilt(item)
            if not self._held and transport.happens(faults.reorder):
                self._held.append(item)
                return
            passing = [item] * (2 if transport.happens(faults.duplicate) else 1) + self._held
            self._held = []
            for each in passing:
                transport.pass_on(self._topic, faults, lambda each=each: self._do(deliver, each))  # type: ignore[misc]

    def _do(self, deliver: Callable[[Any], Any], item: Any) -> None:
        with self._transport.lock:
            deliver(item)


class _FaultyPublisher(Publisher):
    def __init__(self, transport: FaultyTransport, topic: str, type: str, inner: Publisher, qos: QoS) -> None:
        self._transport, self._type, self._inner, self._lifespan = transport, type, inner, qos.lifespan
        self._line = _Line(transport, topic)

    def publish(self, message: Message) -> bytes:
        if getattr(message, "__msgtype__", None) != self._type:
            return self._inner.publish(message)  # which says what is wrong
        raw: bytes = self._transport.messages.encode(message)
        decode = self._transport.messages.decode
        sent = self._transport.inner.now()

        def deliver(passed: bytes) -> None:
            late = (self._transport.inner.now() - sent) / 1e9
            if self._lifespan is None or late <= self._lifespan:
                self._inner.publish(decode(self._type, passed))

        self._line.take(raw, lambda whole: self._transport.messages.encode(self._transport.spoil(self._type, whole)), deliver)
        return raw

    @property
    def readers(self) -> int:
        return self._inner.readers

    @property
    def rivals(self) -> int:
        return self._inner.rivals


class _FaultyClient(ServiceClient):
    def __init__(self, transport: FaultyTransport, service: str, inner: ServiceClient) -> None:
        self._transport, self._service, self._inner = transport, service, inner

    def call(self, request: Message, timeout: float) -> Message:
        stalled = self._transport.stalled_for(self._service)
        time.sleep(min(stalled, timeout))
        if stalled >= timeout:
            raise TransportError(f"{self._service} did not answer within {timeout:g} s")
        return self._inner.call(request, timeout - stalled)

    @property
    def ready(self) -> bool:
        return self._inner.ready


def _places(message: Message) -> Any:
    """Where a message holds floating-point numbers: owner, field, and place in an array."""
    for name, value in vars(message).items():
        if isinstance(value, float):
            yield message, name, None
        elif isinstance(value, np.ndarray) and value.dtype.kind == "f":
            yield from ((message, name, index) for index in range(len(value)))
        elif isinstance(value, list):
            yield from (place for item in value if hasattr(item, "__msgtype__") for place in _places(item))
        elif hasattr(value, "__msgtype__"):
            yield from _places(value)
