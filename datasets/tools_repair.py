"""Repair and upgrade on the command line: ``robolearn data repair | upgrade``."""

from __future__ import annotations

import json
from pathlib import Path

from omegaconf import DictConfig

from robolearn.datasets import schema
from robolearn.datasets.address import address
from robolearn.datasets.opening import require_appendable
from robolearn.datasets.place import require_free
from robolearn.datasets.repair import Torn
from robolearn.datasets.repair import repair as mend
from robolearn.datasets.store import DemoStore
from robolearn.nodes import to_dict
from robolearn.progress import Progress


def repair(cfg: DictConfig) -> int:
    """``robolearn data repair``: remove, in place, what an interrupted writer left; no committed episode is touched."""
    options = to_dict(cfg)
    path, dry_run = require_appendable(address(options["store"])), bool(options["dry_run"])
    torn = mend(path, dry_run)
    if options["json"]:
        print(json.dumps({"tool": "repair", "store": str(path), "dry_run": dry_run, "clean": torn.is_clean, **torn.to_dict()}))
        return 0
    print(_text(path, torn, dry_run))
    return 0


def _text(path: Path, torn: Torn, dry_run: bool) -> str:
    if torn.is_clean:
        return f"{path}: nothing to repair"
    counted = [
        (torn.steps, "steps beyond the last committed episode"),
        (torn.episodes, "entries of episodes that were never committed"),
        (torn.files, "files that hold nothing committed"),
        (torn.partial_files, "half-written files"),
    ]
    what = [f"{count:,} {words}" for count, words in counted if count] + [f"the unfinished store {name}" for name in torn.drafts]
    removed = f"{'would remove' if dry_run else 'removed'} {', '.join(what)} ({torn.bytes / 1e6:.1f} MB)" if what else ""
    put_back = f"{'would put back' if dry_run else 'put back'} the store from {torn.put_back}" if torn.put_back else ""
    return f"{path}: {', '.join(part for part in (put_back, removed) if part)}"


def upgrade(cfg: DictConfig) -> int:
    """``robolearn data upgrade``: a new store of the current version from one of an older version."""
    options = to_dict(cfg)
    path, out, dry_run = address(options["store"]), require_appendable(address(options["out"])), bool(options["dry_run"])
    facts = {"tool": "upgrade", "store": str(path), "out": str(out), "dry_run": dry_run}
    if dry_run:
        versions = schema.steps_from(path)
        require_free(out, bool(options["overwrite"]))
    else:
        versions = schema.steps_from(path)
        with Progress(f"upgrade {out}", len(schema.files_of(path))) as progress:
            schema.upgrade(path, out, bool(options["overwrite"]), progress.advance)
        store = DemoStore.open(out)
        facts |= {"episodes": store.num_episodes, "steps": store.num_steps, "fingerprint": store.fingerprint()}
    facts["versions"] = versions
    through = " -> ".join(str(version) for version in versions)
    print(json.dumps(facts) if options["json"] else f"{out}: {'would be ' if dry_run else ''}{path} upgraded, schema version {through}")
    return 0
