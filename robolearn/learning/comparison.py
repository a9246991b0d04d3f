"""What a comparison of arms comes to: rates with intervals, paired tests, and a row for every episode."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, reading
from robolearn.learning.rollout import RolloutResult
from robolearn.run import safe_name
from robolearn.significance import mcnemar, wilson


@dataclass(frozen=True)
class Arm:
    """One policy of a comparison: a name, what :func:`load_policy` needs to make it, and the method it is one training seed of, if any."""

    name: str
    options: Mapping[str, Any]
    method: str | None = None


@dataclass(frozen=True)
class ArmResult:
    """What an arm did.

    Args:
        arm: the policy.
        episodes: one entry per seed.
        latency_ms: p50 and p99 of a decision for one robot [ms].
        steering: means over the decisions of a steered arm, else empty.
        minutes: wall-clock time of the episodes.
    """

    arm: Arm
    episodes: RolloutResult
    latency_ms: Mapping[str, float] = field(default_factory=dict)
    steering: Mapping[str, float] = field(default_factory=dict)
    minutes: float = 0.0


def summarize(results: Sequence[ArmResult], stages: Sequence[str], about: Mapping[str, Any]) -> dict[str, Any]:
    """Rates with Wilson intervals, exact McNemar tests against the first arm, stages and lengths: JSON-ready."""
    first = results[0].episodes
    arms = []
    for position, result in enumerate(results):
        episodes = result.episodes
        rate = wilson(int(episodes.success.sum()), len(episodes.success))
        paired = vars(mcnemar(first.success, episodes.success)) if position else None
        solved = episodes.steps[episodes.success]
        arms.append(
            {
                "name": result.arm.name,
                "options": dict(result.arm.options),
                "success": vars(rate),
                "against_first": paired,
                "stages": {name: float(share) for name, share in zip(stages, episodes.stages.mean(0), strict=True)},
                "steps": {"mean": float(episodes.steps.mean()), "solved": float(solved.mean()) if len(solved) else None},
                "lost": dict(Counter(episodes.lost.values())),
                "reward": float(episodes.rewards.mean()),
                "env_steps": int(episodes.steps.sum()),
                "latency_ms": dict(result.latency_ms),
                "steering": dict(result.steering),
                "minutes": result.minutes,
            }
        )
    return {**about, "arms": arms}


def as_text(document: Mapping[str, Any]) -> str:
    """The comparison as a table for the terminal."""
    width = max(len(arm["name"]) for arm in document["arms"])
    lines = [f"{document['task']}, {document['n']} episodes an arm on the same starts ({document['split']} seeds)"]
    for arm in document["arms"]:
        success, paired = arm["success"], arm["against_first"]
        text = f"{arm['name']:<{width}}  {100 * success['rate']:5.1f} % [{100 * success['low']:.1f}, {100 * success['high']:.1f}]"
        if paired:
            text += (
                f"  {100 * paired['difference']:+5.1f} pp, p = {paired['p_value']:.2g} ({paired['gained']} gained, {paired['lost']} lost)"
            )
        lines.append(f"{text}  {arm['steps']['mean']:.0f} steps, {arm['latency_ms'].get('p50', float('nan')):.1f} ms a decision")
        lines += [f"{'':<{width}}  {count} lost: {reason}" for reason, count in arm["lost"].items()]
    return "\n".join(lines)


def write_episodes(file: Path, results: Sequence[ArmResult], stages: Sequence[str]) -> None:
    """One CSV row per episode: arm, seed, success, steps, reward, why it was lost if it was, and a column per stage."""
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["arm", "seed", "success", "steps", "reward", "lost", *stages])
        for result in results:
            played = result.episodes
            columns = zip(played.seeds, played.success, played.steps, played.rewards, played.stages, strict=True)
            for index, (seed, success, steps, reward, reached) in enumerate(columns):
                outcome = [int(seed), int(success), int(steps), repr(float(reward)), played.lost.get(index, "")]
                table.writerow([result.arm.name, *outcome, *reached.astype(int)])


def read_episodes(file: Path, stages: Sequence[str]) -> RolloutResult:
    """The inverse of :func:`write_episodes` for a file of one arm."""
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    return RolloutResult(
        seeds=np.array([int(row["seed"]) for row in rows], np.int64),
        success=np.array([row["success"] == "1" for row in rows]),
        steps=np.array([int(row["steps"]) for row in rows], np.int64),
        stages=np.array([[row[name] == "1" for name in stages] for row in rows], bool).reshape(len(rows), len(stages)),
        rewards=np.array([float(row["reward"]) for row in rows]),
        lost={index: row["lost"] for index, row in enumerate(rows) if row.get("lost")},
    )


def read_arm(folder: Path, arm: str, seeds: NDArray[np.int64], stages: Sequence[str], name: str | None = None) -> ArmResult:
    """What an arm of a finished ``robolearn evaluate`` did on ``seeds (n,)``, called ``name``.

    Raises:
        UserError: there is no such arm, or it did not play one of the seeds.
    """
    file = folder / "arms" / f"{safe_name(arm)}.csv"
    if not file.is_file():
        there = sorted(entry.stem for entry in folder.glob("arms/*.csv"))
        raise UserError(f"{folder} has no arm {arm!r}; it has {', '.join(there) or 'none: is it a folder of robolearn evaluate?'}")
    with reading(file):
        played = read_episodes(file, stages)
    places = {int(seed): place for place, seed in enumerate(played.seeds)}
    missing = [int(seed) for seed in seeds if int(seed) not in places]
    if missing:
        raise UserError(f"arm {arm!r} of {folder} did not play seed {missing[0]}; evaluate with as many episodes n and the same first_seed")
    rows = np.array([places[int(seed)] for seed in seeds], np.int64)
    lost = {index: played.lost[int(row)] for index, row in enumerate(rows) if int(row) in played.lost}
    columns = {field: getattr(played, field)[rows] for field in ("seeds", "success", "steps", "stages", "rewards")}
    return ArmResult(Arm(name or arm, {}), RolloutResult(**columns, lost=lost))
