"""What waits to be sent to the recorder's process: bounded by bytes, so that a slow disk costs messages, never memory or a tick."""

from __future__ import annotations

import collections
import threading
import time
from dataclasses import dataclass
from typing import Any

OVERHEAD = 256  # bytes that an entry takes beside its payload


@dataclass(frozen=True)
class Message:
    """A serialised message on its way to the log."""

    direction: str  # received or sent
    topic: str
    type: str
    raw: bytes
    stamp: int


@dataclass(frozen=True)
class Order:
    """Anything else: a step, the begin or end of an episode, a mark; sent in order, before any message that waits."""

    kind: str
    fields: dict[str, Any]
    arrays: dict[str, Any] | None = None


@dataclass
class Dropped:
    """Messages of a topic that were not recorded."""

    count: int = 0
    bytes: int = 0
    last: float = 0.0  # time.monotonic()


@dataclass(frozen=True)
class Batch:
    """Entries that were taken, in order, and the room they hold until they are sent."""

    entries: list[Message | Order]
    message_bytes: int
    order_bytes: int


class Outbox:
    """Two queues; any thread puts, one takes.

    Args:
        message_bytes: most that messages may take; what does not fit is dropped and counted by topic.
        order_bytes: most that steps may take.
        dropped: counts to go on with.
    """

    def __init__(self, message_bytes: int, order_bytes: int, dropped: dict[str, Dropped] | None = None) -> None:
        self.dropped = {} if dropped is None else dropped
        self._messages: collections.deque[Message] = collections.deque()
        self._orders: collections.deque[tuple[Order, int]] = collections.deque()
        self._message_room, self._order_room = message_bytes, order_bytes
        self._lock = threading.Lock()
        self._open = True

    def put_message(self, message: Message) -> bool:
        """Queue a message; False where it was dropped."""
        size = len(message.raw) + OVERHEAD
        with self._lock:
            if self._open and size <= self._message_room:
                self._message_room -= size
                self._messages.append(message)
                return True
            self._drop(message)
            return False

    def put_order(self, order: Order, size: int = 0, *, always: bool = False) -> bool:
        """Queue an order with ``size`` bytes of arrays; False where there is no room and it is not ``always`` taken."""
        size += OVERHEAD
        with self._lock:
            if not self._open or (size > self._order_room and not always):
                return False
            self._order_room -= size
            self._orders.append((order, size))
            return True

    def take(self, most: int) -> Batch:
        """Entries of about ``most`` bytes, orders first; their room is free after :meth:`sent`."""
        entries: list[Message | Order] = []
        orders = messages = 0
        with self._lock:
            while orders < most and self._orders:
                order, size = self._orders.popleft()
                entries.append(order)
                orders += size
            while orders + messages < most and self._messages:
                message = self._messages.popleft()
                entries.append(message)
                messages += len(message.raw) + OVERHEAD
        return Batch(entries, messages, orders)

    def sent(self, batch: Batch) -> None:
        """What was taken has gone out."""
        with self._lock:
            self._message_room += batch.message_bytes
            self._order_room += batch.order_bytes

    def shut(self) -> None:
        """Forget what waits, and take nothing more: there is nobody to send to."""
        with self._lock:
            self._open = False
            for message in self._messages:
                self._drop(message)
            self._messages.clear()
            self._orders.clear()

    @property
    def empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._orders and not self._messages

    def _drop(self, message: Message) -> None:
        dropped = self.dropped.setdefault(message.topic, Dropped())
        dropped.count, dropped.bytes, dropped.last = dropped.count + 1, dropped.bytes + len(message.raw), time.monotonic()
