"""Opens a store's files where they lie: a directory, a zip, a bucket, or a store with history."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from robolearn.datasets.address import Url, address
from robolearn.datasets.commit import DurableStore
from robolearn.datasets.files import ReadOnlyStorage
from robolearn.datasets.formats.archive import looks_like_zip
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import require_store

if TYPE_CHECKING:
    from robolearn.datasets.repository import HistoryStorage

Storage: TypeAlias = "DurableStore | ReadOnlyStorage | HistoryStorage"


def is_zip(path: Path | Url) -> bool:
    """Whether a path is a zip, or would be made as one."""
    return isinstance(path, Path) and not path.is_dir() and (path.suffix == ".zip" or looks_like_zip(path))


def open_files(path: Path | Url, cache_bytes: int | None = None) -> Storage:
    """The files of a store, to read.

    Raises:
        StoreError: there is none, or its place does not answer.
    """
    if isinstance(path, Url):
        return _remote(path, cache_bytes)
    if path.is_file() and is_zip(path):
        from robolearn.datasets.zipped import ZipStorage

        return ZipStorage(path, cache_bytes)
    require_store(path)
    return DurableStore(path, read_only=True)


def _remote(url: Url, cache_bytes: int | None) -> Storage:
    if url.has_history:
        from robolearn.datasets.history import History

        return History(url).at(url.ref)
    from robolearn.datasets.bucket import BucketStorage

    storage = BucketStorage(url, cache_bytes)
    try:
        storage.read("zarr.json")  # where asked for a size only, a bucket that is not there says no more than an object does
        return storage
    except FileNotFoundError:
        pass
    if storage.size(UPLOAD) is not None:
        raise StoreError(f"{url} is being uploaded, or its upload was interrupted; the same `robolearn data copy` again goes on with it")
    raise StoreError(f"no store at {url}: it lacks zarr.json (`robolearn data copy store=NAME.zarr out={url}` puts one there)")


def local_path(place: str | Path) -> Path:
    """The path of a directory or zip that is to be made; ``StoreError`` for an address."""
    there = address(place)
    if isinstance(there, Path):
        return there
    raise StoreError(f"{there}: make it as a directory or .zip here, then `robolearn data copy store=NAME.zarr out={there}`")


def require_appendable(path: Path | Url) -> Path:
    """A directory's path, that of a link's target; ``StoreError`` for a place that is only read or copied to."""
    if isinstance(path, Path) and not is_zip(path):
        return path.resolve() if path.is_symlink() else path  # so that it, not the link, is replaced and has leftovers beside it
    raise StoreError(
        f"{path} can be read and copied to, not appended to: `robolearn data copy store={path} out=NAME.zarr` makes a directory, "
        f"`robolearn data copy store=NAME.zarr out={path}` puts it there"
    )


UPLOAD = "upload.json"  # in a bucket while a store is being put there
