"""``robolearn data stats``: figures of every array and of the outcomes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from robolearn.datasets.figures import array_figures, by_source, counts
from robolearn.datasets.layout import StoreError
from robolearn.datasets.selection import select
from robolearn.datasets.store import DemoStore
from robolearn.nodes import to_dict
from robolearn.progress import Progress


def stats(cfg: DictConfig) -> int:
    """``robolearn data stats``: every array is read, in blocks."""
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    chosen = select(store, options["episodes"], options["where"])
    if store.num_episodes and not len(chosen):
        raise StoreError(f"no episode of {store.path} is chosen by episodes={options['episodes']} where={options['where']}")
    with Progress(f"stats {store.path}", max(store.num_steps * len(store.array_names), 1)) as progress:
        arrays = array_figures(store, chosen, progress.advance)
    facts = {
        "store": str(store.path),
        "task": store.env_spec.task,
        **counts(store, chosen),
        "by_source": by_source(store, chosen),
        "fingerprint": store.fingerprint(),
        "arrays": arrays,
    }
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def _text(facts: Mapping[str, Any]) -> str:
    lines = [f"{facts['store']}: {facts['task']}, {facts['episodes']:,} episodes, {facts['steps']:,} steps"]
    if facts["length"]:
        lines.append("length       {min} to {max} steps, mean {mean:.0f}".format(**facts["length"]))
    for source, entry in facts["by_source"].items():
        lines.append(
            f"{source or 'unknown':<13}{entry['episodes']:,} episodes, {entry['steps']:,} steps, {100 * entry['success']:.1f} % successes"
        )
    lines.append(f"{'array':<24}{'channel':>8}{'min':>12}{'max':>12}{'mean':>12}{'std':>12}")
    for name, entry in facts["arrays"].items():
        if "min" not in entry:
            lines.append(f"{name:<24}{entry['dtype']} {tuple(entry['shape'])}")
        for channel, row in enumerate(zip(*(entry.get(kind, ()) for kind in ("min", "max", "mean", "std")), strict=True)):
            lines.append(f"{name if not channel else '':<24}{channel:>8}" + "".join(f"{_number(value):>12}" for value in row))
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
