"""Icechunk's files, its place on a disk or in a bucket, and its errors as lines that name the remedy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zarr.abc.store import RangeByteRequest, Store
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import WrapperStore

from robolearn.datasets.address import Url
from robolearn.datasets.layout import StoreError

_LONGEST = 200


class HistoryStorage(WrapperStore[Store]):
    """The files of one snapshot, or of a branch that is being added to."""

    commits = True  # nobody sees what is written before it is committed

    def size(self, key: str) -> int | None:
        """See :meth:`StoreFiles.size`."""
        return sync(self._store.getsize(key)) if sync(self._store.exists(key)) else None

    def read(self, key: str, offset: int = 0, length: int | None = None) -> bytes:
        """See :meth:`StoreFiles.read`."""
        size = self.size(key)
        if size is None:
            raise FileNotFoundError(key)
        stop = size if length is None else min(offset + length, size)
        if stop <= offset:
            return b""
        found = sync(self._store.get(key, default_buffer_prototype(), RangeByteRequest(offset, stop)))
        if found is None:
            raise FileNotFoundError(key)
        return bytes(found.to_bytes())

    def keys(self, prefix: str = "") -> list[str]:
        """See :meth:`StoreFiles.keys`."""

        async def gather() -> list[str]:
            return [key async for key in self._store.list_prefix(f"{prefix.rstrip('/')}/" if prefix else "")]

        return sorted(sync(gather()))

    def sync(self) -> None:
        """A commit makes everything durable at once."""


def icechunk() -> Any:
    """The package; ``StoreError`` where it is not installed."""
    try:
        import icechunk as package

        package.set_logs_filter("error")  # it warns of writers on one disk, who are kept apart here
    except ModuleNotFoundError:
        raise StoreError("icechunk addresses need icechunk: `pip install 'robolearn[icechunk]'`") from None
    return package


def folder_at(url: Url) -> Path | None:
    """The directory that holds a repository; None: it is in a bucket."""
    return Path(url.base.partition(":")[2]).absolute() if url.scheme == "icechunk" else None


def storage_at(url: Url) -> Any:
    """Icechunk's storage for an address; credentials and endpoint come from ``AWS_*``.

    Raises:
        StoreError: the address cannot be read, or the bucket does not answer.
    """
    folder = folder_at(url)
    if folder is not None:
        return icechunk().local_filesystem_storage(str(folder))
    bucket, _, prefix = url.base.partition(":")[2].lstrip("/").partition("/")
    if not bucket or not prefix:
        raise StoreError(f"{url} names no place in a bucket; write it as icechunk+s3://bucket/demos")
    _require_answer(bucket, prefix)
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    return icechunk().s3_storage(
        bucket=bucket,
        prefix=prefix,
        region=os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1",
        endpoint_url=endpoint,
        allow_http=bool(endpoint and endpoint.startswith("http://")),
        force_path_style=endpoint is not None,
        from_env=True,
    )


def _require_answer(bucket: str, prefix: str) -> None:
    """Ask through obstore first, whose errors come soon and can be told apart."""
    from robolearn.datasets.bucket import Bucket

    with contextlib.suppress(FileNotFoundError):
        Bucket(Url(f"s3://{bucket}/{prefix}", "s3")).get("config.yaml")


@contextlib.contextmanager
def told(url: Url) -> Iterator[None]:
    """Turn icechunk's errors into ``StoreError``, conflicts aside."""
    package = icechunk()
    try:
        yield
    except (StoreError, package.ConflictError):
        raise
    except (package.IcechunkError, ValueError, OSError) as error:
        text = " ".join(str(error).split()).partition(" | | ")[0].removeprefix("x ")  # its innards come after
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise StoreError(f"{url}: {short}; check that the place can be written and reached from here") from None
