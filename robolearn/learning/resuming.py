"""What a training began with, and whether it goes on with the same."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from robolearn.errors import UserError


def describe_data(paths: Sequence[str], stores: Sequence[Any], sampler: Mapping[str, Any], fingerprints: Sequence[str]) -> dict[str, Any]:
    """What a checkpoint says of its stores: where they lay, their content, and their outcomes where ``sampler`` goes by them."""
    by_outcome = any("outcome" in (sampler.get(name) or {}) for name in ("shares", "weights"))
    outcomes = [store.fingerprint(outcomes=True) for store in stores] if by_outcome else None
    return {"stores": [str(path) for path in paths], "fingerprints": list(fingerprints), "outcomes": outcomes}


def check_same_data(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a run would go on with other demonstrations than it began with; where they lie does not matter."""
    if before["fingerprints"] != now["fingerprints"]:
        raise UserError(
            f"this run learned from {', '.join(before['stores'])} as it was then; {', '.join(now['stores'])} holds other episodes: "
            "give the same store=, or begin another run with its own out="
        )
    if before.get("outcomes") and now["outcomes"] and before["outcomes"] != now["outcomes"]:
        raise UserError(
            f"outcomes of {', '.join(now['stores'])} were marked otherwise since this run began, whose sampler goes by them: "
            "give the store as it was, or begin another run with its own out="
        )


def check_same_policy(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a run would go on with another policy than it began with, be it a default that changed since."""
    was, is_now = json.loads(json.dumps(before)), json.loads(json.dumps(now))
    differing = [
        f"policy.{key} is {is_now.get(key)}, it was {was.get(key)}" for key in {**was, **is_now} if was.get(key) != is_now.get(key)
    ]
    if differing:
        raise UserError(
            f"this run began with another policy: {'; '.join(differing)}; say it as it was, or begin another run with its own out="
        )
