"""``robolearn data copy``: a store as it is, from one place to another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robolearn.datasets import transfer
from robolearn.datasets.address import Url, address
from robolearn.datasets.bucket import Bucket
from robolearn.datasets.drafts import uploadable
from robolearn.datasets.layout import StoreError
from robolearn.datasets.place import require_free
from robolearn.datasets.size import size_on_disk
from robolearn.datasets.store import DemoStore
from robolearn.nodes import to_dict
from robolearn.progress import Progress


def copy(cfg: DictConfig) -> int:
    """``robolearn data copy``: a directory, zip or bucket's store as a directory, zip or in a bucket; checksums verified."""
    options = to_dict(cfg)
    store, out, overwrite = DemoStore.open(options["store"]), address(options["out"]), bool(options["overwrite"])
    facts = {
        "tool": "copy",
        "store": str(store.path),
        "out": str(out),
        "dry_run": bool(options["dry_run"]),
        "episodes": store.num_episodes,
        "steps": store.num_steps,
        "fingerprint": store.fingerprint(),
    }
    if options["dry_run"]:
        transfer.require_elsewhere(store, out)
        _require_free(out, overwrite, store.fingerprint())
        facts |= {"files": transfer.count(store), "bytes": size_on_disk(store).bytes}
    else:
        with Progress(f"copy {out}", transfer.count(store)) as progress:
            draft = transfer.copy(store, out, overwrite, progress.advance)
        facts |= {"files": draft.files, "bytes": draft.bytes, "files_there_already": draft.there}
        if DemoStore.open(out).fingerprint(outcomes=True) != store.fingerprint(outcomes=True):
            raise StoreError(f"{out} is not what {store.path} is; somebody else may have written there: copy it again")
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def _require_free(out: Path | Url, overwrite: bool, fingerprint: str) -> None:
    if isinstance(out, Path):
        require_free(out, overwrite)
    elif out.has_history:
        from robolearn.datasets.history import History

        if History.exists(out):
            History(out).require_empty(overwrite)
    else:
        uploadable(Bucket(out), overwrite, fingerprint)


def _text(facts: dict[str, Any]) -> str:
    head = "dry run, nothing is written; it would copy " if facts["dry_run"] else ""
    there = facts.get("files_there_already")
    already = f", {there:,} of the files were there already" if there else ""
    size = f"{facts['files']:,} files, {facts['bytes'] / 1e6:.1f} MB"
    return f"{head}{facts['store']} -> {facts['out']}: {facts['episodes']:,} episodes, {facts['steps']:,} steps, {size}{already}"
