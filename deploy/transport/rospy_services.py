"""ROS 1's services: served through rospy; called by ourselves, for rospy's own calls know no timeout."""

from __future__ import annotations

import io
import socket
import struct
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

from robolearn.deploy.messages import MalformedError
from robolearn.deploy.transport.base import Message, ServiceClient, TransportError
from robolearn.deploy.transport.rospy_types import service_class, service_md5_of

if TYPE_CHECKING:
    from robolearn.deploy.transport.rospy_transport import Rospy


def serve(owner: Rospy, service: str, type: str, handler: Callable[[Message], Message]) -> None:
    """Answer a service's requests; a handler that raises, and a malformed request, are answered with an error.

    Raises:
        TransportError: somebody serves it already: ROS 1 would quietly have the new one replace it.
    """
    taken = owner.master.ask("lookupService", service)
    if taken:
        raise TransportError(f"{service} is served already, at {taken}")
    described = service_class(type)

    def answer(carrier: Any) -> Any:
        request = owner.messages.decode_ros1(f"{type}_Request", carrier._buff)  # an error goes to whoever asked
        response = owner.turns.run(f"the service {service}", handler, request)
        if response is None:
            raise owner.rospy.ServiceException("its handler failed, and noted why")
        return described._response_class(owner.messages.encode_ros1(response))

    def quiet(error: Exception, *_: Any) -> None:
        owner.troubles.note(f"the service {service} could not answer: {error}")

    owner.rospy.Service(service, described, answer, error_handler=quiet)


class RospyServiceClient(ServiceClient):
    """Calls one service, over a connection a call, as ROS 1 does."""

    def __init__(self, owner: Rospy, service: str, type: str) -> None:
        self._owner, self._service, self._type = owner, service, type
        self._md5 = service_md5_of(type)

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        try:
            return self._owner.is_open and self._owner.master.ask("lookupService", self._service) is not None
        except TransportError:
            return False

    def call(self, request: Message, timeout: float) -> Message:
        """The response to one request."""
        if getattr(request, "__msgtype__", None) != f"{self._type}_Request":
            raise TransportError(f"{self._service} takes {self._type}_Request, not {getattr(request, '__msgtype__', request)!s:.80}")
        self._owner.turns.check_may_wait()
        deadline = time.monotonic() + timeout
        address = self._owner.master.ask("lookupService", self._service)
        if not address:
            raise TransportError(f"nobody serves {self._service}")
        try:
            raw = self._exchange(address, self._owner.messages.encode_ros1(request), deadline)
        except TimeoutError:
            raise TransportError(f"{self._service} did not answer within {timeout:g} s") from None
        except OSError as error:
            raise TransportError(f"{self._service} at {address}: {error}") from None
        try:
            return self._owner.messages.decode_ros1(f"{self._type}_Response", raw)
        except MalformedError as error:
            raise TransportError(f"{self._service} answered what is no response: {error}") from None

    def _exchange(self, address: str, raw: bytes, deadline: float) -> bytes:
        """Send a request's bytes, and receive the response's."""
        from rosgraph.network import ROSHandshakeException, read_ros_handshake_header, write_ros_handshake_header

        place = urlparse(address)
        with socket.create_connection((place.hostname, place.port or 0), _left(deadline)) as link:
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller = self._owner.rospy.get_caller_id()
            write_ros_handshake_header(link, {"service": self._service, "md5sum": self._md5, "callerid": caller, "type": "*"})
            try:
                header = read_ros_handshake_header(link, io.BytesIO(), 4096)
            except ROSHandshakeException as error:
                raise OSError(str(error)) from None
            if "error" in header:
                raise OSError(header["error"])
            link.sendall(struct.pack("<I", len(raw)) + raw)
            worked, length = struct.unpack("<BI", _receive(link, 5, deadline))
            most = self._owner.messages.most_bytes(f"{self._type}_Response")
            if length > most:
                raise OSError(f"a response of {length} bytes; at most {most} are read")
            payload = _receive(link, length, deadline)
        if not worked:
            raise OSError(f"the server reports: {payload.decode(errors='replace')[:300]}")
        return payload


def _receive(link: socket.socket, count: int, deadline: float) -> bytes:
    """Exactly so many bytes."""
    found = bytearray()
    while len(found) < count:
        link.settimeout(_left(deadline))
        part = link.recv(min(count - len(found), 1 << 16))
        if not part:
            raise OSError("the server hung up before it had answered")
        found += part
    return bytes(found)


def _left(deadline: float) -> float:
    """Time until the deadline [s], a moment at least."""
    return max(0.001, deadline - time.monotonic())
