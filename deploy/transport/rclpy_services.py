"""Services through rclpy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from robolearn.deploy.transport.base import Message, ServiceClient, TransportError
from robolearn.deploy.transport.rclpy_types import class_of, from_rclpy, to_rclpy

if TYPE_CHECKING:
    from robolearn.deploy.transport.rclpy_transport import Rclpy


class Unanswered(Exception):
    """A request that gets no response, because its handler failed: what failed is noted already."""


def serve(owner: Rclpy, service: str, type: str, handler: Callable[[Message], Message]) -> None:
    """Answer a service's requests; one whose handler raises is left unanswered."""

    def answer(asked: Any, _: Any) -> Any:
        response = owner.turns.run(f"the service {service}", lambda: handler(from_rclpy(owner.messages, f"{type}_Request", asked)))
        if response is None:
            raise Unanswered(service)
        return to_rclpy(owner.messages, response)

    owner.node.create_service(class_of(type), service, answer)


class RclpyServiceClient(ServiceClient):
    """Calls one service."""

    def __init__(self, owner: Rclpy, service: str, type: str) -> None:
        self._owner, self._service, self._type = owner, service, type
        self._client = owner.node.create_client(class_of(type), service)

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        return self._owner.is_open and bool(self._client.service_is_ready())

    def call(self, request: Message, timeout: float) -> Message:
        """The response to one request."""
        if getattr(request, "__msgtype__", None) != f"{self._type}_Request":
            raise TransportError(f"{self._service} takes {self._type}_Request, not {getattr(request, '__msgtype__', request)!s:.80}")
        if not self.ready:
            raise TransportError(f"nobody serves {self._service}")
        future = self._client.call_async(to_rclpy(self._owner.messages, request))
        try:
            response = wait_for(self._owner, future, timeout, f"{self._service} did not answer within {timeout:g} s")
        except TransportError:
            self._client.remove_pending_request(future)
            raise
        return from_rclpy(self._owner.messages, f"{self._type}_Response", response)


def wait_for(owner: Rclpy, future: Any, timeout: float, late: str) -> Any:
    """What a future of rclpy's brings.

    Raises:
        TransportError: ``late``, after ``timeout`` [s]; or rclpy failed meanwhile.
    """
    came = threading.Event()
    future.add_done_callback(lambda _: came.set())
    if not owner.turns.wait(came, timeout):
        raise TransportError(late)
    if future.exception() is not None:
        raise TransportError(f"rclpy: {future.exception()}")
    return future.result()
