"""Editing: a new store made of pieces of others, written beside its place and renamed there when it is complete."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from robolearn import provenance as origin
from robolearn.datasets import layout
from robolearn.datasets.blocks import blocks
from robolearn.datasets.codecs import is_lossy
from robolearn.datasets.commit import array_at, folder_of, grow, sync_directory, sync_tree
from robolearn.datasets.copying import Runs, coding, copy_array
from robolearn.datasets.drafts import pack
from robolearn.datasets.files import files_of
from robolearn.datasets.formats.hdf5_cutting import cut_notes
from robolearn.datasets.layout import END, SIM_STATE, StoreError
from robolearn.datasets.place import leftovers, one_line, put_in_place, remove, require_free
from robolearn.datasets.reader import StoreReader
from robolearn.lock import WriterLock
from robolearn.spec import EnvSpec

_OWN_ATTRS = ("schema_version", "env_spec", "task", "created_with", "edited")


@dataclass(frozen=True)
class Piece:
    """Steps ``start`` to ``stop`` of an episode, an episode of the new store.

    Args:
        source: which of the plan's stores.
        episode: its index there.
        start: first step, counted from the episode's start.
        stop: step after the last.
        edit: what is done to it, for its provenance: the tool and its settings.
        columns: entries that differ from the source's (success, terminated, truncated).
        known: provenance that is set (note, failure_step, task), or taken off where it is None.
    """

    source: int
    episode: int
    start: int
    stop: int
    edit: Mapping[str, Any]
    columns: Mapping[str, Any] = field(default_factory=dict)
    known: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return self.stop - self.start


def whole(source: int, store: StoreReader, episodes: Sequence[int] | NDArray[np.int64], edit: Mapping[str, Any]) -> list[Piece]:
    """Episodes as they are."""
    lengths = store.lengths
    return [Piece(source, int(index), 0, int(lengths[index]), edit) for index in episodes]


@dataclass(frozen=True)
class Plan:
    """A store to be made.

    Args:
        out: its place.
        sources: the stores that it is made of.
        pieces: its episodes, in order.
        env_spec: its spec.
        edit: what is done, for its attributes: the tool and its settings.
    """

    out: Path
    sources: Sequence[StoreReader]
    pieces: Sequence[Piece]
    env_spec: EnvSpec
    edit: Mapping[str, Any]

    @property
    def num_steps(self) -> int:
        """Steps of the new store."""
        return sum(len(piece) for piece in self.pieces)

    @property
    def array_names(self) -> list[str]:
        """Per-step arrays of the new store."""
        states = {source.step_arrays[SIM_STATE].shape[1:] for source in self.sources if SIM_STATE in source.array_names}
        if len(states) > 1:
            raise StoreError(f"sim_state has shapes {sorted(states)} a step; the episodes of a store share one simulator model")
        return [*layout.array_dtypes(self.env_spec), *([SIM_STATE] if states else [])]

    @property
    def work(self) -> int:
        """Rows to copy, over all arrays."""
        return self.num_steps * len(self.array_names)


def write(plans: Sequence[Plan], overwrite: bool, advance: Callable[[int], None] = lambda rows: None) -> None:
    """Make the plans' stores, all of them or none.

    Args:
        plans: what to make; their places differ.
        overwrite: replace stores that are there.
        advance: told how many rows of :attr:`Plan.work` are done.

    Raises:
        StoreError: a place is taken, a source is damaged, or the disk is full; nothing is made then.
        LockedError: somebody writes at one of the places.
    """
    require_places(plans, overwrite)
    drafts = [plan.out.with_name(f".{plan.out.name}.{os.getpid()}.new") for plan in plans]
    with contextlib.ExitStack() as stack:
        try:
            for plan, draft in zip(plans, drafts, strict=True):
                plan.out.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(WriterLock(plan.out))
                stack.callback(remove, draft)
                for stale in leftovers(plan.out):
                    remove(stale)
                _write_draft(plan, draft, advance)
                if plan.out.suffix == ".zip":
                    pack(draft)
                (sync_tree if draft.is_dir() else sync_directory)(draft)
            for plan, draft in zip(plans, drafts, strict=True):
                require_free(plan.out, overwrite)
                put_in_place(draft, plan.out)
        except OSError as error:
            raise StoreError(f"could not make {', '.join(str(plan.out) for plan in plans)}: {one_line(error)}") from error


def require_places(plans: Sequence[Plan], overwrite: bool) -> None:
    """Raise ``StoreError`` unless every plan's place is free, and apart from the others' and from what it is made of."""
    for plan in plans:
        require_apart(plan.out, plan.sources)
        require_free(plan.out, overwrite)
    for one, other in itertools.permutations((plan.out for plan in plans), 2):
        if other.resolve().is_relative_to(one.resolve()):
            raise StoreError(f"{other} lies within {one}; give each store a place of its own")


def require_apart(out: Path, sources: Sequence[StoreReader]) -> None:
    """Raise ``StoreError`` where a new store would replace, or lie within, what it is made of."""
    place = out.resolve()
    for source in sources:
        if not isinstance(source.path, Path):
            continue
        there = source.path.resolve()
        if place == there or there in place.parents or place in there.parents:
            raise StoreError(f"out={out} is at {source.path}, which it is made of; editing makes a new store: give another out=")


def _write_draft(plan: Plan, draft: Path, advance: Callable[[int], None]) -> None:
    group = zarr.open_group(LocalStore(draft), mode="w", zarr_format=3)
    layout.create_arrays(group, plan.env_spec, attributes(plan))
    first = [source.starts for source in plan.sources]
    starts = [int(first[piece.source][piece.episode]) + piece.start for piece in plan.pieces]
    runs = Runs.joined([piece.source for piece in plan.pieces], starts, [len(piece) for piece in plan.pieces])
    for name in plan.array_names:
        target = copy_array(name, _empty_array(group, name, plan.sources), plan.sources, runs, advance)
        array_at(group, f"data/{name}").resize(target.shape)
    columns = _columns(plan, {name for name in plan.array_names if is_lossy(array_at(group, f"data/{name}"))})
    for name, dtype in layout.COLUMNS.items():
        grow(array_at(group, f"episodes/{name}"), 0, np.array(columns[name], object if dtype is str else dtype))
    grow(array_at(group, f"episodes/{END}"), 0, np.cumsum([len(piece) for piece in plan.pieces], dtype=np.int64))


def attributes(plan: Plan) -> dict[str, Any]:
    """The new store's notes: what its sources agree on, and where it comes from."""
    notes = [{key: value for key, value in source.attrs.items() if key not in _OWN_ATTRS} for source in plan.sources]
    shared = {key: value for key, value in notes[0].items() if all(other.get(key, _OWN_ATTRS) == value for other in notes)}
    made_of = [
        {
            "store": source.path.name,
            "fingerprint": source.fingerprint(),
            "episodes": source.num_episodes,
            "attributes": {key: value for key, value in note.items() if key not in shared},
        }
        for source, note in zip(plan.sources, notes, strict=True)
    ]
    return {**shared, "edited": {**plan.edit, "made_of": made_of}}


def _empty_array(group: zarr.Group, name: str, sources: Sequence[StoreReader]) -> zarr.Array[Any]:
    """The new store's array, encoded as in the sources where they agree, else as new stores are."""
    holders = [source.step_arrays[name] for source in sources if name in source.array_names]
    if f"data/{name}" not in group:
        layout.create_step_array(group, name, holders[0].shape[1:], holders[0].dtype)
    array = array_at(group, f"data/{name}")
    if all(coding(holder) == coding(holders[0]) for holder in holders) and coding(array) != coding(holders[0]):
        metadata = {**json.loads(files_of(holders[0]).read(f"{holders[0].path}/zarr.json")), "shape": list(array.shape)}
        (folder_of(array) / "zarr.json").write_text(json.dumps(metadata))
        array = array_at(zarr.open_group(group.store, mode="r+", zarr_format=3), f"data/{name}")
    return array


def _columns(plan: Plan, lossy: Collection[str]) -> dict[str, list[Any]]:
    """The per-episode entries of the new store."""
    fingerprints = [source.fingerprint() for source in plan.sources]
    starts, lengths = ([getattr(source, name) for source in plan.sources] for name in ("starts", "lengths"))
    # Pictures kept with loss are decoded, and kept so, where the sources' codecs differ: their content is then another.
    decoded = [any(is_lossy(array) and name not in lossy for name, array in source.step_arrays.items()) for source in plan.sources]
    columns: dict[str, list[Any]] = {name: [] for name in layout.COLUMNS}
    for piece in plan.pieces:
        source = plan.sources[piece.source]
        entry = {name: source.column(name)[piece.episode] for name in layout.COLUMNS}
        digest, before = str(entry["digest"]), source.provenance(piece.episode)
        is_cut = len(piece) != lengths[piece.source][piece.episode]
        if is_cut:
            before = cut_notes(origin.cut_steps(before, piece.start, piece.stop), source, piece.episode, piece.start, piece.stop)
        if is_cut or decoded[piece.source]:
            first = int(starts[piece.source][piece.episode])
            entry["digest"] = digest_of(source, first + piece.start, first + piece.stop, lossy)
        if piece.columns:
            entry |= dict(piece.columns)
            entry["outcome"] = layout.outcome_of(bool(entry["success"]), bool(entry["terminated"]), bool(entry["truncated"]))
        lineage: dict[str, Any] = {"store": fingerprints[piece.source], "episode": piece.episode, "step": piece.start, "digest": digest}
        before = {key: value for key, value in {**before, **piece.known}.items() if key not in piece.known or value is not None}
        entry["provenance"] = json.dumps(origin.derive(before, **lineage, edit=piece.edit))
        entry["parent"] = piece.episode
        for name, value in entry.items():
            columns[name].append(value)
    return columns


def digest_of(store: StoreReader, start: int, stop: int, lossy: Collection[str]) -> str:
    """The digest that steps ``start`` to ``stop`` of a store have as an episode, read in blocks of bounded size.

    ``lossy`` names the arrays whose encoded rows are their content where the episode goes.
    """
    arrays = {name: store.step_arrays[name] for name in store.array_names}
    if SIM_STATE in arrays and np.isnan(store.array(SIM_STATE, start, stop)).all():
        del arrays[SIM_STATE]
    return layout.digest_of_blocks(
        {
            name: (
                array.dtype,
                (stop - start, *array.shape[1:]),
                layout.frames_digest(store.encoded(name, start, stop)) if name in lossy else _rows(store, name, start, stop),
            )
            for name, array in arrays.items()
        }
    )


def _rows(store: StoreReader, name: str, start: int, stop: int) -> Iterator[NDArray[Any]]:
    return (rows for _, rows in blocks(store, name, start, stop))
