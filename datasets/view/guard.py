"""Who may ask: the page's address holds a secret, other sites' pages and other names of this machine are turned away."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from dataclasses import dataclass, field
from email.message import Message

LARGEST_BODY = 8 << 20  # bytes of a request
# Nothing is loaded from elsewhere, nothing frames the page, no address leaks.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Refused(Exception):
    """A request that is not answered: its HTTP status, and why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


@dataclass(frozen=True)
class Guard:
    """Looks at a request before it is answered.

    Args:
        host: the address that is listened at.
        port: likewise.
        token: what every path begins with.
    """

    host: str
    port: int
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))

    @property
    def address(self) -> str:
        """What to open in a browser."""
        host = "127.0.0.1" if self.host in ("0.0.0.0", "::", "") else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/{self.token}/"

    def path_within(self, path: str, headers: Message[str, str]) -> str:
        """The part of a request's path behind the secret.

        Raises:
            Refused: the secret is missing, or the request was meant for another name (which a foreign site's may be, pointing here).
        """
        self._check_host(headers.get("Host") or "")
        given, _, rest = path.partition("?")[0].removeprefix("/").partition("/")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), self.token.encode()):
            raise Refused(403, "open the address that `robolearn data view` printed: it holds a secret which this one lacks")
        return rest

    def _check_host(self, header: str) -> None:
        name, _, port = header.rpartition(":") if not header.endswith("]") and ":" in header else (header, "", "80")
        name = name.strip("[]").lower()
        try:
            numeric = bool(ipaddress.ip_address(name))
        except ValueError:
            numeric = False
        if port != str(self.port) or not (numeric or name in ("localhost", self.host.lower())):
            raise Refused(403, "this address is not the one that `robolearn data view` printed")

    def check_change(self, headers: Message[str, str]) -> int:
        """Whether a request may change something; the size of its body.

        Raises:
            Refused: it comes from another site's page, is no JSON, or too large.
        """
        origin = headers.get("Origin")
        if origin is not None and origin != f"http://{headers.get('Host')}":
            raise Refused(403, "requests of other pages are not answered")
        if (headers.get("Content-Type") or "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "expected application/json")
        length = headers.get("Content-Length") or ""
        if not length.isascii() or not length.isdigit():
            raise Refused(411, "expected Content-Length")
        if len(length) > 12 or int(length) > LARGEST_BODY:
            raise Refused(413, f"at most {LARGEST_BODY >> 20} MiB are read")
        return int(length)
