"""Methods with several training seeds: their arms taken together, and each method tested against those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robolearn.errors import UserError
from robolearn.learning.comparison import Arm, ArmResult
from robolearn.significance import mcnemar, wilson


def arms_of_methods(arms: Sequence[Arm]) -> dict[str, list[int]]:
    """Positions of each method's arms, in order; empty where no arm names its method.

    Raises:
        UserError: some arms name a method and others do not, or two methods have different numbers of training seeds.
    """
    methods: dict[str, list[int]] = {}
    for position, arm in enumerate(arms):
        if arm.method is not None:
            methods.setdefault(arm.method, []).append(position)
    bare = [arm.name for arm in arms if arm.method is None]
    if methods and bare:
        raise UserError(f"arms name a method all or none; {', '.join(bare)} name none")
    if len({len(positions) for positions in methods.values()}) > 1:
        counts = ", ".join(f"{name}: {len(positions)}" for name, positions in methods.items())
        raise UserError(f"methods are paired training seed by training seed, so each needs as many arms; there are {counts}")
    return methods


def summarize_methods(results: Sequence[ArmResult]) -> list[dict[str, Any]]:
    """A method's episodes together, and McNemar's test of it against every method before it: JSON-ready.

    A pair is one start played by the i-th training seed of either method. The intervals are of these trained policies; how
    much another training would differ is seen in ``rates``, one a training seed.
    """
    named = arms_of_methods([result.arm for result in results])
    success = {name: np.concatenate([results[at].episodes.success for at in positions]) for name, positions in named.items()}
    methods: list[dict[str, Any]] = []
    for name, positions in named.items():
        methods.append(
            {
                "name": name,
                "arms": [results[at].arm.name for at in positions],
                "rates": [float(results[at].episodes.success.mean()) for at in positions],
                "success": vars(wilson(int(success[name].sum()), len(success[name]))),
                "against": {before["name"]: vars(mcnemar(success[before["name"]], success[name])) for before in methods},
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
