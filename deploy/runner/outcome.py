"""What a run leaves in its folder: how each episode went, how punctual it was, what the robot did."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from robolearn.deploy.runner.episodes import Result
from robolearn.run import write_json

EPISODES, RESULTS = "episodes.csv", "results.json"


def write_results(folder: Path, results: Sequence[Result], stages: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """Write ``episodes.csv``, a row an episode, and ``results.json``; the latter's content.

    Args:
        folder: the run's.
        results: in the order played.
        stages: names of the task's, in order.
        about: what ran, JSON-ready.
    """
    with (folder / EPISODES).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "success", "steps", "reason", *stages])
        for result in results:
            success = "" if result.success is None else int(result.success)
            reached = [int(result.stages[stage]) if stage in result.stages else "" for stage in stages]
            writer.writerow([result.seed, success, result.steps, result.reason, *reached])
    judged = [result for result in results if result.success is not None]
    document = {
        **about,
        "successes": sum(bool(result.success) for result in judged),
        "judged": len(judged),
        "episodes": [asdict(result) for result in results],
    }
    write_json(folder / RESULTS, document)
    return document


def as_text(document: Mapping[str, Any], folder: Path) -> str:
    """The same for people, with how to see more."""
    played, judged = len(document["episodes"]), document["judged"]
    told = f"{document['successes']} of {judged} episodes succeeded" if judged else f"{played} episodes, none was judged"
    faults = sum(episode["reason"].startswith("fault") for episode in document["episodes"])
    also = f", {faults} ended by a fault" if faults else ""
    return f"{document['robot']}: {told}{also}\n{folder}: `robolearn report runs=[{folder}]` draws it"
