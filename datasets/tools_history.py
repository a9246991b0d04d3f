"""History on the command line: ``robolearn data history | tag | branch`` of a store on Icechunk."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from itertools import islice
from typing import Any

from omegaconf import DictConfig

from robolearn.datasets.address import Url, address
from robolearn.datasets.history import History
from robolearn.datasets.layout import StoreError
from robolearn.nodes import to_dict


def history(cfg: DictConfig) -> int:
    """``robolearn data history``: the commits that led to a branch, tag or snapshot, and what branches and tags there are."""
    options = to_dict(cfg)
    url = _url(options["store"])
    repository = History(url)
    log = [dataclasses.asdict(entry) for entry in islice(repository.log(url.ref), int(options["most"]))]
    facts = {"tool": "history", "store": str(url), "branches": repository.branches(), "tags": repository.tags(), "log": log}
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def tag(cfg: DictConfig) -> int:
    """``robolearn data tag``: give a snapshot a name for good."""
    return _name(cfg, "tag", lambda repository, name, at: repository.tag(name, at))


def branch(cfg: DictConfig) -> int:
    """``robolearn data branch``: begin a branch at a snapshot."""
    return _name(cfg, "branch", lambda repository, name, at: repository.branch(name, at))


def _name(cfg: DictConfig, tool: str, create: Callable[[History, str, str | None], str]) -> int:
    options = to_dict(cfg)
    url, name = _url(options["store"]), str(options["name"])
    at = None if options["at"] is None else str(options["at"])
    snapshot = create(History(url), name, at or url.ref)
    facts = {"tool": tool, "store": url.base, "name": name, "snapshot": snapshot}
    print(json.dumps(facts) if options["json"] else f"{url.base}@{name}: {tool} at {snapshot}")
    return 0


def _url(place: Any) -> Url:
    url = address(str(place))
    if not isinstance(url, Url) or not url.has_history:
        raise StoreError(f"{place} has no history; `robolearn data copy store={place} out=icechunk:DIR` makes a store that has")
    return url


def _text(facts: dict[str, Any]) -> str:
    names: dict[str, list[str]] = {}
    for kind in ("branches", "tags"):
        for name, snapshot in facts[kind].items():
            names.setdefault(snapshot, []).append(name)
    lines = [
        "{id}  {when}  {who:<16} {what}".format(**entry) + "".join(f"  <- {name}" for name in names.get(entry["id"], []))
        for entry in facts["log"]
    ]
    heads = [f"{kind:<9} {', '.join(facts[kind]) or 'none'}" for kind in ("branches", "tags")]
    return "\n".join([facts["store"], *heads, *lines])
