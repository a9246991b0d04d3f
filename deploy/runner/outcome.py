"""What a run leaves in its folder: how each episode went, how punctual it was, what the robot did."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from robolearn.deploy.cadence import Cadence
from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.episodes import Result
from robolearn.deploy.trace import Trace
from robolearn.run import Run, write_json


def finish_run(
    run: Run, robot: Robot, results: Sequence[Result], cadence: Cadence, trace: Trace, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Write ``cadence.json``, ``trace.npz``, ``episodes.json`` and the run's result; the result, with ``text`` for people."""
    write_json(run.dir / "cadence.json", cadence.summary())
    np.savez_compressed(run.dir / "trace.npz", **trace.arrays())
    np.savez_compressed(run.dir / "cadence.npz", **cadence.arrays())
    episodes = [vars(result) for result in results]
    judged = [result for result in results if result.success is not None]
    won = sum(bool(result.success) for result in judged)
    text = (
        f"{robot.name}: {won} of {len(judged)} episodes succeeded" if judged else f"{robot.name}: {len(results)} episodes, none was judged"
    )
    document = {**about, "episodes": episodes, "successes": won, "judged": len(judged), "cadence": cadence.summary(), "text": text}
    write_json(run.dir / "run.json", document)
    run.finish({key: value for key, value in document.items() if key not in ("text",)})
    return document
