"""How the place of a store is written: a path, or an address such as ``s3://bucket/demos.zarr`` or ``icechunk:lab@v1``."""

from __future__ import annotations

import re
from pathlib import Path

from robolearn.datasets.layout import StoreError
from robolearn.errors import nearest

BUCKETS = ("s3", "gs", "az", "memory")
HISTORIES = ("icechunk", "icechunk+s3")
_URL = re.compile(r"([a-z][a-z0-9+.]+):(//?)(.*)")
_MISWRITTEN = re.compile(rf"({'|'.join(map(re.escape, (*HISTORIES, *BUCKETS)))}):.*", re.IGNORECASE)
REF = re.compile(r"[\w.+-]+")  # a branch, tag or snapshot
REF_LETTERS = "a name of letters, digits, _ . + -"
_HISTORY = re.compile(rf"(icechunk|icechunk\+s3):(.+?)(?:@({REF.pattern}))?")


class Url(str):
    """The address of a store that is no file or directory.

    Attributes:
        scheme: such as ``s3`` or ``icechunk``.
        ref: of a store with history, the branch, tag or snapshot that is meant; None: the branch ``main``.
    """

    scheme: str
    ref: str | None

    def __new__(cls, text: str, scheme: str, ref: str | None = None) -> Url:
        """An address that :func:`address` has read."""
        made = super().__new__(cls, text)
        made.scheme, made.ref = scheme, ref
        return made

    @property
    def name(self) -> str:
        """Its last part, as a path has one."""
        return self.base.rstrip("/").rpartition("/")[2].rpartition(":")[2]

    @property
    def base(self) -> str:
        """The address without ``@ref``."""
        return str(self) if self.ref is None else self.removesuffix(f"@{self.ref}")

    @property
    def has_history(self) -> bool:
        """Whether it names a store with branches and tags."""
        return self.scheme in HISTORIES


def address(place: str | Path | Url) -> Path | Url:
    """What a user wrote, as a path or an address.

    Raises:
        StoreError: an address of a kind that is not known, or one that names nothing.
    """
    if isinstance(place, Url):
        return place
    text = str(place)
    if match := _HISTORY.fullmatch(text):
        _check_ref(text, match)
        return Url(text if match[1] == "icechunk" else _slashes(text), match[1], match[3])
    match = _URL.fullmatch(text)
    if match is None or (not isinstance(place, Path) and match[2] == "/"):
        if not isinstance(place, Path) and (meant := _MISWRITTEN.fullmatch(text)):
            scheme = meant[1].lower()
            example = f"{scheme}:DIR" if scheme == "icechunk" else f"{scheme}://bucket/demos.zarr"
            raise StoreError(f"{text} is no address; write it as {example} (a path of that name as ./{text})")
        return Path(place)
    if match[1] not in BUCKETS:
        if isinstance(place, Path):
            return place
        known = ["a path", *(f"{scheme}://" for scheme in BUCKETS), *HISTORIES]
        raise StoreError(f"{text}: no stores at {match[1]}:// addresses; there are {', '.join(known)}{nearest(match[1], BUCKETS)}")
    if not match[3].strip("/"):
        raise StoreError(f"{text} names no bucket; write it as {match[1]}://bucket/demos.zarr")
    return Url(_slashes(text).rstrip("/"), match[1])


def _check_ref(text: str, match: re.Match[str]) -> None:
    """Raise ``StoreError`` for what is no name behind an ``@``, unless it belongs to a directory that is there."""
    before, at, after = match[2].rpartition("@")
    folder = f"{before}@{after.partition('/')[0]}"
    if at and not (match[1] == "icechunk" and after and Path(folder).is_dir()):
        name = f"{after}@{match[3]}" if match[3] else after
        raise StoreError(f"{text}: after @ comes a branch, tag or snapshot, {REF_LETTERS}; got {name!r}")


def _slashes(text: str) -> str:
    """A path has one slash where an address has two."""
    return re.sub(r"^([a-z0-9+]+):/+", r"\1://", text)
