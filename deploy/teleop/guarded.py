"""viser's server, to which no page but its own may connect: it moves a robot, and knows neither users nor passwords."""

from __future__ import annotations

import contextlib
import http
import io
import threading
import warnings
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from robolearn.errors import UserError

LOOPBACK = ("127.0.0.1", "localhost", "::1")
_starting = threading.Lock()


def open_server(host: str, port: int, label: str) -> Any:
    """A ``viser.ViserServer`` on ``host``; on the next free port where ``port`` is taken, on any where it is 0.

    A page of another site that the operator's browser has open can reach a local port: its connection is refused by its ``Origin``.
    Nothing is ever shared through viser's public relay.

    Raises:
        UserError: viser is not installed, or the host is none of this machine's.
    """
    try:
        import viser
    except ImportError as error:
        raise UserError(f"device=browser needs viser ({error}): pip install 'robolearn[teleop]', or give device=keyboard") from error
    with _starting, _guarding(host), contextlib.redirect_stdout(io.StringIO()):  # viser prints a banner; stdout is a machine's
        try:
            server = viser.ViserServer(host=host, port=port, label=label, verbose=False)
        except (OSError, RuntimeError) as error:
            raise UserError(f"cannot serve the page on {host}:{port} ({error}); give another devices.browser.host or port") from error
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")  # a page that leaves is no mistake
    setattr(server, "request_share_url", lambda verbose=True: None)  # noqa: B010 - a page may ask for it
    return server


def refuses(headers: Any, host: str) -> str:
    """Why a WebSocket request with these headers is not from the server's own page; empty where it is.

    Args:
        headers: of the request.
        host: that the server is bound to.
    """
    origin, asked = headers.get("Origin"), headers.get("Host", "")
    if host in LOOPBACK and urlsplit(f"//{asked}").hostname not in LOOPBACK:
        return f"this server is for this machine only, not for {asked!r}"  # a name that was made to point here
    if origin is not None and urlsplit(origin).netloc != asked:
        return f"the page {origin!r} is another one's"
    return ""


@contextlib.contextmanager
def _guarding(host: str) -> Any:
    """While open, WebSocket servers that are started look at who connects; viser has no option for that."""
    import websockets.asyncio.server as module

    original = module.serve

    def serve(*positional: Any, process_request: Callable[..., Any] | None = None, **named: Any) -> Any:
        def process(connection: Any, request: Any) -> Any:
            reason = refuses(request.headers, host) if request.headers.get("Upgrade", "").lower() == "websocket" else ""
            if reason:
                return connection.respond(http.HTTPStatus.FORBIDDEN, f"{reason}\n")
            return process_request(connection, request) if process_request is not None else None

        return original(*positional, process_request=process, **named)

    module.serve = serve  # type: ignore[misc, assignment]
    try:
        yield
    finally:
        module.serve = original  # type: ignore[misc]
