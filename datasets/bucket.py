"""A store in an object store (S3 and what speaks like it, Google's, Azure's), read in blocks through a bounded cache."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import Any, TypeVar

from robolearn.datasets.address import Url
from robolearn.datasets.cache import BlockCache, shared_cache
from robolearn.datasets.files import ReadOnlyStorage
from robolearn.datasets.layout import StoreError

T = TypeVar("T")
# In obstore's account of an error: what it comes to, and where a cloud's machines ask for the credentials that the environment lacks.
_SIGNS = {
    "Connection refused": "connection refused",
    "dns error": "no such host",
    "kind: Timeout": "no reply in time",
    "certificate": "its certificate",
}
_MACHINE = ("/latest/api/token", "/latest/meta-data", "metadata.google.internal", "/metadata/identity")
TIMEOUT_VARIABLE = "ROBOLEARN_CONNECT_TIMEOUT_S"  # how long an address may not answer before it counts as wrong
_CONNECT_S, _ANSWER_S = 10.0, 60.0
_PATIENCE = timedelta(minutes=3)  # once it has answered: a network that fails for a moment ends no training
_LONGEST = 160
_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (AWS_SKIP_SIGNATURE=true for a public bucket)", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "the network"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ENDPOINT"),
    "memory": ("nothing", "nothing"),
}


class Bucket:
    """What lies below an address of an object store; the one place that speaks to it.

    Credentials, region and endpoint come from the environment: ``AWS_*``, ``GOOGLE_*``, ``AZURE_*``.

    Args:
        url: ``s3://bucket/prefix`` (``gs://``, ``az://``; ``memory://`` lasts as long as the process).

    Raises:
        UserError: obstore is not installed.
        StoreError: the address or the environment cannot be read.
    """

    def __init__(self, url: Url) -> None:
        self.url = url
        self._client = _client(url, patient=False)
        self._has_answered = False

    def sizes(self, prefix: str = "") -> dict[str, tuple[int, str]]:
        """``{key: (bytes, version)}`` of what lies below a folder."""
        obstore = _obstore()
        found = self._ask(lambda: obstore.list(self._client, prefix or None, chunk_size=1000).collect())
        return {str(entry["path"]): (int(entry["size"]), str(entry["e_tag"])) for entry in found}

    def head(self, key: str) -> int | None:
        """Bytes of one object; None where there is none."""
        try:
            return self._ask(lambda: int(_obstore().head(self._client, key)["size"]))
        except FileNotFoundError:
            return None

    def get(self, key: str, start: int = 0, stop: int | None = None, version: str | None = None) -> bytes:
        """Bytes ``start`` to ``stop`` (the end) of an object, of that version.

        Raises:
            FileNotFoundError: no such object.
            StoreError: no answer, no access, or another version by now.
        """
        options: dict[str, Any] = {"if_match": version} if version and version != "None" and self.url.scheme != "memory" else {}
        if start or stop is not None:
            options["range"] = {"offset": start} if stop is None else (start, stop)
        return self._ask(lambda: bytes(_obstore().get(self._client, key, options=options).bytes()))

    def put(self, key: str, data: bytes) -> str:
        """Write an object, whole or not at all; returns its version."""
        return self._ask(lambda: str(_obstore().put(self._client, key, data, use_multipart=False)["e_tag"]))

    def delete(self, keys: list[str]) -> None:
        """Remove objects, as far as they are there."""
        if keys:
            self._ask(lambda: _obstore().delete(self._client, keys))

    def _ask(self, question: Callable[[], T]) -> T:
        try:
            answer = question()
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StoreError(f"{self.url}: there is no such bucket{self._where()}; create it, or check the name") from None
            raise
        except Exception as error:  # obstore raises many kinds
            raise self._trouble(error) from None
        if not self._has_answered:
            self._has_answered, self._client = True, _client(self.url, patient=True)
        return answer

    def _where(self) -> str:
        endpoint = _endpoint()
        return f" at {endpoint}" if endpoint and self.url.scheme == "s3" else ""

    def _trouble(self, error: Exception) -> StoreError:
        """An error as a line that names the remedy."""
        kind, text = type(error).__name__, " ".join(str(error).split())
        secret, endpoint = _CREDENTIALS[self.url.scheme]
        if kind == "PreconditionError":
            return StoreError(f"{self.url} was replaced while it was read; open it again")
        if kind in ("PermissionDeniedError", "UnauthenticatedError") or any(path in text for path in _MACHINE):
            return StoreError(f"{self.url}: no access{self._where()}; set {secret} to credentials that may use this bucket")
        return StoreError(
            f"{self.url}: no answer{self._where()} ({_cause(text)}); check {endpoint}, and whether it can be reached from here"
        )


class BucketStorage(ReadOnlyStorage):
    """The files of a store in a bucket. What an array's folder holds is listed once; bytes are fetched in blocks and kept.

    Args:
        url: its address.
        cache_bytes: most bytes that this store keeps; unless given, all remote stores of the process share one cache.

    Attributes:
        cache: with its counters.
    """

    def __init__(self, url: Url, cache_bytes: int | None = None) -> None:
        super().__init__()
        self.bucket = Bucket(url)
        self.cache = shared_cache() if cache_bytes is None else BlockCache(cache_bytes)
        self._listed: dict[str, dict[str, tuple[int, str]]] = {}
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return str(self.bucket.url)

    def size(self, key: str) -> int | None:
        """See :meth:`StoreFiles.size`."""
        folder = _folder(key)
        if folder is None:
            return self.bucket.head(key)
        known = self._entry(folder, key)
        return None if known is None else known[0]

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StoreFiles.read`."""
        folder = _folder(key)
        if folder is None:  # metadata, read once
            data = self.bucket.get(key)
            return data[offset:] if length is None else data[offset : offset + length]
        known = self._entry(folder, key)
        if known is None:
            raise FileNotFoundError(key)
        size, version = known
        owner = (str(self.bucket.url), key, version)
        wanted = size - offset if length is None else length
        return self.cache.read(owner, size, offset, wanted, lambda start, stop: self._fetch(key, start, stop, version))

    def keys(self, prefix: str = "") -> list[str]:
        """See :meth:`StoreFiles.keys`."""
        return sorted(self.bucket.sizes(prefix))

    def _fetch(self, key: str, start: int, stop: int, version: str) -> bytes:
        data = self.bucket.get(key, start, stop, version)
        if len(data) != stop - start:
            raise StoreError(f"{self}: {key} gave {len(data)} of {stop - start} bytes; read it again")
        return data

    def _entry(self, folder: str, key: str) -> tuple[int, str] | None:
        """Size and version of a chunk's file, from a list of its folder that is asked for once."""
        with self._lock:
            if folder not in self._listed:
                self._listed[folder] = self.bucket.sizes(folder)
            return self._listed[folder].get(key)


def _folder(key: str) -> str | None:
    """The folder of an array's chunks; None for what is no chunk."""
    array, is_chunk, _ = key.partition("/c/")
    return f"{array}/c" if is_chunk else None


def _client(url: Url, patient: bool) -> Any:
    """A client of obstore for an address.

    Args:
        url: the address.
        patient: repeat what fails for minutes, instead of telling soon that an address is wrong.
    """
    store = _obstore().store
    if url.scheme == "memory":
        return _memory(str(url))
    options: dict[str, Any] = {
        "connect_timeout": f"{round(_connect_s() * 1000)}ms",
        "timeout": f"{_ANSWER_S if patient else _connect_s():g}s",
    }
    if url.scheme == "s3" and (_endpoint() or "").startswith("http://"):
        options["allow_http"] = True
    patience: dict[str, Any] = (
        {"retry_timeout": _PATIENCE} if patient else {"max_retries": 1, "retry_timeout": timedelta(seconds=_connect_s())}
    )
    try:
        return store.from_url(str(url), client_options=options, retry_config=patience)
    except Exception as error:  # obstore raises many kinds
        raise StoreError(f"{url} cannot be used ({_cause(' '.join(str(error).split()))}); write it as s3://bucket/demos.zarr") from None


@cache
def _memory(url: str) -> Any:
    return _obstore().store.MemoryStore()


def _endpoint() -> str | None:
    return os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")


def _connect_s() -> float:
    text = os.environ.get(TIMEOUT_VARIABLE, str(_CONNECT_S))
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 3600:
        raise StoreError(f"{TIMEOUT_VARIABLE}={text!r} is no number of seconds above 0, such as {_CONNECT_S:g}")
    return seconds


def _cause(text: str) -> str:
    """What a user can read of obstore's account, which goes on with the innards of its client."""
    head = text.partition(" Debug source:")[0].partition("source:")[0].strip()
    for sign, meaning in _SIGNS.items():
        if sign in text:
            return meaning
    return head if len(head) <= _LONGEST else f"{head[:_LONGEST]}..."


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ModuleNotFoundError:
        raise StoreError("addresses such as s3:// need obstore: `pip install 'robolearn[s3]'`") from None
    return obstore
