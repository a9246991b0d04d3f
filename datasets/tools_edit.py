"""Editing on the command line: ``robolearn data merge | drop | split | trim | label``, each into a new store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.datasets.editing import Piece, Plan, require_places, whole, write
from robolearn.datasets.edits import drop_pieces, label_pieces, merge_plan, split_episodes, trim_pieces
from robolearn.datasets.layout import StoreError
from robolearn.datasets.opening import local_path
from robolearn.datasets.selection import select
from robolearn.datasets.size import size_on_disk
from robolearn.datasets.store import DemoStore
from robolearn.nodes import to_dict
from robolearn.progress import Progress

_MOST_LINES = 20


def merge(cfg: DictConfig) -> int:
    """``robolearn data merge``: the episodes of several stores, one store after another."""
    options = to_dict(cfg)
    paths = listed(options["stores"], "stores=[a.zarr,b.zarr]", 2)
    plan, notes = merge_plan(
        [DemoStore.open(path) for path in paths], local_path(options["out"]), options["task_name"], options["duplicates"]
    )
    return carry_out([plan], notes, options)


def drop(cfg: DictConfig) -> int:
    """``robolearn data drop``: a store without the chosen episodes."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    chosen = _chosen(store, options, "choose what to drop")
    pieces = drop_pieces(store, chosen)
    return carry_out(
        [plan_of(store, options["out"], pieces, {"tool": "drop", "episodes": ranges(chosen)})],
        [f"drops episodes {ranges(chosen)}"],
        options,
    )


def split(cfg: DictConfig) -> int:
    """``robolearn data split``: a store's episodes as two stores."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    outs = listed(options["out"], "out=[a.zarr,b.zarr]", 2)
    if len(outs) != 2 or Path(outs[0]).resolve() == Path(outs[1]).resolve():
        raise StoreError(f"split makes two stores, such as out=[train.zarr,test.zarr]; got {', '.join(outs)}")
    by_choice = options["episodes"] is not None or options["where"] is not None
    if by_choice == (options["fraction"] is not None):
        raise StoreError("say what the first store gets: either fraction=0.9, or episodes=[..] or where=[..]")
    settings: dict[str, Any] = {"tool": "split"}
    if by_choice:
        first = _chosen(store, options, "choose what the first store gets")
    else:
        first = split_episodes(store, float(options["fraction"]), int(options["seed"]))
        settings |= {"fraction": float(options["fraction"]), "seed": int(options["seed"])}
    second = np.setdiff1d(np.arange(store.num_episodes), first)
    if not len(first) or not len(second):
        raise StoreError(f"of the {store.num_episodes} episodes of {store.path}, {outs[len(first) > 0]} would get none; choose otherwise")
    sides = zip(outs, (first, second), strict=True)
    plans = [plan_of(store, out, whole(0, store, side, settings), {**settings, "episodes": ranges(side)}) for out, side in sides]
    return carry_out(plans, [], options)


def trim(cfg: DictConfig) -> int:
    """``robolearn data trim``: a store with heads or tails of episodes cut off."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    chosen = select(store, options["episodes"], options["where"])
    pieces, notes = trim_pieces(store, options["ranges"], chosen, int(options["head"]), int(options["tail"]), options["ending"])
    return carry_out([plan_of(store, options["out"], pieces, {"tool": "trim", "ending": options["ending"]})], notes, options)


def label(cfg: DictConfig) -> int:
    """``robolearn data label``: a store with the outcome or note of episodes changed."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    if options["episode"] is not None and options["episodes"] is not None:
        raise StoreError("give either episode= or episodes=[..]")
    if options["episode"] is not None:
        options["episodes"] = [options["episode"]]
    chosen = _chosen(store, options, "choose what to label")
    pieces, notes = label_pieces(store, chosen, options["success"], options["note"], options["failure_step"])
    return carry_out([plan_of(store, options["out"], pieces, {"tool": "label", "episodes": ranges(chosen)})], notes, options)


def listed(value: Any, example: str, least: int) -> list[str]:
    """A list of at least ``least`` names, or ``StoreError``."""
    if not isinstance(value, list) or len(value) < least:
        raise StoreError(f"give a list of {least} or more, such as {example}; got {value!r}")
    return [str(entry) for entry in value]


def ranges(indices: Iterable[int] | NDArray[np.int64]) -> str:
    """Increasing indices as ``0,3,7-9``."""
    found: list[list[int]] = []
    for index in (int(entry) for entry in indices):
        if found and found[-1][1] == index - 1:
            found[-1][1] = index
        else:
            found.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found) or "none"


def _chosen(store: DemoStore, options: Mapping[str, Any], what: str) -> NDArray[np.int64]:
    if options["episodes"] is None and options["where"] is None:
        raise StoreError(f"{what}: episodes=[0,3,7-9] or where=[success=false], or both, which then must both hold")
    chosen = select(store, options["episodes"], options["where"])
    if not len(chosen):
        raise StoreError(f"no episode of {store.path} is chosen by episodes={options['episodes']} where={options['where']}")
    return chosen


def plan_of(store: DemoStore, out: Any, pieces: Sequence[Piece], edit: Mapping[str, Any]) -> Plan:
    """A new store of pieces of one store, or ``StoreError`` where there are none."""
    if not pieces:
        raise StoreError(f"nothing of {store.path} would be left")
    return Plan(local_path(str(out)), [store], pieces, store.env_spec, edit)


def carry_out(plans: Sequence[Plan], notes: Sequence[str], options: Mapping[str, Any]) -> int:
    """Carry the plans out, or with ``dry_run`` look whether they could be, and say what was made."""
    overwrite, dry_run = bool(options["overwrite"]), bool(options["dry_run"])
    if dry_run:
        require_places(plans, overwrite)
    else:
        with Progress(f"{plans[0].edit['tool']} {plans[0].out}", sum(plan.work for plan in plans)) as progress:
            write(plans, overwrite, progress.advance)
    facts = {
        "tool": plans[0].edit["tool"],
        "dry_run": dry_run,
        "made": [_facts(plan, dry_run) for plan in plans],
        "changes": list(notes),
    }
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def _facts(plan: Plan, dry_run: bool) -> dict[str, Any]:
    steps = max(sum(source.num_steps for source in plan.sources), 1)
    size = sum(size_on_disk(source).bytes for source in plan.sources) * plan.num_steps // steps
    return {
        "store": str(plan.out),
        "episodes": len(plan.pieces),
        "steps": plan.num_steps,
        "made_of": [
            {"store": str(source.path), "episodes": source.num_episodes, "steps": source.num_steps, "fingerprint": source.fingerprint()}
            for source in plan.sources
        ],
        **({"bytes_about": size} if dry_run else {"fingerprint": DemoStore.open(plan.out).fingerprint()}),
    }


def _text(facts: Mapping[str, Any]) -> str:
    lines = []
    for made in facts["made"]:
        episodes, steps = (sum(source[kind] for source in made["made_of"]) for kind in ("episodes", "steps"))
        about = f", about {made['bytes_about'] / 1e6:.1f} MB" if facts["dry_run"] else ""
        lines.append(f"{made['store']}: {made['episodes']:,} of {episodes:,} episodes, {made['steps']:,} of {steps:,} steps{about}")
    changes = facts["changes"]
    lines += changes[:_MOST_LINES]
    if len(changes) > _MOST_LINES:
        lines.append(f"and {len(changes) - _MOST_LINES} more (--json lists them all)")
    return "\n".join([*(["dry run, nothing is written; it would make"] if facts["dry_run"] else []), *lines])
