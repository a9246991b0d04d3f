"""All drills, in the order of the fault table, and what it says of them together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from robolearn.deploy.drills import network, operators, policies, processes, recorders, robots, vectors
from robolearn.deploy.drills.drill import Row
from robolearn.errors import UserError, nearest


def all_drills() -> list[Any]:
    """Each with ``name``, ``fault`` and ``run() -> Row``."""
    return [*network.DRILLS, *robots.DRILLS, *operators.DRILLS, *policies.DRILLS, *recorders.DRILLS, *processes.DRILLS]


def rows(names: Sequence[str] = ()) -> Iterator[Row]:
    """Do the drills, or those of these names.

    Raises:
        UserError: no drill of a name.
    """
    names = [str(name) for name in names]  # YAML reads nan as a number
    known = {drill.name: drill for drill in all_drills()}
    for name in names:
        if name not in known:
            raise UserError(f"no drill {name!r}; there are {', '.join(known)}{nearest(name, known)}")
    for name in names or known:
        yield known[name].run()


def adversarial(count: int) -> Mapping[str, Any]:
    """``count`` adversarial targets from generator to guard; see :func:`robolearn.deploy.drills.vectors.play`."""
    return vectors.play(count)
