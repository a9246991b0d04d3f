"""Services as rmw_cyclonedds has them: a topic of requests and one of responses, each message led by who asked and a number.

The lead is a 64-bit client id and a 64-bit number, between the serialised message's four-byte header and its body. Endpoints tell in
their user data which service or client they are of.
"""

from __future__ import annotations

import itertools
import os
import struct
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from robolearn.deploy.messages import MalformedError
from robolearn.deploy.transport.base import Message, QoS, TransportError
from robolearn.deploy.transport.cyclone_types import topic_name
from robolearn.deploy.transport.services import Caller, Reply

if TYPE_CHECKING:
    from robolearn.deploy.transport.cyclone import Cyclone

SERVICES = QoS("reliable", depth=1000)  # of requests and answers of all clients, which share a topic
_LEAD = {0: struct.Struct(">Qq"), 1: struct.Struct("<Qq")}  # by the header's second byte: byte order
_BODY = 4 + 16
# How long a response waits until its client, found a moment ago, is found from the other side too [s].
_PATIENCE = 0.1


def wrapped(client: int, number: int, raw: bytes) -> bytes:
    """A serialised message with its lead."""
    return raw[:4] + _LEAD[raw[1]].pack(client, number) + raw[4:]


def unwrapped(raw: bytes) -> tuple[int, int, bytes]:
    """Client, number and serialised message, of one with its lead.

    Raises:
        MalformedError: too short, or of an unknown encoding.
    """
    if len(raw) < _BODY or raw[0] != 0 or raw[1] not in _LEAD:
        raise MalformedError(f"{len(raw)} bytes are no request or response of rmw_cyclonedds")
    client, number = _LEAD[raw[1]].unpack_from(raw, 4)
    return client, number, raw[:4] + raw[_BODY:]


def identity(kind: str) -> str:
    """User data that names a ``client`` or ``service``: 16 bytes of its own."""
    return f"{kind}id={'.'.join(f'{byte:x}' for byte in os.urandom(16))};"


class CycloneService:
    """Answers requests; the transport's callbacks keep it alive."""

    def __init__(self, transport: Cyclone, service: str, type: str, handler: Callable[[Message, Reply], None]) -> None:
        self._transport, self._service, self._type, self._handler = transport, service, type, handler
        request, response = (transport.messages.prepared(f"{type}_{part}") for part in ("Request", "Response"))
        own, hashed, types = identity("service"), transport.typehash, transport.types
        self._writer = transport.writer(topic_name(service, "rr", "Reply"), types.exchanged(response), SERVICES, own + hashed(response))
        self._reader = transport.reader(
            topic_name(service, "rq", "Request"), types.exchanged(request), SERVICES, own + hashed(request), self._take
        )

    def _take(self, raw: bytes) -> None:
        messages = self._transport.messages
        try:
            client, number, body = unwrapped(raw)
            request = messages.decode(f"{self._type}_Request", body)
        except MalformedError:
            self._transport.note(f"{self._service}: a malformed request")
            return

        def reply(response: Message) -> None:
            if getattr(response, "__msgtype__", None) != f"{self._type}_Response":
                raise TransportError(f"{self._service} answers {self._type}_Response, not {response!s:.80}")
            self._writer.wait_matched(self._reader.matched, _PATIENCE)
            self._writer.write(wrapped(client, number, messages.encode(response)))

        self._handler(request, reply)


class CycloneCaller(Caller):
    """Sends requests to one service."""

    def __init__(self, transport: Cyclone, service: str, type: str) -> None:
        self._transport, self._service, self._type = transport, service, type
        request, response = (transport.messages.prepared(f"{type}_{part}") for part in ("Request", "Response"))
        own, hashed, types = identity("client"), transport.typehash, transport.types
        self._client = struct.unpack("<Q", os.urandom(8))[0]
        self._numbers = itertools.count(1)
        self._pending: dict[int, Reply] = {}
        self._lock = threading.Lock()
        self._reader = transport.reader(
            topic_name(service, "rr", "Reply"), types.exchanged(response), SERVICES, own + hashed(response), self._take
        )
        self._writer = transport.writer(topic_name(service, "rq", "Request"), types.exchanged(request), SERVICES, own + hashed(request))

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        return self._writer.matched > 0 and self._reader.matched > 0

    def send(self, request: Message, answer: Reply) -> int:
        """Send without waiting."""
        if getattr(request, "__msgtype__", None) != f"{self._type}_Request":
            raise TransportError(f"{self._service} takes {self._type}_Request, not {getattr(request, '__msgtype__', request)!s:.80}")
        number = next(self._numbers)
        raw = wrapped(self._client, number, self._transport.messages.encode(request))
        with self._lock:
            self._pending[number] = answer
        try:
            self._writer.write(raw)
        except TransportError:
            self.forget(number)
            raise
        return number

    def forget(self, number: int) -> None:
        """Drop the response to a request when it comes."""
        with self._lock:
            self._pending.pop(number, None)

    def _take(self, raw: bytes) -> None:
        try:
            client, number, body = unwrapped(raw)
            if client != self._client:
                return  # another client's
            response = self._transport.messages.decode(f"{self._type}_Response", body)
        except MalformedError:
            self._transport.note(f"{self._service}: a malformed response")
            return
        with self._lock:
            answer = self._pending.pop(number, None)
        if answer is not None:
            answer(response)
