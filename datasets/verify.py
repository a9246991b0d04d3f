"""Verification of a store: checksums of every file, digests, lengths, NaN and time stamps, and what looks suspicious besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets import layout
from robolearn.datasets.blocks import blocks, rows_a_block
from robolearn.datasets.codecs import is_lossy
from robolearn.datasets.commit import chunk_keys, rows_per_file
from robolearn.datasets.findings import Findings, Watcher, episodes_in
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.datasets.suspicion import suspicions

if TYPE_CHECKING:
    from robolearn.datasets.reader import StoreReader


def check(store: StoreReader, advance: Callable[[int], None] = lambda rows: None) -> Findings:
    """Everything wrong or suspicious in the committed part of a store; reads each byte once, in blocks of bounded size.

    ``advance`` is told how many rows were read, of ``store.num_steps`` for each of ``store.array_names``.
    """
    blank = stateless(store)
    watchers: list[Watcher] = [_Digests(store, blank), _Finite(store, blank), *suspicions(store)]
    lines, damaged = _scan(store, watchers, advance)
    found = Findings(errors=lines + _array_problems(store))
    for watcher in watchers:
        found.add(watcher.findings(damaged))
    found.add(_column_findings(store))
    return found


def problems(store: StoreReader) -> list[str]:
    """Everything wrong with the committed part of a store, one line each; empty when all is well."""
    return check(store).errors


def _scan(store: StoreReader, watchers: list[Watcher], advance: Callable[[int], None]) -> tuple[list[str], set[int]]:
    """Show every readable row to the watchers; lines on files that are missing or damaged, and the episodes in them."""
    lines: list[str] = []
    damaged: set[int] = set()
    for name in sorted(store.array_names):
        array = store.step_arrays[name]
        unit, file = rows_a_block(array), rows_per_file(array)
        for start in range(0, store.num_steps, unit):
            stop = min(start + unit, store.num_steps)
            try:
                shown = [(start, store.array(name, start, stop))]
            except StoreError:
                shown = []
                for first in range(start // file * file, stop, file):
                    bounds = max(first, start), min(first + file, stop)
                    try:
                        shown.append((bounds[0], store.array(name, *bounds)))
                    except StoreError as error:
                        hit = np.flatnonzero((store.starts < min(first + file, store.num_steps)) & (store.ends > first))
                        damaged |= {int(index) for index in hit}
                        lines.append(f"{_damage(store, name, first, error)}: episodes {_span(hit)}")
            for first, rows in shown:
                for watcher in watchers:
                    watcher.see(name, first, rows)
            advance(stop - start)
    return list(dict.fromkeys(lines)), damaged


def _damage(store: StoreReader, name: str, row: int, error: StoreError) -> str:
    array = store.step_arrays[name]
    (key,) = chunk_keys(array, row + 1, row)
    if store.files.size(f"{array.path}/{key}") is None:
        return f"data/{name}/{key} is missing"
    return f"data/{name}/{key} is damaged ({_cause(error)})"


def _cause(error: StoreError) -> str:
    return " ".join(str(error.__cause__ or error).split())


def _span(indices: NDArray[Any]) -> str:
    """First and last index as ``3-7``."""
    return str(int(indices[0])) if len(indices) == 1 else f"{int(indices[0])}-{int(indices[-1])}" if len(indices) else "none"


def stateless(store: StoreReader) -> NDArray[np.bool_]:
    """Episodes whose simulator state is all blank, ``(E,)``: it is none of their content."""
    blank = np.ones(store.num_episodes, bool)
    if SIM_STATE in store.array_names:
        try:
            for start, rows in blocks(store, SIM_STATE):
                for episode, _, part in episodes_in(store.ends, start, np.isnan(rows.reshape(len(rows), -1)).all(1)):
                    blank[episode] &= bool(part.all())
        except StoreError:  # the scan tells of it
            return np.zeros(store.num_episodes, bool)
    return blank


class _Digests:
    """The digest of every episode, beside the one that was written; all episodes' at once, array by array."""

    def __init__(self, store: StoreReader, blank: NDArray[np.bool_]) -> None:
        self._store, self._blank = store, blank
        self._starts, self._ends, self._lengths = store.starts, store.ends, store.lengths
        self._content = [layout.new_digest() for _ in range(store.num_episodes)]
        self._frames = layout.new_digest()  # of the episode at hand, where an array's encoded rows are its content

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        for episode, first, part in episodes_in(self._ends, start, rows):
            if name == SIM_STATE and self._blank[episode]:
                continue
            if first == self._starts[episode]:
                shape = (int(self._lengths[episode]), *rows.shape[1:])
                self._content[episode].update(layout.digest_header(name, rows.dtype, shape))
                self._frames = layout.new_digest()
            if is_lossy(self._store.step_arrays[name]):
                self._see_frames(name, episode, first, len(part))
            else:
                self._content[episode].update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)

    def _see_frames(self, name: str, episode: int, start: int, count: int) -> None:
        for frame in self._store.encoded(name, start, start + count):
            layout.add_frame(self._frames, frame)
        if start + count == self._ends[episode]:
            self._content[episode].update(self._frames.digest())

    def findings(self, damaged: set[int]) -> Findings:
        try:
            written = self._store.column("digest")
        except StoreError:  # the columns' own check tells of it
            return Findings()
        found = Findings()
        seen: dict[str, int] = {}
        for index, content in enumerate(self._content):
            if index in damaged:
                continue
            if content.hexdigest() != str(written[index]):
                found.errors.append(f"episode {index}: its content is not what was written (the digest differs)")
            first = seen.setdefault(content.hexdigest(), index)
            if first != index:
                found.warnings.append(f"episode {index} is episode {first} once more (the same digest)")
        return found


class _Finite:
    """Steps that hold NaN or infinity; in extra arrays NaN is what is not known."""

    def __init__(self, store: StoreReader, blank: NDArray[np.bool_]) -> None:
        self._extras = store.env_spec.extras
        self._starts, self._ends, self._blank = store.starts, store.ends, blank
        self._bad: dict[tuple[int, str], list[int]] = {}  # (episode, array): steps, first step

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        if rows.dtype.kind != "f" or name in self._extras:
            return
        bad = ~np.isfinite(rows.reshape(len(rows), -1)).all(1)
        if not bad.any():
            return
        for episode, first, part in episodes_in(self._ends, start, bad):
            if part.any() and not (name == SIM_STATE and self._blank[episode]):
                entry = self._bad.setdefault((episode, name), [0, first - int(self._starts[episode]) + int(np.argmax(part))])
                entry[0] += int(part.sum())

    def findings(self, damaged: set[int]) -> Findings:
        return Findings(
            [
                f"episode {episode}: {name} holds NaN or infinity at {count} steps, first at step {first}"
                for (episode, name), (count, first) in sorted(self._bad.items())
                if episode not in damaged
            ]
        )


def _array_problems(store: StoreReader) -> list[str]:
    """Arrays whose type or shape is not what the store's spec says."""
    dtypes, shapes = layout.array_dtypes(store.env_spec), layout.array_shapes(store.env_spec)
    lines = []
    for name, dtype in dtypes.items():
        array = store.step_arrays[name]
        if array.dtype != dtype or tuple(array.shape[1:]) != shapes[name]:
            lines.append(f"data/{name} is {array.dtype} {tuple(array.shape[1:])}, the spec says {dtype} {shapes[name]}")
    return lines


def _column_findings(store: StoreReader) -> Findings:
    """Columns that are damaged, or that contradict one another or the provenance."""
    found = Findings()
    columns = {}
    for name in layout.COLUMNS:
        try:
            columns[name] = store.column(name)
        except StoreError as error:
            found.errors.append(str(error))
    if columns.keys() < layout.COLUMNS.keys():
        return found
    for index in range(store.num_episodes):
        try:
            known = json.loads(str(columns["provenance"][index]))
        except json.JSONDecodeError as error:
            found.errors.append(f"episode {index}: its provenance is no JSON ({error})")
            continue
        success, outcome = bool(columns["success"][index]), str(columns["outcome"][index])
        if success != (outcome == "success"):
            found.errors.append(f"episode {index}: success is {success} but outcome is {outcome!r}")
        if columns["terminated"][index] and columns["truncated"][index]:
            found.warnings.append(f"episode {index}: both terminated and truncated")
        length, lost = int(store.lengths[index]), known.get("failure_step") if isinstance(known, dict) else None
        if isinstance(lost, int) and not 0 <= lost < length:
            found.warnings.append(f"episode {index}: its failure_step is {lost}, it has {length} steps")
    return found
