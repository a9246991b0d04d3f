"""The files of a TensorFlow data set (TFDS): where its version lies, its two JSON files, and the shards it promises."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.datasets.formats.archive import MAX_JSON_BYTES, one_line
from robolearn.datasets.layout import StoreError

INFO, FEATURES = "dataset_info.json", "features.json"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_MAX_SHARDS = 1_000_000


@dataclass(frozen=True)
class Shard:
    """One file of records."""

    split: str
    path: Path
    records: int


def versions(source: Path) -> list[Path]:
    """Directories of a data set's versions: ``source`` itself, or those right below it."""
    try:
        folders = [source, *sorted(source.iterdir())] if source.is_dir() else []
        return [folder for folder in folders if (folder / INFO).is_file() and (folder / FEATURES).is_file()]
    except OSError:  # it may not be looked into
        return []


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        StoreError: not there, absurdly large, or no JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise StoreError(f"{path} has {path.stat().st_size} bytes, too many for a description; copy it anew from its source")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"{path} is no JSON: {one_line(error)}; copy it anew from its source") from error
    if not isinstance(value, dict):
        raise StoreError(f"{path} is no JSON object but {type(value).__name__}; copy it anew from its source")
    return value


def shards(root: Path, info: dict[str, Any]) -> list[Shard]:
    """The shards that ``dataset_info.json`` promises, whether they are there or not.

    Raises:
        StoreError: it promises none, or not as TFDS does.
    """
    name, splits = info.get("name"), info.get("splits")
    if not isinstance(name, str) or not isinstance(splits, list) or not splits:
        raise StoreError(f"{root / INFO} has no name or lists no splits; copy it anew from its source")
    file_format = str(info.get("fileFormat") or "tfrecord")
    if file_format != "tfrecord":
        raise StoreError(f"{root} is in file format {file_format[:40]!r}; TFDS writes tfrecord with file_format='tfrecord'")
    found: list[Shard] = []
    for split in splits:
        try:
            counts = [int(count) for count in split["shardLengths"]]
            template = str(split.get("filepathTemplate") or _TEMPLATE)
            found += [
                Shard(str(split["name"]), root / _file_name(template, name, str(split["name"]), index, len(counts)), count)
                for index, count in enumerate(counts[:_MAX_SHARDS])
                if count > 0
            ]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise StoreError(f"{root / INFO}: a split is damaged: {one_line(error)}; copy it anew from its source") from error
    if not found:
        raise StoreError(f"{root / INFO} promises no records; copy the data set anew from its source")
    return found


def _file_name(template: str, dataset: str, split: str, index: int, count: int) -> str:
    """Fill a template; the result is a name in the very directory."""
    words = {
        "{DATASET}": dataset,
        "{SPLIT}": split,
        "{FILEFORMAT}": "tfrecord",
        "{SHARD_X_OF_Y}": f"{index:05d}-of-{count:05d}",
        "{SHARD_INDEX}": f"{index:05d}",
        "{NUM_SHARDS}": f"{count:05d}",
    }
    name = template.rsplit("/", 1)[-1] if template.startswith("{DIRECTORY}/") else template
    for word, text in words.items():
        name = name.replace(word, text)
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.=+-]*", name):
        raise ValueError(f"it names the file {name[:80]!r}, which is none of this directory")
    return name
