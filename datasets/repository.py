"""Icechunk's place on a disk or in a bucket, and its errors as lines that name the remedy."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robolearn.datasets.address import Url
from robolearn.datasets.layout import StoreError

_LONGEST = 200


def icechunk() -> Any:
    """The package; ``StoreError`` where it is not installed."""
    try:
        import icechunk as package

        package.set_logs_filter("error")  # it warns of writers on one disk, who are kept apart here
    except ModuleNotFoundError:
        raise StoreError("icechunk addresses need icechunk: `pip install 'robolearn[icechunk]'`") from None
    return package


def storage_at(url: Url) -> Any:
    """Icechunk's storage for an address; credentials and endpoint come from ``AWS_*``.

    Raises:
        StoreError: the address cannot be read, or the bucket does not answer.
    """
    place = url.base.partition(":")[2]
    if url.scheme == "icechunk":
        return icechunk().local_filesystem_storage(str(Path(place).absolute()))
    bucket, _, prefix = place.lstrip("/").partition("/")
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
        text = " ".join(str(error).split())
        short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
        raise StoreError(f"{url}: {short}; check that the place can be written and reached from here") from None
