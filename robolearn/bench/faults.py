"""The fault table: what a robot does when something goes wrong, fault by fault, and what adversarial targets break; also as a JSON file."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robolearn.bench.figures import Figure
from robolearn.errors import UserError
from robolearn.nodes import find_target
from robolearn.run import versions, write_whole


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """Seconds until each drill's robot stands, and counts of what broke; all of it goes to ``faults.out``.

    Raises:
        UserError: a drill went otherwise than it has to; the table says how.
    """
    chosen = options["faults"]
    rows = []
    for row in find_target(chosen["drills"])(list(chosen["names"])):
        rows.append(row)
        print(f"{'as wanted' if row.ok else 'NOT AS WANTED'}: {row.fault}: {row.did}", file=sys.stderr, flush=True)
        if row.standstill_s is not None:
            yield Figure(f"faults/{row.fault}", row.standstill_s, "s", 1)
    told = [row.to_dict() for row in rows]
    document: dict[str, Any] = {"faults": told, "versions": versions()}
    if chosen["vectors"]:
        document["adversarial"] = dict(find_target(chosen["adversary"])(int(chosen["vectors"])))
        for name in ("limit_violations", "discontinuity_faults"):
            yield Figure(f"faults/adversarial_{name}", float(document["adversarial"][name]), "", int(chosen["vectors"]))
    if chosen["out"]:
        write_whole(Path(chosen["out"]), json.dumps(document, indent=1) + "\n")
    yield Figure("faults/as_wanted", float(sum(row.ok for row in rows)), "drills", len(rows))
    wrong = [row.fault for row in rows if not row.ok]
    if wrong:
        raise UserError(f"not as wanted: {'; '.join(wrong)}")
