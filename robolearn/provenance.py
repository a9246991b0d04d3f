"""Where an episode came from: the keys of ``Episode.provenance``, said once, and the lineage that editing and augmentation write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robolearn.errors import UserError, nearest

SOURCES = ("teleop", "expert", "rollout", "augmentation", "import")
# What a writer fills in where it knows it. Importers and worlds add keys of their own; all of it is JSON-ready.
KEYS = {
    "source": f"who acted: one of {', '.join(SOURCES)}",
    "note": "what the operator, or whoever looked at it later, said of it",
    "operator": "who recorded it",
    "task": "name of the task; of the episode's own where a store holds several",
    "seed": "what its start and noise were drawn from",
    "checkpoint": "the policy that acted, as it was given",
    "recorded_by": "import: who acted in the original, one of the sources",
    "made_by": "the expert or policy with its settings",
    "env": "the world with its settings",
    "versions": "Python, packages and git commit of the writer",
    "failure_step": "step at which it was lost, counted from the episode's start",
    "bottlenecks": "steps that are bottleneck states, counted from the episode's start",
    "format": "import: the format it was read from",
    "file": "import: the file it was read from",
    "original_index": "import: its number there",
    "original_name": "import: its name there",
    "tasks": "import: texts of its tasks where they change, [[first step, text], ...]",
    "texts": "import: other texts of its steps, by name, likewise",
    "flags": "import: steps of flags that are not where such belong, by name",
    "parent": "index of the episode it was made from",
    "parent_step": "step of the parent at which it begins",
    "parent_store": "fingerprint of the store in which `parent` counts; absent: the very store that holds it",
    "parent_digest": "digest of the parent, which names it in any store",
    "judged_at": "augmentation: step of the parent whose scene it had to reach",
    "edit": "what was done to the parent: the tool and its settings",
    "ancestors": "earlier lineage, oldest first, each with the keys parent, parent_step, parent_store, parent_digest, edit",
}
LINEAGE = ("parent", "parent_step", "parent_store", "parent_digest", "judged_at", "edit")
STEPS = ("failure_step", "bottlenecks", "tasks", "texts", "flags")  # steps of the episode, which move when its head is cut


def describe(source: str, **known: Any) -> dict[str, Any]:
    """Provenance of a new episode: its source and what else is known; None is left out.

    Raises:
        UserError: a source that there is not.
    """
    if source not in SOURCES:
        raise UserError(f"no source {source!r}; there are {', '.join(SOURCES)}{nearest(source, SOURCES)}")
    return {"source": source, **{key: value for key, value in known.items() if value is not None}}


def derive(before: Mapping[str, Any], *, store: str, episode: int, step: int, digest: str, edit: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of an edited copy; what the parent's said of its own lineage becomes the youngest of ``ancestors``.

    Args:
        before: the parent's provenance.
        store: fingerprint of the parent's store.
        episode: the parent's index there.
        step: step of the parent at which the copy begins.
        digest: the parent's digest.
        edit: the tool and its settings.
    """
    older = {key: before[key] for key in LINEAGE if key in before}
    if older and "parent_store" not in older:
        older["parent_store"] = store
    kept = {key: value for key, value in before.items() if key not in (*LINEAGE, "ancestors")}
    ancestors = [*before.get("ancestors", []), *([older] if older else [])]
    lineage = {"parent": episode, "parent_step": step, "parent_store": store, "parent_digest": digest, "edit": dict(edit)}
    return {**kept, **lineage, **({"ancestors": ancestors} if ancestors else {})}


def cut_steps(provenance: Mapping[str, Any], start: int, stop: int) -> dict[str, Any]:
    """Provenance of steps ``start`` to ``stop`` of an episode: steps that it names move along, or go with what is cut off."""
    moved = {key: _moved(provenance[key], start, stop) for key in STEPS if key in provenance}
    return {key: moved.get(key, value) for key, value in provenance.items() if moved.get(key, value) is not None}


def _moved(value: Any, start: int, stop: int) -> Any:
    """A step, steps or runs ``[[first step, value], ...]``, or a mapping of them, counted from ``start``; None: a step cut off."""
    if isinstance(value, Mapping):
        return {name: _moved(entry, start, stop) for name, entry in value.items()}
    if isinstance(value, int):
        return value - start if start <= value < stop else None
    if not isinstance(value, list):
        return value
    if not all(isinstance(run, list) and len(run) == 2 and isinstance(run[0], int) for run in value):
        return [step - start for step in value if isinstance(step, int) and start <= step < stop]
    ends = [*(run[0] for run in value[1:]), stop]
    return [[max(first - start, 0), entry] for (first, entry), end in zip(value, ends, strict=False) if first < stop and end > start]


def abridged(value: Any, longest: int = 200) -> Any:
    """The same for people to read: long texts (a simulator's model, say) are cut."""
    if isinstance(value, Mapping):
        return {key: abridged(entry, longest) for key, entry in value.items()}
    if isinstance(value, list):
        return [abridged(entry, longest) for entry in value]
    if isinstance(value, str) and len(value) > longest:
        return f"{value[:longest]}... ({len(value)} characters)"
    return value
