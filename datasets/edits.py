"""What each editing tool makes of a store's episodes: the pieces of the new one, and a line for each thing that changes."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.editing import Piece, Plan, whole
from robolearn.datasets.kinship import families
from robolearn.datasets.layout import StoreError, outcome_of
from robolearn.datasets.reader import StoreReader
from robolearn.errors import nearest

DUPLICATES = ("refuse", "drop", "keep")
ENDINGS = ("cut", "keep")
_CUT = re.compile(r"(\d+):(-?\d+)?:(-?\d+)?")


def drop_pieces(store: StoreReader, episodes: NDArray[np.int64]) -> list[Piece]:
    """All episodes but these."""
    return whole(0, store, np.setdiff1d(np.arange(store.num_episodes), episodes), {"tool": "drop"})


def split_episodes(store: StoreReader, fraction: float, seed: int) -> NDArray[np.int64]:
    """A random share of the episodes, the same for the same seed; kin stay together.

    Raises:
        StoreError: ``fraction`` is not between 0 and 1.
    """
    if not 0 < fraction < 1:
        raise StoreError(f"fraction is the first store's share of the episodes, between 0 and 1; got {fraction:g}")
    roots = families(store)
    wanted = round(fraction * store.num_episodes)
    sizes = np.bincount(roots, minlength=store.num_episodes)
    chosen = np.zeros(store.num_episodes, bool)
    for root in np.random.default_rng(seed).permutation(np.unique(roots)):
        if chosen.sum() + sizes[root] <= wanted:
            chosen |= roots == root
    return np.flatnonzero(chosen)


def trim_pieces(
    store: StoreReader, ranges: Sequence[Any] | None, chosen: NDArray[np.int64], head: int, tail: int, ending: str
) -> tuple[list[Piece], list[str]]:
    """Episodes with what is cut off left out, and a line for each that changes.

    A cut head changes nothing about how the episode ended. With ``ending=cut`` an episode whose end is cut off did not end:
    neither terminated nor truncated, no success. ``ending=keep`` leaves these as they are, for tails in which nothing happens.

    Args:
        store: where they are.
        ranges: ``episode:start:stop`` as in a slice of Python, either end left out or counted from the end: ``3:10:-5``.
        chosen: the episodes that ``head`` and ``tail`` hold for.
        head: steps to cut off at the start.
        tail: steps to cut off at the end.
        ending: ``cut`` or ``keep``.

    Raises:
        StoreError: a range that cannot be read, or an episode of which nothing would be left.
    """
    if ending not in ENDINGS:
        raise StoreError(f"no ending={ending!r}; there are {', '.join(ENDINGS)}{nearest(ending, ENDINGS)}")
    if not ranges and not head and not tail:
        raise StoreError("nothing to trim: give ranges=[3:10:200] (episode:start:stop), or head= or tail= in steps")
    lengths = store.lengths
    kept = {int(index): (head, int(lengths[index]) - tail) for index in chosen} if head or tail else {}
    for index, *steps in [_parse_range(store, entry, lengths) for entry in ranges or ()]:
        if index in kept:
            raise StoreError(f"episode {index} is cut twice; name it once in ranges, and choose others for head and tail: episodes=")
        kept[index] = (steps[0], steps[1])
    pieces, notes = [], []
    for piece in whole(0, store, np.arange(store.num_episodes), {"tool": "trim"}):
        start, stop = kept.get(piece.episode, (0, len(piece)))
        if start >= stop:
            raise StoreError(
                f"episode {piece.episode} of {store.path} has {len(piece)} steps; cut to steps {start} to {stop} nothing is left"
            )
        if stop - start < len(piece):
            piece, note = _trimmed(store, piece, start, stop, ending)
            notes.append(note)
        pieces.append(piece)
    return pieces, notes


def _parse_range(store: StoreReader, entry: Any, lengths: NDArray[np.int64]) -> tuple[int, int, int]:
    match = _CUT.fullmatch(str(entry))
    if match is None:
        raise StoreError(f"ranges takes episode:start:stop, such as ranges=[3:10:200,5::-15]; got {entry!r}")
    index = int(match[1])
    if index >= store.num_episodes:
        raise StoreError(f"{store.path} has no episode {index}; it has {store.num_episodes}, counted from 0")
    start, stop, _ = slice(*(int(part) if part else None for part in match.groups()[1:])).indices(int(lengths[index]))
    return index, start, stop


def _trimmed(store: StoreReader, piece: Piece, start: int, stop: int, ending: str) -> tuple[Piece, str]:
    note = f"episode {piece.episode}: steps {start} to {stop} of {len(piece)}"
    columns: dict[str, Any] = {}
    if stop < len(piece) and ending == "cut":
        columns = {"success": False, "terminated": False, "truncated": False}
        note += f"; its end is cut off: unfinished (was {store.column('outcome')[piece.episode]})"
    edit = {"tool": "trim", "kept": [start, stop], "of": len(piece), "ending": ending}
    return dataclasses.replace(piece, start=start, stop=stop, edit=edit, columns=columns), note


def label_pieces(
    store: StoreReader, chosen: NDArray[np.int64], success: bool | None, note: str | None, failure_step: int | None
) -> tuple[list[Piece], list[str]]:
    """All episodes, the chosen ones with another outcome or note, and a line for each that changes.

    ``terminated`` and ``truncated`` stay as recorded. A success has no failure step.

    Raises:
        StoreError: nothing is given, or the failure step is none of the episode's.
    """
    if success is None and note is None and failure_step is None:
        raise StoreError("nothing to label: give success=true or false, note=..., or failure_step=")
    if success and failure_step is not None:
        raise StoreError("an episode that is a success has no failure_step")
    pieces, notes = whole(0, store, np.arange(store.num_episodes), {"tool": "label"}), []
    for index in (int(entry) for entry in chosen):
        was = {name: bool(store.column(name)[index]) for name in ("success", "terminated", "truncated")}
        now = {**was, **({} if success is None else {"success": success})}
        if failure_step is not None and (now["success"] or failure_step >= len(pieces[index])):
            what = "is a success: give success=false too" if now["success"] else f"has {len(pieces[index])} steps, counted from 0"
            raise StoreError(f"failure_step={failure_step}: episode {index} of {store.path} {what}")
        known: dict[str, Any] = {key: value for key, value in (("note", note), ("failure_step", failure_step)) if value is not None}
        if success:
            known["failure_step"] = None
        before, after = str(store.column("outcome")[index]), outcome_of(**now)
        edit = {"tool": "label", "outcome": [before, after], **known}
        pieces[index] = dataclasses.replace(pieces[index], edit=edit, columns=now if now != was else {}, known=known)
        said = [f"{before} -> {after}"] if now != was else [f"stays {after}"]
        notes.append(f"episode {index}: " + ", ".join([*said, *(f"{key} {value!r}" for key, value in known.items() if value is not None)]))
    return pieces, notes


def merge_plan(stores: Sequence[StoreReader], out: Path, task: str | None, duplicates: str) -> tuple[Plan, list[str]]:
    """The episodes of several stores, one store after another.

    Args:
        stores: of one spec, but for the task's name.
        out: the new store.
        task: its task, where theirs differ.
        duplicates: what becomes of episodes with the content of an earlier one: ``refuse``, ``drop`` or ``keep``.

    Raises:
        StoreError: specs differ, or an episode is there twice.
    """
    if duplicates not in DUPLICATES:
        raise StoreError(f"no duplicates={duplicates!r}; there are {', '.join(DUPLICATES)}{nearest(duplicates, DUPLICATES)}")
    for store in stores[1:]:
        _require_same_spec(stores[0], store)
    tasks = list(dict.fromkeys(store.env_spec.task for store in stores))
    if len(tasks) > 1 and task is None:
        raise StoreError(f"the stores hold different tasks, {', '.join(tasks)}: name the merged store's, such as task_name={tasks[0]}")
    spec = dataclasses.replace(stores[0].env_spec, task=task or tasks[0])
    pieces: list[Piece] = []
    notes: list[str] = []
    seen: dict[str, tuple[int, int]] = {}
    for number, store in enumerate(stores):
        for piece in whole(number, store, np.arange(store.num_episodes), {"tool": "merge"}):
            other = seen.setdefault(str(store.column("digest")[piece.episode]), (number, piece.episode))
            if other != (number, piece.episode) and duplicates != "keep":
                what = f"episode {piece.episode} of {store.path} is episode {other[1]} of {stores[other[0]].path} once more"
                if duplicates == "refuse":
                    raise StoreError(f"{what}; give duplicates=drop to leave such out, or duplicates=keep")
                notes.append(f"left out: {what}")
                continue
            pieces.append(_with_task(piece, store) if len(tasks) > 1 else piece)
    if not pieces:
        raise StoreError("the stores hold no episode")
    return Plan(out, stores, pieces, spec, {"tool": "merge", "duplicates": duplicates}), notes


def _with_task(piece: Piece, store: StoreReader) -> Piece:
    known: Mapping[str, Any] = store.provenance(piece.episode)
    return dataclasses.replace(piece, known={"task": known.get("task", store.env_spec.task)})


def _require_same_spec(one: StoreReader, other: StoreReader) -> None:
    """Raise ``StoreError`` naming the first thing in which two specs differ, the task's name aside."""
    left, right = dataclasses.asdict(one.env_spec), dataclasses.asdict(other.env_spec)
    for key in ("observation", "action", "extras"):
        for name in sorted({*left[key], *right[key]}):
            mine, theirs = left[key].get(name), right[key].get(name)
            if mine != theirs:
                raise StoreError(
                    f"{key} {name!r} is {_said(mine)} in {one.path} and {_said(theirs)} in {other.path}; stores of one spec can be merged"
                )
    for key in ("control_hz", "stages", "reward_dtype"):
        if left[key] != right[key]:
            raise StoreError(f"{key} is {left[key]} in {one.path} and {right[key]} in {other.path}; stores of one spec can be merged")


def _said(entry: Any) -> str:
    return "absent" if entry is None else str(entry)
