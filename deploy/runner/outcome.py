"""What a run's episodes came to, in the words of `robolearn evaluate`, and beside what the same policy does in simulation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.deploy.runner.episodes import Result
from robolearn.errors import UserError
from robolearn.run import write_json

RESULTS, EPISODES = "results.json", "episodes.csv"
ROBOT, SIMULATION = "robot", "simulation"


def write_results(
    folder: Path,
    results: Sequence[Result],
    stages: Sequence[str],
    about: Mapping[str, Any],
    beside: tuple[Path, str] | None = None,
    lost: Sequence[str] = (),
) -> dict[str, Any]:
    """Write ``results.json`` and ``episodes.csv``; the former's content.

    Args:
        folder: the run's.
        results: in the order played; those that nobody judged count for nothing.
        stages: names of the task's, in order.
        about: what ran, JSON-ready.
        beside: folder of a ``robolearn evaluate`` and the name of its arm, whose episodes of the same seeds are compared with.
        lost: a line for each episode that was played but could not be recorded.

    Raises:
        UserError: the evaluation has no such arm, or not played a seed.
    """
    judged = [result for result in results if result.success is not None]
    document = {**about, "episodes": [asdict(result) for result in results], "lost_recordings": list(lost), "n": len(judged), "arms": []}
    if judged:
        try:
            from robolearn.learning.comparison import ArmResult, read_arm, summarize, write_episodes
        except ModuleNotFoundError:  # a robot's computer without scipy: `robolearn report` does it elsewhere
            document["successes"] = sum(bool(result.success) for result in judged)
        else:
            here = _arm(judged, stages, about)
            arms: list[ArmResult] = [here] if beside is None else [read_arm(*beside, here.episodes.seeds, stages, SIMULATION), here]
            document |= summarize(arms, stages, {})
            write_episodes(folder / EPISODES, arms, stages)
    write_json(folder / RESULTS, document)
    return document


def check_beside(options: Mapping[str, Any], seeds: Sequence[int], stages: Sequence[str]) -> tuple[Path, str] | None:
    """What to compare with, as ``beside`` and ``arm`` say; that it is there is found before anything moves.

    Raises:
        UserError: one without the other, or see :func:`write_results`.
    """
    if bool(options["beside"]) != bool(options["arm"]):
        raise UserError("beside=<folder of robolearn evaluate> and arm=<the arm's name there> belong together")
    if not options["beside"]:
        return None
    from robolearn.learning.comparison import read_arm

    place = Path(str(options["beside"])), str(options["arm"])
    read_arm(*place, np.array(seeds, np.int64), stages, SIMULATION)
    return place


def as_text(document: Mapping[str, Any], folder: Path) -> str:
    """The same for people, with how to see more."""
    lines = []
    for arm in document["arms"]:
        rate, paired = arm["success"], arm["against_first"]
        low, high = 100 * rate["low"], 100 * rate["high"]
        line = f"{arm['name']}: {rate['successes']} of {rate['trials']}, {100 * rate['rate']:.1f} % [{low:.1f}, {high:.1f}]"
        if paired:
            line += f"; {100 * paired['difference']:+.1f} pp against simulation (McNemar p = {paired['p_value']:.2g})"
        lines.append(line)
    if not lines:
        lines.append(f"{document['robot']}: {len(document['episodes'])} episodes, none was judged")
    faults = sum(episode["reason"].startswith("fault") for episode in document["episodes"])
    lines += [f"{faults} episodes ended by a fault"] if faults else []
    return "\n".join([*lines, f"{folder}: `robolearn report runs=[{folder}]` draws it"])


def _arm(results: Sequence[Result], stages: Sequence[str], about: Mapping[str, Any]) -> Any:
    from robolearn.learning.comparison import Arm, ArmResult
    from robolearn.learning.rollout import RolloutResult

    reached = np.array([[bool(result.stages.get(stage)) for stage in stages] for result in results], bool)
    played = RolloutResult(
        seeds=np.array([result.seed for result in results], np.int64),
        success=np.array([bool(result.success) for result in results]),
        steps=np.array([result.steps for result in results], np.int64),
        stages=reached.reshape(len(results), len(stages)),
        rewards=np.zeros(len(results)),
        lost={index: result.reason for index, result in enumerate(results) if result.reason not in ("", "time limit")},
    )
    return ArmResult(Arm(ROBOT, dict(about)), played)
