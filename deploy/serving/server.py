"""``robolearn serve``: a policy behind a websocket, for robots whose computers hold neither torch nor the weights."""

from __future__ import annotations

import asyncio
import hmac
import http
import ipaddress
import json
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from robolearn.deploy.serving.model import ServedModel
from robolearn.deploy.serving.session import Session
from robolearn.deploy.serving.worker import Worker
from robolearn.errors import UserError, check_positive
from robolearn.spec import EnvSpec

OPEN_S = 5.0  # [s] a connection may take to become a websocket
ALIVE_S = 20.0  # [s] between signs of life, and how long one may take


@dataclass(frozen=True)
class Settings:
    """How a server is reached, and what it puts up with.

    Args:
        host: address to listen on; one that others reach needs a token.
        port: 0 takes a free one.
        token: what clients have to know; None for no question asked.
        insecure: listen for others without a token all the same.
        max_message_mb: [MB] of one message.
        max_connections: clients at a time; a runner takes two.
        request_timeout: [s] after which a request is given up.

    Raises:
        UserError: an address that others reach without a token, or a limit that is not above 0.
    """

    host: str = "127.0.0.1"
    port: int = 8765
    token: str | None = None
    insecure: bool = False
    max_message_mb: float = 16.0
    max_connections: int = 8
    request_timeout: float = 30.0

    def __post_init__(self) -> None:
        limits = {"max_message_mb": self.max_message_mb, "max_connections": self.max_connections, "request_timeout": self.request_timeout}
        check_positive(**limits)
        if not 0 <= self.port < 1 << 16:
            raise UserError(f"port is 0 (any that is free) to 65535, got {self.port}")
        if not _is_loopback(self.host) and not self.token and not self.insecure:
            raise UserError(
                f"host={self.host} lets others in, and whoever comes in moves the robot: give token=... (or ROBOLEARN_TOKEN), "
                "use an SSH tunnel to 127.0.0.1, or say insecure=true"
            )

    @property
    def max_bytes(self) -> int:
        """Bytes of one message."""
        return int(self.max_message_mb * 1e6)


class PolicyServer:
    """Answers clients; the weights may come later than the first of them.

    Args:
        settings: addresses and limits.
        check: raises ``UserError`` where the checkpoint is not for a robot, from its spec alone.
        load: builds and warms the model; runs on a thread of its own.
    """

    def __init__(self, settings: Settings, check: Callable[[EnvSpec], None], load: Callable[[], ServedModel]) -> None:
        self.settings, self.check, self._load = settings, check, load
        self.model: ServedModel | None = None
        self.samples, self.refines = Worker("sample"), Worker("refine")
        self.request_timeout = settings.request_timeout
        self.counts = dict.fromkeys(("sample", "refine", "dial", "ping", "errors"), 0)
        self._connections = 0
        self._begun = time.monotonic()

    async def run(self, on_ready: Callable[[str], None], stop: asyncio.Event | None = None) -> None:
        """Serve until ``stop``, or SIGINT or SIGTERM; ``on_ready`` gets the URL once the model can answer.

        Raises:
            UserError: the address is taken or not of this machine, or the model cannot be loaded or would not fit a message.
        """
        stop = stop or asyncio.Event()
        self._is_ready = asyncio.Event()
        try:
            listening = await serve(self._meet, self.settings.host, self.settings.port, **self._limits())
        except OSError as error:
            where, why = f"{self.settings.host}:{self.settings.port}", error.strerror or error
            raise UserError(f"cannot listen on {where} ({why}); give another port=..., 0 for any that is free") from error
        async with listening:
            port = next(iter(listening.sockets)).getsockname()[1]
            loading = asyncio.wrap_future(self.samples.submit(self._prepared))  # on the thread that will sample
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait((loading, stopped), return_when=asyncio.FIRST_COMPLETED)
            if not stop.is_set():
                self.model = loading.result()
                self._is_ready.set()
                on_ready(f"ws://{_in_url(self.settings.host)}:{port}")
                await stopped
            stopped.cancel()
            self._is_ready.set()  # nobody waits for what does not come any more
        self.samples.close()
        self.refines.close()

    async def ready(self) -> ServedModel | None:
        """The model, once it is loaded and warm; None where the server ends before."""
        await self._is_ready.wait()
        return self.model

    def health(self) -> dict[str, Any]:
        """What ``/healthz`` says."""
        return {
            "ready": self.model is not None,
            "model": None if self.model is None else self.model.name,
            "uptime_s": round(time.monotonic() - self._begun, 3),
            "connections": self._connections,
            "requests": {name: count for name, count in self.counts.items() if name != "errors"},
            "errors": self.counts["errors"],
            "steering": {} if self.model is None else self.model.statistics(),
        }

    def _prepared(self) -> ServedModel:
        model = self._load()
        if model.sample_bytes() + 4096 > self.settings.max_bytes:
            needed = model.sample_bytes() / 1e6 + 0.1
            raise UserError(f"an observation of this policy takes {needed:.1f} MB: give max_message_mb={needed * 1.1:.1f} or more")
        return model

    def _limits(self) -> dict[str, Any]:
        quiet = logging.getLogger("robolearn.serve.websockets")  # strangers' broken handshakes are no news
        quiet.setLevel(logging.CRITICAL + 1)
        return {
            "process_request": self._process,
            "origins": [None],  # pages in a browser say an origin: none of them talks to a robot
            "compression": None,
            "server_header": None,
            "open_timeout": OPEN_S,
            "ping_interval": ALIVE_S,
            "ping_timeout": ALIVE_S,
            "close_timeout": 1.0,
            "max_size": self.settings.max_bytes,
            "max_queue": 2,
            "logger": quiet,
        }

    def _process(self, connection: ServerConnection, request: Request) -> Response | None:
        """Answer ``/healthz``, turn away strangers, and let all others become websockets."""
        if request.path == "/healthz":
            status = http.HTTPStatus.OK if self.model is not None else http.HTTPStatus.SERVICE_UNAVAILABLE
            return _response(status, json.dumps(self.health()) + "\n", "application/json")
        if request.path != "/":
            return _response(http.HTTPStatus.NOT_FOUND, "there are / (a websocket) and /healthz\n")
        if self.settings.token and not _knows(self.settings.token, request.headers):
            return _response(http.HTTPStatus.UNAUTHORIZED, "this server asks for a token\n")
        if self._connections >= self.settings.max_connections:
            return _response(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self.settings.max_connections} clients are here already\n")
        return None

    async def _meet(self, connection: ServerConnection) -> None:
        self._connections += 1
        try:
            await Session(self, connection).run()
        finally:
            self._connections -= 1


def until_signal(server: PolicyServer, on_ready: Callable[[str], None]) -> int | None:
    """Run a server until Ctrl-C or SIGTERM; returns the signal's number."""
    heard: list[int] = []

    async def serving() -> None:
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def hear(number: int) -> None:
            heard.append(number)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, hear, number)
        await server.run(on_ready, stop)

    asyncio.run(serving())
    return heard[0] if heard else None


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _knows(token: str, headers: Headers) -> bool:
    """Whether a request brings the token; takes as long for a token that is nearly right."""
    given = ",".join(headers.get_all("Authorization"))
    return hmac.compare_digest(given.encode("utf-8", "replace"), f"Bearer {token}".encode())


def _response(status: http.HTTPStatus, text: str, kind: str = "text/plain") -> Response:
    body = text.encode()
    headers = Headers([("Content-Type", kind), ("Content-Length", str(len(body))), ("Connection", "close")])
    return Response(status.value, status.phrase, headers, body)
