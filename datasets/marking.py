"""Marks on episodes (outcome, note, failure step, bottleneck steps, to be dropped), and what a store becomes by them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.datasets.editing import Piece, whole
from robolearn.datasets.layout import StoreError, outcome_of
from robolearn.datasets.reader import StoreReader
from robolearn.errors import nearest

MOST_TEXT = 10_000  # characters of a note


@dataclass(frozen=True)
class Mark:
    """What is to change of one episode; None leaves as it is.

    Args:
        success: whether the task was solved.
        note: what there is to say of it; an empty one takes the note off.
        failure_step: step at which it was lost, -1 takes it off.
        bottlenecks: steps that are bottleneck states; an empty list takes them off.
        drop: leave the episode out.
    """

    success: bool | None = None
    note: str | None = None
    failure_step: int | None = None
    bottlenecks: tuple[int, ...] | None = None
    drop: bool = False


def read_mark(entry: Any, what: str) -> Mark:
    """A mark from JSON, every value of which is checked for its type.

    Raises:
        StoreError: it is none; ``what`` names it.
    """
    known = {field.name for field in dataclasses.fields(Mark)}
    if not isinstance(entry, Mapping):
        raise StoreError(f"{what} is {entry!r}, expected an object with any of {', '.join(sorted(known))}")
    for key in entry:
        if key not in known:
            raise StoreError(f"{what} has no {key!r}; there are {', '.join(sorted(known))}{nearest(str(key), known)}")
    success, note, step = (entry.get(key) for key in ("success", "note", "failure_step"))
    steps, drop = entry.get("bottlenecks"), entry.get("drop", False)
    for key, value, kind in (("success", success, bool), ("note", note, str), ("failure_step", step, int), ("drop", drop, bool)):
        if value is not None and type(value) is not kind:
            raise StoreError(f"{what}: {key} is {value!r}, expected {kind.__name__}")
    if steps is not None and (not isinstance(steps, list | tuple) or any(type(value) is not int for value in steps)):
        raise StoreError(f"{what}: bottlenecks is {steps!r}, expected a list of steps")
    if note is not None and len(note) > MOST_TEXT:
        raise StoreError(f"{what}: the note has {len(note)} characters, at most {MOST_TEXT} are kept")
    return Mark(success, note, step, None if steps is None else tuple(sorted(set(steps))), bool(drop))


def marked_pieces(store: StoreReader, marks: Mapping[int, Mark], tool: str) -> tuple[list[Piece], list[str]]:
    """The episodes of a store with marks put on and those to be dropped left out, and a line for each that changes.

    ``terminated`` and ``truncated`` stay as recorded. A success has no failure step.

    Args:
        store: where they are.
        marks: by episode.
        tool: what is done, for the provenance of marked episodes; the others get none of ``marks``.

    Raises:
        StoreError: no such episode or step, or nothing would be left.
    """
    for index in marks:
        if not 0 <= index < store.num_episodes:
            raise StoreError(f"{store.path} has no episode {index}; it has {store.num_episodes}, counted from 0")
    pieces, notes = [], []
    for piece in whole(0, store, np.arange(store.num_episodes), {"tool": tool}):
        mark = marks.get(piece.episode, Mark())
        if mark.drop:
            notes.append(f"episode {piece.episode}: dropped")
            continue
        if mark != Mark():
            piece, said = _marked(store, piece, mark, tool)
            notes.append(f"episode {piece.episode}: {said}")
        pieces.append(piece)
    if not pieces:
        raise StoreError(f"nothing of {store.path} would be left")
    return pieces, notes


def _marked(store: StoreReader, piece: Piece, mark: Mark, tool: str) -> tuple[Piece, str]:
    index = piece.episode
    was = {name: bool(store.column(name)[index]) for name in ("success", "terminated", "truncated")}
    now = {**was, **({} if mark.success is None else {"success": mark.success})}
    _require_steps(store, piece, mark, now["success"])
    known: dict[str, Any] = {}
    if mark.note is not None:
        known["note"] = mark.note or None
    if mark.failure_step is not None:
        known["failure_step"] = mark.failure_step if mark.failure_step >= 0 else None
    elif mark.success:
        known["failure_step"] = None
    if mark.bottlenecks is not None:
        known["bottlenecks"] = list(mark.bottlenecks) or None
    before, after = str(store.column("outcome")[index]), outcome_of(**now)
    changed = {"outcome": [before, after]} if now != was else {}
    edit = {"tool": tool, **changed, **{key: value for key, value in known.items() if value is not None}}
    said = [f"{before} -> {after}"] if changed else []
    said += [f"{key} {value!r}" if value is not None else f"no {key}" for key, value in known.items()]
    return dataclasses.replace(piece, edit=edit, columns=now if changed else {}, known=known), ", ".join(said) or "stays as it is"


def _require_steps(store: StoreReader, piece: Piece, mark: Mark, success: bool) -> None:
    """Raise ``StoreError`` where a mark names steps that the episode has not, or a failure step of a success."""
    name = f"episode {piece.episode} of {store.path}"
    if mark.failure_step is not None and mark.failure_step >= 0 and success:
        raise StoreError(f"failure_step={mark.failure_step}: {name} is a success; mark it as a failure too")
    for what, steps in (
        ("failure_step", (mark.failure_step,) if mark.failure_step is not None else ()),
        ("bottlenecks", mark.bottlenecks or ()),
    ):
        least = -1 if what == "failure_step" else 0
        wrong = [step for step in steps if not least <= step < len(piece)]
        if wrong:
            raise StoreError(f"{what}: {name} has {len(piece)} steps, counted from 0; there is no step {wrong[0]}")
