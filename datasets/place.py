"""Where a store lies: what is at a path, and how a whole store takes its place there at once."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import zarr

from robolearn.datasets import layout
from robolearn.datasets.address import Url
from robolearn.datasets.commit import DurableStore, settle, sync_directory
from robolearn.datasets.formats.archive import ZipFiles, looks_like_zip
from robolearn.datasets.layout import StoreError
from robolearn.errors import nearest
from robolearn.spec import EnvSpec


def check_schema(path: Path | Url, attrs: Mapping[str, Any]) -> None:
    """Raise ``StoreError`` unless the attributes are those of a store this version reads."""
    version = attrs.get("schema_version")
    if not isinstance(version, int) or "env_spec" not in attrs:
        raise StoreError(f"{path} is a zarr group but no robolearn store; `robolearn data import source={path} out=...` may read it")
    if version > layout.SCHEMA_VERSION:
        raise StoreError(f"{path} has schema version {version}, this robolearn reads up to {layout.SCHEMA_VERSION}; update robolearn")
    if version < layout.SCHEMA_VERSION:
        raise StoreError(
            f"{path} has schema version {version}, this robolearn reads version {layout.SCHEMA_VERSION}; "
            f"`robolearn data upgrade store={path} out=NAME.zarr` makes a new store of it"
        )


def require_store(path: Path) -> None:
    """Raise ``StoreError`` with what is there instead, unless ``path`` is a store."""
    if (path / "zarr.json").is_file():
        return
    if not path.exists():
        if set_aside(path):
            raise StoreError(f"no store at {path}: a writer died while it replaced it; `robolearn data repair store={path}` puts it back")
        siblings = [entry.name for entry in path.parent.glob("*.zarr")] if path.parent.is_dir() else []
        there = f"; {path.parent} has {', '.join(sorted(siblings)[:5])}" if siblings else ""
        raise StoreError(
            f"no store at {path}{there}{nearest(path.name, siblings)} (`robolearn data import` and `robolearn collect` make one)"
        )
    if path.is_file() or (path / ".zgroup").is_file():
        raise StoreError(f"{path} is no robolearn store; `robolearn data import source={path} out=NAME.zarr` reads other formats")
    raise StoreError(f"{path} is a directory but no store: it lacks zarr.json")


def require_free(path: Path, overwrite: bool) -> None:
    """Raise ``StoreError`` unless a store can be made at ``path``."""
    if not path.exists():
        return
    if not overwrite:
        raise StoreError(f"{path} exists; give another name, overwrite=true, or open it with mode='a' to append")
    if not _holds_store(path) and not (path.is_dir() and not any(path.iterdir())):
        raise StoreError(f"{path} exists and is no store; it is not replaced")


def _holds_store(path: Path) -> bool:
    if path.is_dir() or not looks_like_zip(path):
        return (path / "zarr.json").is_file()
    return any(name.rpartition("/")[2] == "zarr.json" for name in ZipFiles(path).names)


def create_beside(path: Path, env_spec: EnvSpec, attrs: Mapping[str, Any], image_codec: str = "zstd") -> None:
    """Lay an empty store out under another name and rename it, so that a half-made store is never seen."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    remove(draft)
    try:
        storage = DurableStore(draft)
        try:
            layout.create_arrays(zarr.open_group(storage, mode="w", zarr_format=3), env_spec, attrs, image_codec)
        except TypeError as error:
            raise StoreError(f"the attributes of {path} are not JSON: {one_line(error)}") from error
        storage.sync()
        put_in_place(draft, path)
    finally:
        remove(draft)


def note(path: Path, **attrs: Any) -> None:
    """Add JSON-ready notes to the attributes of a store that nobody else is writing."""
    storage = DurableStore(path)
    zarr.open_group(storage, mode="r+", zarr_format=3).attrs.update(attrs)
    storage.sync()


def put_in_place(draft: Path, path: Path) -> None:
    """Rename a finished store (or another file or directory) to ``path``; what was there is removed after.

    A file replaces a file at once. A directory cannot: between two renames :func:`set_aside` knows what was there.
    """
    if path.is_file() and draft.is_file():
        draft.replace(path)
        return sync_directory(path.parent)
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    if path.exists():
        path.rename(old)
    draft.rename(path)
    sync_directory(path.parent)
    remove(old)


def remove(path: Path) -> None:
    """Delete a file or a directory with all that is in it, as far as it is there."""
    if path.is_dir() and not path.is_symlink():
        settle()  # else what is still being written there would come after
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def leftovers(path: Path) -> list[Path]:
    """Drafts of a store that writers left beside its place when they died; whoever holds its lock may remove them."""
    return [entry for kind in ("*.new", "importing") for entry in sorted(path.parent.glob(f".{glob.escape(path.name)}.{kind}"))]


def set_aside(path: Path) -> list[Path]:
    """Stores that were being replaced at a place when the writer died, the latest last."""
    found = [entry for entry in path.parent.glob(f".{glob.escape(path.name)}.*.old") if (entry / "zarr.json").is_file()]
    return sorted(found, key=lambda entry: entry.stat().st_ctime)


def one_line(error: BaseException) -> str:
    """An error as one line of text."""
    return " ".join(str(error).split()) or type(error).__name__
