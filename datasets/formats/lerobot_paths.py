"""Files of a LeRobot data set: names made from its own templates that never lead out of its folder, JSON, and what is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import one_line

INFO, TASKS_LINES, EPISODES_LINES = "meta/info.json", "meta/tasks.jsonl", "meta/episodes.jsonl"
TASKS, EPISODES, STATS = "meta/tasks.parquet", "meta/episodes", "meta/stats.json"
NOTES = "meta/robolearn.json"  # what LeRobot has no place for; LeRobot does not read it
CHUNK_FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH = f"data/{CHUNK_FILE}.parquet"
VIDEO_PATH = f"videos/{{video_key}}/{CHUNK_FILE}.mp4"

_FIELD = re.compile(r"\{(\w+)(?::0?(\d)d)?\}")
_LFS = b"version https://git-lfs"
_MAX_JSON_BYTES = 1 << 30
_LONGEST_LINE = 2000


@contextmanager
def errors_of_one_line() -> Iterator[None]:
    """Errors inside are one line of bearable length, whatever names a hostile file brings into them."""
    try:
        yield
    except StoreError as error:
        line = one_line(error)
        raise StoreError(line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} ...") from error.__cause__


def fill(template: Any, **values: int | str) -> str:
    """A file's name from a template such as ``data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet``.

    Only plain fields are filled: ``str.format`` would follow attributes and pad to any width for a hostile template.

    Raises:
        StoreError: the template asks for something else.
    """

    def one(match: re.Match[str]) -> str:
        name, width = match.groups()
        if name not in values:
            raise StoreError(f"the file name template {template!r} in {INFO} asks for {name!r}; known are {', '.join(values)}")
        return str(values[name]).zfill(int(width or 0))

    if not isinstance(template, str) or len(template) > 1000 or re.search(r"[{}]", _FIELD.sub("", template)):
        raise StoreError(f"{str(template)[:80]!r} in {INFO} is no file name template; LeRobot writes {DATA_PATH!r}")
    return _FIELD.sub(one, template)


def inside(root: Path, name: str) -> Path:
    """The file ``name`` of the data set at ``root``.

    Links are followed, as Hugging Face's cache is made of links.

    Raises:
        StoreError: the name leads out of the folder.
    """
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or "\0" in name or "\\" in name or len(name) > 2000:
        raise StoreError(f"{root}: {name[:200]!r} leads out of the data set's folder; it is not opened")
    return root.joinpath(*parts)


def absence(file: Path) -> str:
    """Why ``file`` cannot be read: empty when it is there, a few words when not."""
    try:
        if not file.is_file():
            return "is not there"
        with file.open("rb") as opened:
            return "is a Git LFS pointer without its data" if opened.read(len(_LFS)) == _LFS else ""
    except OSError as error:
        return f"cannot be read ({error.strerror})"


def read_json(root: Path, name: str) -> Any:
    """A JSON file of the data set.

    Raises:
        StoreError: not there, or no JSON.
    """
    return _parse(_text(root, name), f"{root / name}")


def read_lines(root: Path, name: str) -> list[dict[str, Any]]:
    """A file with a JSON object a line.

    Raises:
        StoreError: not there, or a line is no JSON object.
    """
    rows = []
    for number, line in enumerate(_text(root, name).split("\n"), 1):
        if line.strip():
            row = _parse(line, f"{root / name} line {number}")
            if not isinstance(row, dict):
                raise StoreError(f"{root / name} line {number} is no JSON object; restore the file from its source")
            rows.append(row)
    return rows


def _text(root: Path, name: str) -> str:
    file = inside(root, name)
    if why := absence(file):
        raise StoreError(f"{file} {why}; fetch the data set's meta/ folder whole")
    try:
        if file.stat().st_size > _MAX_JSON_BYTES:
            raise StoreError(f"{file} has {file.stat().st_size} bytes, no such file is that big; restore it from its source")
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"{file} cannot be read: {error}; restore it from its source") from error


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{where} is damaged: {' '.join(str(error).split())}; restore it from its source") from error


def spans(numbers: list[int]) -> str:
    """Numbers in words, such as ``0-27, 30-99``."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    shown = [str(first) if first == last else f"{first}-{last}" for first, last in runs[:10]]
    return ", ".join(shown) + (", ..." if len(runs) > 10 else "")
