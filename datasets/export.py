"""``robolearn data export``: a store in another project's format, whole or not at all, with a line for what that format cannot hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robolearn.datasets.address import address
from robolearn.datasets.commit import sync_directory, sync_tree
from robolearn.datasets.formats.registry import Format, writer_of
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line, put_in_place, remove
from robolearn.datasets.store import DemoStore
from robolearn.lock import WriterLock
from robolearn.nodes import to_dict


def export(cfg: DictConfig) -> int:
    """``robolearn data export``: a store written as a new file or directory of another format."""
    options = to_dict(cfg)
    out = address(options["out"])
    if not isinstance(out, Path):
        raise StoreError(f"{out}: other formats are written here; give out=NAME, and take it there with the tools of that place")
    format_name, overwrite = str(options["format"]), bool(options["overwrite"])
    chosen = writer_of(format_name)
    require_replaceable(out, format_name, chosen, overwrite)
    store = DemoStore.open(options["store"])
    if not store.num_episodes:
        raise StoreError(f"{store.path} holds no episodes to export")
    given = {key: value for key, value in options.items() if key in chosen.write_options}
    lost = write_whole(store, out, format_name, overwrite, **given)
    facts = {
        "store": str(store.path),
        "out": str(out),
        "format": format_name,
        "episodes": store.num_episodes,
        "steps": store.num_steps,
        "bytes": sum(file.stat().st_size for file in files_of(out)),
        "lost": lost,
    }
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def write_whole(store: DemoStore, out: Path, format_name: str, overwrite: bool, **options: Any) -> list[str]:
    """Write beside ``out`` and rename it there when it is complete and on disk; returns what the format cannot hold.

    Raises:
        StoreError: something else is at ``out``, or it cannot be written; nothing is left behind then.
        LockedError: another process is writing there.
    """
    chosen = writer_of(format_name)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = WriterLock(out, instead="give another name")
    except OSError as error:
        raise StoreError(f"cannot write {out}: {one_line(error)}") from error
    draft = out.with_name(f".exporting.{out.name}")  # keeps the suffix, which may say what to write
    try:
        remove(draft)
        assert chosen.write is not None
        lost = chosen.write(store, draft, **options)
        (sync_tree if draft.is_dir() else sync_directory)(draft)
        require_replaceable(out, format_name, chosen, overwrite)
        put_in_place(draft, out)
        return lost
    except OSError as error:
        raise StoreError(f"could not write {out}: {one_line(error)}; nothing is left of it") from error
    finally:
        remove(draft)
        lock.release()


def require_replaceable(out: Path, format_name: str, chosen: Format, overwrite: bool) -> None:
    """Raise ``StoreError`` unless nothing is at ``out``, or data of the same format that may be overwritten."""
    if not out.exists():
        return
    if not overwrite:
        raise StoreError(f"{out} exists; give another name or overwrite=true")
    empty = out.is_dir() and not any(out.iterdir())
    if not empty and not chosen.recognises(out):
        raise StoreError(f"{out} exists and is not {format_name}; it is not replaced")


def files_of(path: Path) -> Iterator[Path]:
    """A file itself, or the files of a directory at any depth."""
    return iter([path]) if path.is_file() else (file for file in path.rglob("*") if file.is_file())


def _text(facts: dict[str, Any]) -> str:
    head = "{out}: {episodes} episodes, {steps:,} steps as {format}, ".format(**facts) + f"{facts['bytes'] / 1e6:.1f} MB"
    return "\n".join([head, *(f"not held: {line}" for line in facts["lost"])])
