"""Calls and actions made of exchanged requests and responses: what in-process and DDS transports have in common."""

from __future__ import annotations

import logging
import threading
from abc import abstractmethod
from collections.abc import Callable
from typing import Any

from robolearn.deploy.transport.base import ActionClient, GoalHandle, Message, ServiceClient, Transport, TransportError

log = logging.getLogger(__name__)

Reply = Callable[[Message], None]


class Caller:
    """Sends requests to one service and hands back the responses as they come."""

    def send(self, request: Message, answer: Reply) -> int:
        """Send without waiting; ``answer`` is called on the transport's thread. Returns the request's number.

        Raises:
            TransportError: a message of another type, or the middleware refused it.
        """
        raise NotImplementedError

    def forget(self, number: int) -> None:
        """Drop the response to a request when it comes."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether somebody serves."""
        raise NotImplementedError


class ExchangeTransport(Transport):
    """A transport whose services are requests and responses that pass each other, and whose actions are services and topics, as in ROS 2.

    Attributes:
        troubles: what went wrong lately, in words, for diagnostics.
    """

    def __init__(self) -> None:
        self.troubles: dict[str, int] = {}

    @abstractmethod
    def serve_later(self, service: str, type: str, handler: Callable[[Message, Reply], None]) -> None:
        """Answer a service's requests whenever ``handler`` calls the reply it was given; any thread may."""

    @abstractmethod
    def caller(self, service: str, type: str) -> Caller:
        """What sends requests to a service."""

    @abstractmethod
    def wait(self, event: threading.Event, timeout: float) -> bool:
        """Wait at most ``timeout`` [s] for what a callback of the transport's sets.

        Raises:
            TransportError: called on the transport's own thread, which would wait for itself.
        """

    def serve(self, service: str, type: str, handler: Callable[[Message], Message]) -> None:
        """Answer a service's requests with responses."""
        self.serve_later(service, type, lambda request, reply: reply(handler(request)))

    def client(self, service: str, type: str) -> ServiceClient:
        """What calls a service."""
        return _Client(self, service, self.caller(service, type))

    def serve_action(self, action: str, type: str, accept: Callable[[Message], bool], execute: Callable[[GoalHandle], None]) -> None:
        """Take an action's goals."""
        from robolearn.deploy.transport.action_server import ActionServer

        ActionServer(self, action, type, accept, execute)

    def action_client(self, action: str, type: str) -> ActionClient:
        """What sends an action's goals."""
        from robolearn.deploy.transport.action_client import ExchangeActionClient

        return ExchangeActionClient(self, action, type)

    def guarded(self, what: str, call: Callable[..., Any], *arguments: Any) -> None:
        """Call back; an exception is noted and ends there, so that the transport's thread lives on."""
        try:
            call(*arguments)
        except Exception as error:
            self.note(f"{what} raised {type(error).__name__}: {error}")
            log.exception("%s raised", what)

    def note(self, trouble: str) -> None:
        """Remember what went wrong for diagnostics, counting repetitions; a thousand kinds at most."""
        if trouble in self.troubles or len(self.troubles) < 1000:
            self.troubles[trouble] = self.troubles.get(trouble, 0) + 1

    def told_troubles(self) -> list[str]:
        """What went wrong so far, in words."""
        return [f"{trouble} ({count} times)" if count > 1 else trouble for trouble, count in list(self.troubles.items())]


class _Client(ServiceClient):
    """Calls one service and waits for the response."""

    def __init__(self, transport: ExchangeTransport, service: str, caller: Caller) -> None:
        self._transport, self._service, self._caller = transport, service, caller

    @property
    def ready(self) -> bool:
        return self._caller.ready

    def call(self, request: Message, timeout: float) -> Message:
        if not self._caller.ready:
            raise TransportError(f"nobody serves {self._service}")
        answers: list[Message] = []
        came = threading.Event()

        def answer(response: Message) -> None:
            answers.append(response)
            came.set()

        number = self._caller.send(request, answer)
        try:
            if not self._transport.wait(came, timeout):
                raise TransportError(f"{self._service} did not answer within {timeout:g} s")
        finally:
            self._caller.forget(number)
        return answers[0]
