"""The page's web server: a table of addresses, each answered from the store, behind a guard."""

from __future__ import annotations

import errno
import json
import logging
import re
import socket
import sys
from collections.abc import Callable
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import unquote

from robolearn.datasets.view.content import Content
from robolearn.datasets.view.guard import HEADERS, Guard, Refused
from robolearn.datasets.view.saving import Saver
from robolearn.errors import UserError

log = logging.getLogger(__name__)
_ASSETS = resources.files("robolearn.datasets.view") / "assets"
_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8"}
_KEPT = "private, max-age=86400"  # what is committed does not change while the page is open
_IDLE_S = 60.0

Answer = tuple[bytes, dict[str, str]]


class Pages:
    """What each address answers.

    Args:
        content: of the store.
        saver: makes new stores.
    """

    def __init__(self, content: Content, saver: Saver) -> None:
        self.content, self.saver = content, saver
        self._assets = {file.name: file.read_bytes() for file in _ASSETS.iterdir() if file.name[file.name.rfind(".") :] in _TYPES}
        self._routes: list[tuple[re.Pattern[str], Callable[..., Answer]]] = [
            (re.compile(pattern), answer)
            for pattern, answer in (
                (r"store\.json", lambda: _json({**content.summary(), "folder": str(saver.folder)})),
                (r"cameras\.json", lambda: _json(content.cameras())),
                (r"save\.json", lambda: _json(saver.facts())),
                (r"alive", lambda: _json({"alive": True})),
                (r"episode/(\d{1,9})/provenance\.json", lambda episode: _json(content.provenance(int(episode)))),
                (r"episode/(\d{1,9})/numbers/([^/]+)", self._numbers),
                (r"episode/(\d{1,9})/(stored|drawn)/([^/]+)/(\d{1,9})\.jpg", self._picture),
            )
        ]

    def get(self, path: str) -> Answer:
        """The body and headers for an address behind the secret.

        Raises:
            Refused: there is no such address.
            UserError: there is no such thing in the store.
        """
        name = path or "page.html"
        if name in self._assets:
            return self._assets[name], {"Content-Type": _TYPES[name[name.rfind(".") :]], "Cache-Control": "no-cache"}
        for pattern, answer in self._routes:
            match = pattern.fullmatch(path)
            if match:
                return answer(*match.groups())
        raise Refused(404, "there is nothing at this address")

    def post(self, path: str, body: bytes) -> Answer:
        """Begin to save.

        Raises:
            Refused: there is no such address, or the body is no JSON.
            UserError: what is asked for cannot be made.
        """
        if path != "save":
            raise Refused(404, "there is nothing at this address")
        try:
            request = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise Refused(400, "expected JSON") from error
        return _json(self.saver.start(request))

    def _numbers(self, episode: str, name: str) -> Answer:
        rows, every = self.content.numbers(int(episode), unquote(name))
        headers = {
            "Content-Type": "application/octet-stream",
            "X-Channels": str(rows.shape[1]),
            "X-Every": str(every),
            "Cache-Control": _KEPT,
        }
        return rows.tobytes(), headers

    def _picture(self, episode: str, kind: str, camera: str, step: str) -> Answer:
        picture = self.content.picture(int(episode), kind, unquote(camera), int(step))
        return picture, {"Content-Type": "image/jpeg", "Cache-Control": _KEPT}


def _json(value: Any) -> Answer:
    return json.dumps(value).encode(), {"Content-Type": "application/json", "Cache-Control": "no-store"}


class _Handler(BaseHTTPRequestHandler):
    """Reads requests, has the guard look at them, and sends what the pages answer."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "robolearn", ""
    timeout = _IDLE_S

    server: Server

    def __init__(self, pages: Pages, *rest: Any) -> None:
        self._pages = pages
        super().__init__(*rest)

    def do_GET(self) -> None:
        self._answer(lambda guard: self._pages.get(guard.path_within(self.path, self.headers)))

    def do_POST(self) -> None:
        self._answer(self._change)

    def _change(self, guard: Guard) -> Answer:
        path = guard.path_within(self.path, self.headers)
        body = self.rfile.read(guard.check_change(self.headers))
        return self._pages.post(path, body)

    def _answer(self, find: Callable[[Guard], Answer]) -> None:
        status = 200
        if self.server.closed:  # a connection that was kept open
            self.close_connection = True
            return
        try:
            body, headers = find(self.server.guard)
        except Refused as error:
            status, (body, headers) = error.status, _json({"error": str(error)})
        except UserError as error:
            status, (body, headers) = 400, _json({"error": str(error)})
        except (ConnectionError, TimeoutError):
            raise
        except Exception:
            log.exception("while answering %s", self.command)
            status, (body, headers) = 500, _json({"error": "something went wrong; the terminal says what"})
        self.send_response(status)
        if status != 200:  # whatever else was sent is not read
            self.close_connection = True
            headers = {**headers, "Connection": "close"}
        for name, value in {**HEADERS, **headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the address holds the secret."""


class Server(ThreadingHTTPServer):
    """Serves a store's page; ``serve_forever`` and ``shutdown`` as usual.

    Args:
        pages: what is answered.
        host: address to listen at.
        port: 0 takes a free one.

    Raises:
        UserError: the address cannot be listened at.
    """

    daemon_threads = True
    guard: Guard
    closed = False

    def __init__(self, pages: Pages, host: str, port: int) -> None:
        if not host:
            raise UserError("host names the address to listen at, such as 127.0.0.1 (this machine alone) or 0.0.0.0 (all its networks)")
        if ":" in host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((host, port), partial(_Handler, pages))
        except (OSError, OverflowError, UnicodeError) as error:
            said = getattr(error, "strerror", None) or str(error)
            if isinstance(error, OverflowError) or getattr(error, "errno", None) in (errno.EADDRINUSE, errno.EACCES):
                raise UserError(f"cannot listen at {host} port {port}: {said}; give another port=, or port=0 for a free one") from error
            raise UserError(f"cannot listen at host={host}: {said}; give host=127.0.0.1, or an address of this machine") from error
        self.guard = Guard(host, self.server_port)

    def server_bind(self) -> None:
        """Bind, without asking a name server what this machine is called."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def server_close(self) -> None:
        """Answer nobody any more."""
        self.closed = True
        super().server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that left is no error."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            log.exception("while talking to %s", client_address)
