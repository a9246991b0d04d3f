"""What fuzz tests of importers share: ways to spoil bytes and directories, and the promise that a reader keeps whatever comes.

A few hundred examples run by default; ``make fuzz`` runs 10,000 for each importer.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from robolearn.errors import UserError

EXAMPLES = int(os.environ.get("ROBOLEARN_FUZZ", "150"))
# Derandomised, so that a run is the same on every machine; many more examples find new ones.
fuzz_settings = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 1000,
    suppress_health_check=list(HealthCheck),
)
_NUMBERS = ("0", "-1", "1e30", "99999999999999999999", "null", "[]", "{}", '""', "true", "NaN", '"x"', "0.5", '"|O"', '"<f4"')


@st.composite
def damage(draw: Any) -> Callable[[bytes], bytes]:
    """A way to spoil a file: bits flipped, bytes replaced, cut off, repeated, swapped, or a JSON value exchanged."""
    kind = draw(st.sampled_from(("flip", "replace", "cut", "drop", "repeat", "swap", "json", "empty")))
    places = draw(st.lists(st.floats(0, 1, exclude_max=True), min_size=2, max_size=6))
    values = draw(st.binary(min_size=2, max_size=8))
    number = draw(st.sampled_from(_NUMBERS))

    def spoil(content: bytes) -> bytes:
        data = bytearray(content)
        if not data or kind == "empty":
            return b""
        at = [int(place * len(data)) for place in places]
        low, high = min(at), max(at) + 1
        if kind == "flip":
            for place, value in zip(at, values, strict=False):
                data[place] ^= 1 << value % 8
        elif kind == "replace":
            data[low : low + len(values)] = values
        elif kind == "cut":
            del data[low:]
        elif kind == "drop":
            del data[low:high]
        elif kind == "repeat":
            data[low:low] = data[low:high]
        elif kind == "swap":
            middle = (low + high) // 2
            data[low:high] = data[middle:high] + data[low:middle]
        else:
            exchange_json_value(data, low, number)
        return bytes(data)

    return spoil


def exchange_json_value(data: bytearray, place: int, value: str) -> None:
    """Replace the value after the next ``:`` by another, as far as the text is JSON at all."""
    colon = data.find(b":", place)
    colon = data.find(b":") if colon < 0 else colon
    if colon < 0:
        return
    ends = [end for end in (data.find(mark, colon) for mark in (b",", b"}", b"\n")) if end > 0]
    data[colon + 1 : min(ends, default=len(data))] = value.encode()


def files_of(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def spoiled_copy(source: Path, target: Path, choice: float, spoil: Callable[[bytes], bytes]) -> Path:
    """A copy of a file or directory in which one file is spoiled."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        shutil.copy(source, target)
    files = files_of(target)
    file = files[int(choice * len(files))]
    file.write_bytes(spoil(file.read_bytes()))
    return target


def reads_or_refuses(read: Callable[[], Iterable[Any]], folder: Path) -> bool:
    """Whether a reader read all; else it refused in one line. Any other exception, and anything written in ``folder``, fails."""
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    try:
        for _ in read():
            pass
        complete = True
    except UserError as error:
        complete = False
        assert str(error).strip() and "\n" not in str(error), f"not one line: {error!r}"
        assert len(str(error)) < 2000, f"a long line: {len(str(error))}"
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before
    return complete
