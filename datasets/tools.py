"""The store's tools on the command line: ``robolearn data info | check | import``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from robolearn.datasets import verify
from robolearn.datasets.address import address
from robolearn.datasets.codecs import codec_named
from robolearn.datasets.figures import array_figures, counts, episode_rows, outline
from robolearn.datasets.formats.registry import Reader, open_source
from robolearn.datasets.layout import StoreError
from robolearn.datasets.opening import require_appendable
from robolearn.datasets.place import note, one_line, put_in_place, remove, require_free
from robolearn.datasets.size import size_on_disk
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.lock import WriterLock
from robolearn.nodes import to_dict
from robolearn.progress import Progress

# What is read in moments: for figures of every array, for a row per episode, for the rewards in it.
_QUICK_BYTES, _QUICK_FILES, _QUICK_EPISODES, _QUICK_STEPS = 50_000_000, 1000, 2000, 1_000_000
_MOST_LINES = 100
_EPISODES_PER_COMMIT, _BYTES_PER_COMMIT = 10, 1 << 28


def info(cfg: DictConfig) -> int:
    """``robolearn data info``: what a store holds."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    facts = describe(store, options["statistics"], options["per_episode"] if options["json"] else False)
    print(json.dumps(facts) if options["json"] else _info_text(facts))
    return 0


def describe(store: DemoStore, statistics: bool | None = None, per_episode: bool | None = None) -> dict[str, Any]:
    """Facts about a store, JSON-ready.

    Args:
        store: the store.
        statistics: figures of every array, which are all read; None: where that is a matter of moments.
        per_episode: a row per episode; None: where there are at most 2000.
    """
    size = size_on_disk(store)
    outlines = {name: outline(store.step_arrays[name]) for name in store.array_names}
    is_quick = size.bytes <= _QUICK_BYTES and size.files <= _QUICK_FILES
    figures = statistics if statistics is not None else is_quick
    with_rows = per_episode if per_episode is not None else store.num_episodes <= _QUICK_EPISODES
    return {
        "store": str(store.path),
        "task": store.env_spec.task,
        "control_hz": store.env_spec.control_hz,
        "bytes": size.bytes,
        "bytes_exact": size.exact,
        "torn_steps": store.torn_steps,
        **counts(store, np.arange(store.num_episodes)),
        "fingerprint": store.fingerprint(),
        "schema_version": store.attrs["schema_version"],
        "created_with": store.attrs.get("created_with", {}),
        "edited": store.attrs.get("edited"),
        "arrays": array_figures(store) if figures and store.num_steps else outlines,
        "per_episode": episode_rows(store, with_rewards=store.num_steps <= _QUICK_STEPS) if with_rows else None,
    }


def _info_text(facts: dict[str, Any]) -> str:
    minutes = facts["steps"] / facts["control_hz"] / 60
    lines = [
        f"{facts['store']}: {facts['task']}, {facts['episodes']} episodes, {facts['steps']:,} steps "
        f"({minutes:.1f} min at {facts['control_hz']:g} Hz), {'' if facts['bytes_exact'] else 'about '}{facts['bytes'] / 1e6:.1f} MB"
    ]
    if facts["length"]:
        lines.append("length       {min} to {max} steps, mean {mean:.0f}".format(**facts["length"]))
    lines.append("outcomes     " + ", ".join(f"{name} {count}" for name, count in sorted(facts["outcomes"].items())))
    lines.append("sources      " + ", ".join(f"{name or 'unknown'} {count}" for name, count in sorted(facts["sources"].items())))
    lines.append(f"fingerprint  {facts['fingerprint']}")
    if facts["edited"]:
        lines.append(f"edited       {facts['edited']['tool']} of {', '.join(entry['store'] for entry in facts['edited']['made_of'])}")
    rows = []
    for name, entry in facts["arrays"].items():
        known = [value for kind in ("min", "max") for value in entry.get(kind, ()) if value is not None]
        span = f"{min(known):.4g} to {max(known):.4g}" if known else ""
        span += f"  {entry['codec']['name'].removeprefix('robolearn.')}" if "codec" in entry else ""
        rows.append((name, str(entry["dtype"]), str(tuple(entry["shape"])), span))
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)]
    lines += ["  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if facts["torn_steps"]:
        lines.append(_torn_text(facts["torn_steps"]))
    return "\n".join(lines)


def _torn_text(steps: int) -> str:
    return f"{steps} steps lie beyond the last committed episode: a writer is at work, or was interrupted (`data repair` removes them)"


def check(cfg: DictConfig) -> int:
    """``robolearn data check``: 1 when a promise of the format is broken (with ``strict``, also on a warning), with a line for each."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    with Progress(f"check {store.path}", max(store.num_steps * len(store.array_names), 1)) as progress:
        found = verify.check(store, progress.advance)
    ok = not found.errors and not (options["strict"] and found.warnings)
    facts = {"store": str(store.path), "ok": ok, "episodes": store.num_episodes, "steps": store.num_steps}
    if options["json"]:
        print(json.dumps({**facts, "torn_steps": store.torn_steps, "problems": found.errors, "warnings": found.warnings}))
        return 0 if ok else 1
    lines = [*found.errors, *(f"warning: {line}" for line in found.warnings[:_MOST_LINES])]
    if len(found.warnings) > _MOST_LINES:
        lines.append(f"and {len(found.warnings) - _MOST_LINES} more warnings (--json lists them all)")
    if not found.errors:
        lines.append(f"{store.path}: {store.num_episodes} episodes, {store.num_steps:,} steps, all as written")
    print("\n".join([*lines, *([_torn_text(store.torn_steps)] if store.torn_steps else [])]))
    return 0 if ok else 1


def import_(cfg: DictConfig) -> int:
    """``robolearn data import``: another format's demonstrations into a new store; all of them or, on an error, nothing."""
    options = to_dict(cfg)
    out = require_appendable(address(options["out"]))
    require_free(out, bool(options["overwrite"]))
    if options["missing"] not in ("error", "skip"):
        raise StoreError(f"missing takes error or skip, got {options['missing']!r}")
    codec_named(options["image_codec"])
    format_name, reader = open_source(options["source"], **{key: value for key, value in options.items() if key not in ("source", "out")})
    notes = {"source": Path(options["source"]).name, "format": format_name}

    def imported() -> dict[str, Any]:
        kept = {kind: lines for kind in ("missing", "lost") if (lines := list(getattr(reader, kind, ())))}
        return {"imported": {**notes, **kept}}

    write_whole(reader, out, bool(options["overwrite"]), "import", imported, options["image_codec"])
    store = DemoStore.open(out)
    facts = {
        "store": str(out),
        "format": format_name,
        "episodes": store.num_episodes,
        "steps": store.num_steps,
        "successes": int(store.column("success").sum()),
        "fingerprint": store.fingerprint(),
        "missing": list(getattr(reader, "missing", ())),
        "lost": list(getattr(reader, "lost", ())),
    }
    repairs = [entry for index in range(store.num_episodes) if (entry := store.provenance(index).get("rotation_repair"))]
    if repairs:
        facts["rotation_repair"] = _repair_summary(repairs)
    print(json.dumps(facts) if options["json"] else _import_text(facts))
    return 0


def write_whole(
    reader: Reader, out: Path, overwrite: bool, verb: str, notes: Callable[[], dict[str, Any]], image_codec: str = "zstd"
) -> None:
    """Fill a store beside ``out`` and rename it when complete; its attributes are the reader's and, at the end, ``notes``."""
    out.parent.mkdir(parents=True, exist_ok=True)
    lock = WriterLock(out)
    draft = out.with_name(f".{out.name}.importing")
    try:
        with (
            DemoStore.create(draft, reader.env_spec, overwrite=True, attrs=getattr(reader, "attrs", {}), image_codec=image_codec) as store,
            Progress(f"{verb} {out}", len(reader)) as progress,
        ):
            for batch in _batches(reader):
                _add(store, batch, out)
                progress.advance(len(batch))
        note(draft, **notes())
        require_free(out, overwrite)
        put_in_place(draft, out)
    finally:
        remove(draft)
        draft.with_name(f".{draft.name}.lock").unlink(missing_ok=True)
        lock.release()


def _add(store: DemoStore, batch: list[Episode], out: Path) -> None:
    try:
        store.extend(batch)
    except StoreError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise StoreError(f"could not write {out}: {one_line(error.__cause__)}; nothing is left of it") from error


def _batches(episodes: Iterable[Episode]) -> Iterator[list[Episode]]:
    """Episodes a few at a time, fewer where they are large."""
    batch: list[Episode] = []
    size = 0
    for episode in episodes:
        batch.append(episode)
        size += sum(array.nbytes for array in (*episode.observations.values(), *episode.extras.values()))
        if len(batch) == _EPISODES_PER_COMMIT or size >= _BYTES_PER_COMMIT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _repair_summary(repairs: list[dict[str, Any]]) -> dict[str, Any]:
    factors = sorted(entry["factor"] for entry in repairs)
    return {
        "method": repairs[0]["method"],
        "episodes": len(repairs),
        "factor": [factors[0], factors[len(factors) // 2], factors[-1]],
        "smallest_correlation": min(entry["correlation"] for entry in repairs),
        "clipped_steps": sum(entry["clipped_steps"] for entry in repairs),
    }


def _first_lines(label: str, lines: list[str], most: int = 5) -> list[str]:
    """A few lines for people; JSON and the store's attributes hold all of them."""
    more = [f"{label}: and {len(lines) - most} more, which --json lists"] if len(lines) > most else []
    return [*(f"{label}: {line}" for line in lines[:most]), *more]


def _import_text(facts: dict[str, Any]) -> str:
    text = (
        f"{facts['store']}: {facts['episodes']} episodes, {facts['steps']:,} steps, {facts['successes']} successes, from {facts['format']}"
    )
    text = "\n".join([text, *_first_lines("missing, skipped", facts["missing"]), *_first_lines("not held", facts["lost"])])
    if "rotation_repair" not in facts:
        return text
    repair = facts["rotation_repair"]
    low, middle, high = repair["factor"]
    return (
        f"{text}\nrotation labels repaired ({repair['method']}): commands scaled by {low:.2f} to {high:.2f} (median {middle:.2f}), "
        f"correlation with the achieved rotation at least {repair['smallest_correlation']:.4f}, {repair['clipped_steps']} steps clipped"
    )
