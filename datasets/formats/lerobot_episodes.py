"""Which episodes a LeRobot data set lists, and in which rows and frames of which files each lies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_features import Info
from robolearn.datasets.formats.lerobot_table import Table
from robolearn.datasets.layout import StoreError


@dataclass(frozen=True)
class Clip:
    """An episode's part of an mp4: from ``start`` [s]; ``duration`` None: the whole file."""

    file: str
    start: float = 0.0
    duration: float | None = None


@dataclass(frozen=True)
class Entry:
    """An episode as the meta data list it; file names are relative to the data set's folder."""

    index: int
    length: int
    tasks: tuple[str, ...]
    data: str
    clips: Mapping[str, Clip]
    notes: Mapping[str, Any] = field(default_factory=dict)  # columns `robolearn/...`, which our own export adds


def list_episodes(root: Path, info: Info, videos: Sequence[str]) -> list[Entry]:
    """All episodes listed, in order of their index; ``videos`` are the features to look up in mp4 files.

    Raises:
        StoreError: the lists are missing, damaged, or name an episode twice.
    """
    if videos and not info.video_path:
        raise StoreError(f"{root / paths.INFO} gives no video_path for {videos[0]!r}; LeRobot writes {paths.VIDEO_PATH!r}")
    entries = _from_tables(root, info, videos) if info.version == "v3.0" else _from_lines(root, info, videos)
    entries.sort(key=lambda entry: entry.index)
    twice = [one.index for one, other in pairwise(entries) if one.index == other.index]
    if twice:
        raise StoreError(f"{root / 'meta'} lists episode {twice[0]} twice; restore meta/ from its source")
    if not entries:
        raise StoreError(f"{root / 'meta'} lists no episode; restore meta/ from its source")
    return entries


def _from_lines(root: Path, info: Info, videos: Sequence[str]) -> list[Entry]:
    """v2.0 and v2.1: a line and a file an episode."""
    entries = []
    for number, row in enumerate(paths.read_lines(root, paths.EPISODES_LINES), 1):
        where = f"{root / paths.EPISODES_LINES} line {number}"
        index, length = _count(where, row, "episode_index"), _count(where, row, "length")
        place = {"episode_chunk": index // info.chunks_size, "episode_index": index}
        clips = {name: Clip(paths.fill(info.video_path, **place, video_key=name)) for name in videos}
        entries.append(Entry(index, length, _texts(row.get("tasks")), paths.fill(info.data_path, **place), clips))
    return entries


def _from_tables(root: Path, info: Info, videos: Sequence[str]) -> list[Entry]:
    """v3.0: a row an episode, which says where in shared files it lies."""
    files = sorted((root / paths.EPISODES).glob("*/*.parquet"))
    if not files:
        raise StoreError(f"{root / paths.EPISODES} holds no parquet file; fetch the data set's meta/ folder whole")
    needed = ["episode_index", "length", "data/chunk_index", "data/file_index"]
    needed += [f"videos/{name}/{key}" for name in videos for key in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")]
    entries = []
    for file in files:
        if why := paths.absence(file):
            raise StoreError(f"{file} {why}; fetch the data set's meta/ folder whole")
        table = Table(file)
        table.require(needed, "restore meta/ from its source")
        optional = [name for name in table.names if name == "tasks" or name.startswith("robolearn/")]
        rows = table.read([*needed, *optional])
        columns = {name: table.values(rows, name) for name in (*needed, *optional)}
        for number in range(table.rows):
            row = {name: values[number] for name, values in columns.items()}
            entries.append(_entry(f"{file} row {number}", row, info, videos))
    return entries


def _entry(where: str, row: Mapping[str, Any], info: Info, videos: Sequence[str]) -> Entry:
    def file(template: str, prefix: str, **more: str) -> str:
        chunk, number = _count(where, row, f"{prefix}/chunk_index"), _count(where, row, f"{prefix}/file_index")
        return paths.fill(template, chunk_index=chunk, file_index=number, **more)

    clips = {}
    for name in videos:
        start, stop = (_seconds(where, row, f"videos/{name}/{key}") for key in ("from_timestamp", "to_timestamp"))
        clips[name] = Clip(file(info.video_path, f"videos/{name}", video_key=name), start, stop - start)
    notes = {name.partition("/")[2]: value for name, value in row.items() if name.startswith("robolearn/")}
    index, length = _count(where, row, "episode_index"), _count(where, row, "length")
    return Entry(index, length, _texts(row.get("tasks")), file(info.data_path, "data"), clips, notes)


def _count(where: str, row: Mapping[str, Any], key: str) -> int:
    value = row.get(key)
    if type(value) is not int or not 0 <= value < 1 << 40:
        raise StoreError(f"{where}: {key} is {str(value)[:40]!r}, expected a count; restore meta/ from its source")
    return value


def _seconds(where: str, row: Mapping[str, Any], key: str) -> float:
    value = row.get(key)
    if not isinstance(value, int | float) or not math.isfinite(value) or not 0 <= value < 1e9:
        raise StoreError(f"{where}: {key} is {str(value)[:40]!r}, expected seconds; restore meta/ from its source")
    return float(value)


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    return tuple(text for text in value if isinstance(text, str)) if isinstance(value, list) else ()


def read_tasks(root: Path, version: str) -> dict[int, str]:
    """The text of each task index; empty where the data set has no such list.

    Raises:
        StoreError: the list is damaged.
    """
    name = paths.TASKS if version == "v3.0" else paths.TASKS_LINES
    if paths.absence(root / name):
        return {}
    if version != "v3.0":
        pairs = [(row.get("task_index"), row.get("task")) for row in paths.read_lines(root, name)]
    else:  # the text is the pandas index: by name `task`, or without a name
        table = Table(root / name)
        text = next((column for column in ("task", "__index_level_0__") if column in table.names), "")
        table.require(["task_index", text or "task"], "restore meta/ from its source")
        rows = table.read(["task_index", text])
        pairs = list(zip(table.values(rows, "task_index"), table.values(rows, text), strict=True))
    wrong = [pair for pair in pairs if type(pair[0]) is not int or not isinstance(pair[1], str)]
    if wrong:
        raise StoreError(f"{root / name}: {str(wrong[0])[:80]} is no task index with its text; restore meta/ from its source")
    return {index: text for index, text in pairs if isinstance(index, int) and isinstance(text, str)}


def rows_by_episode(table: Table) -> dict[int, tuple[int, int]]:
    """Where each episode's rows lie in a data file, ``{index: (start, stop)}``.

    Raises:
        StoreError: an episode's rows do not follow each other.
    """
    numbers = table.whole_numbers(table.read(["episode_index"]), "episode_index")
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[:1] - 1)) if len(numbers) else np.zeros(0, np.int64)
    stops = np.append(starts[1:], len(numbers))[: len(starts)]
    found = {int(numbers[start]): (int(start), int(stop)) for start, stop in zip(starts, stops, strict=True)}
    if len(found) < len(starts):
        raise StoreError(f"{table.path}: the rows of an episode do not follow each other; sort them by index")
    return found
