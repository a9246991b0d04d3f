"""Methods with several training seeds: their arms taken together, and each method tested against those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robolearn.errors import UserError
from robolearn.learning.comparison import Arm, ArmResult
from robolearn.significance import clustered_rate, paired_t


def arms_of_methods(arms: Sequence[Arm]) -> dict[str, list[int]]:
    """Positions of each method's arms, in order; empty where no arm names its method.

    Raises:
        UserError: some arms name a method and others do not.
    """
    methods: dict[str, list[int]] = {}
    for position, arm in enumerate(arms):
        if arm.method is not None:
            methods.setdefault(arm.method, []).append(position)
    bare = [arm.name for arm in arms if arm.method is None]
    if methods and bare:
        raise UserError(f"arms name a method all or none; {', '.join(bare)} name none")
    return methods


def summarize_methods(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """A method's episodes together, and a paired test of it against every method before it: JSON-ready.

    Training seeds play the same starts, so their episodes are not independent: a start counts once, with the share of the
    method's training seeds that solve it, and n starts are what intervals and tests rest on. They are of these trained
    policies; how far another training would land is seen in ``rates``, one a training seed.
    """
    named = arms_of_methods([result.arm for result in results])
    solved = {name: np.stack([results[at].episodes.success for at in positions]) for name, positions in named.items()}  # (seeds, n)
    methods: list[dict[str, Any]] = []
    for name, positions in named.items():
        methods.append(
            {
                "name": name,
                "arms": [results[at].arm.name for at in positions],
                "rates": solved[name].mean(1).tolist(),
                "success": vars(clustered_rate(solved[name])),
                "against": {before["name"]: vars(paired_t(solved[before["name"]].mean(0), solved[name].mean(0))) for before in methods},
            }
        )
    return methods


def methods_as_text(methods: Sequence[Mapping[str, Any]]) -> str:
    """A line a method: its rate, that of each training seed, and the tests against the methods before it."""
    width = max(len(method["name"]) for method in methods)
    lines = []
    for method in methods:
        success, rates = method["success"], " ".join(f"{100 * rate:.1f}" for rate in method["rates"])
        tests = "; ".join(
            f"{100 * test['difference']:+.1f} pp on {name}, p = {test['p_value']:.2g}" for name, test in method["against"].items()
        )
        interval = f"{100 * success['rate']:5.1f} % [{100 * success['low']:.1f}, {100 * success['high']:.1f}]"
        lines.append(f"{method['name']:<{width}}  {interval}  ({rates})  {tests}".rstrip())
    return "\n".join(lines)
