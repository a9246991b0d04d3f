"""report.html: one self-contained page of an evaluation and the runs behind it (tables, curves, calibration, videos)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from statistics import fmean
from typing import Any

from omegaconf import DictConfig

from robolearn import plots
from robolearn.errors import UserError, reading
from robolearn.logger import read_metrics
from robolearn.pages import how_made, render
from robolearn.plots import Panel
from robolearn.robot_report import build_robot_report
from robolearn.robot_run import is_robot_run
from robolearn.run import check_run, read_json, read_result, versions, write_whole
from robolearn.seeding import SPLIT_SIZE
from robolearn.video import CLIPS, Clip, read_clips

MAX_PANELS = 4
# What a run's curves show, most telling first; a run shows the first few of these that it logged.
TELLING = {
    "eval/success": "success on search seeds",
    "search/success": "success on search seeds",
    "train/success": "success while training",
    "success": "success",
    "loss": "loss",
    "train/loss": "training loss",
    "held_out/loss": "held-out loss",
    "validation/loss": "held-out loss",
    "held_out/auc": "held-out AUC",
    "held_out/branch_order": "branches in order",
    "held_out/calibration_error": "calibration error",
}
ENV_SPEED = "time/env_steps_per_s"


def main(cfg: DictConfig) -> int:
    """``robolearn report``: a page of runs that are done, or of one run on a robot.

    Raises:
        UserError: a folder is no run, none holds an evaluation, or the page exists.
    """
    folders = [Path(folder) for folder in ([cfg.runs] if isinstance(cfg.runs, str) else cfg.runs)]
    if Path(cfg.out).exists() and not cfg.overwrite:
        raise UserError(f"{cfg.out} exists; give another out=, or overwrite=true")
    for folder in folders:
        check_run(folder)
    robots = [folder for folder in folders if is_robot_run(folder)]
    if robots:
        if len(folders) > 1:
            raise UserError(f"{robots[0]} is a run on a robot, which has a page of its own; give it alone in runs=")
        build_robot_report(Path(cfg.out), robots[0], title=str(cfg.title or ""))
        print(cfg.out)
        return 0
    evaluated = [folder for folder in folders if (folder / "results.json").is_file()]
    if not evaluated:
        raise UserError("no run holds an evaluation; give the folder of a `robolearn evaluate` in runs=[...]")
    document = read_evaluation(evaluated[0] / "results.json")
    build_report(Path(cfg.out), document, folders, read_clips(evaluated[0] / "videos" / CLIPS), title=str(cfg.title or ""))
    print(cfg.out)
    return 0


def build_report(out: Path, evaluation: Mapping[str, Any], runs: Sequence[Path], videos: Sequence[Clip] = (), *, title: str = "") -> Path:
    """Write the page; everything it shows is inside it.

    Args:
        out: the file.
        evaluation: what ``robolearn evaluate`` writes into ``results.json``.
        runs: run folders whose curves, calibration, configs and versions it shows; what a folder lacks is left out.
        videos: clips, shown by arm.
        title: heading; made from the task unless given.
    """
    methods = [dict(method, colour=plots.colour(position)) for position, method in enumerate(evaluation.get("methods", []))]
    of_method = {name: method["colour"] for method in methods for name in method["arms"]}
    arms = [dict(arm, colour=of_method.get(arm["name"], plots.colour(position))) for position, arm in enumerate(evaluation["arms"])]
    told = [told_run for folder in runs if (told_run := tell_run(Path(folder)))]
    out.parent.mkdir(parents=True, exist_ok=True)
    text = render(
        "report.html",
        title=title or f"Evaluation on {evaluation['task']}",
        evaluation=evaluation,
        arms=arms,
        methods=methods,
        verdict=verdict(evaluation),
        forest=plots.forest(arms),
        stages=plots.stage_funnel(_with_stages(methods, arms) or arms) if arms[0]["stages"] else "",
        runs=told,
        videos=[_video(clip) for clip in videos],
        made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
        versions=versions(),
    )
    write_whole(out, text)
    return out


def read_evaluation(file: Path) -> dict[str, Any]:
    """What ``robolearn evaluate`` wrote into its ``results.json``.

    Raises:
        UserError: the file is torn, or holds something else.
    """
    document = read_json(file)
    with reading(file):
        wanted = {name: document[name] for name in ("task", "split", "n", "arms")}
        if not wanted["arms"]:
            raise UserError(f"{file} names no arms; evaluate again")
        for arm in wanted["arms"]:
            _ = arm["name"], arm["success"]["rate"], arm["against_first"], arm["stages"], arm["steps"], arm["options"]
        for method in document.get("methods", []):
            _ = (
                method["name"],
                method["success"]["rate"],
                method["rates"],
                method["arms"],
                [test["p_value"] for test in method["against"].values()],
            )
    return document


def verdict(evaluation: Mapping[str, Any]) -> str:
    """The comparison in a sentence: the best method, or arm where none names its method, against the first."""
    first, *others = evaluation.get("methods") or evaluation["arms"]
    if not others:
        return f"{first['name']} solves {100 * first['success']['rate']:.1f} % of {evaluation['n']} episodes."
    best = max(others, key=lambda arm: arm["success"]["rate"])
    paired = best["against_first"] if "against_first" in best else best["against"][first["name"]]
    seeds = f", {len(best['rates'])} training seeds ({_percents(best)}; {_percents(first)})" if "rates" in best else ""
    return (
        f"{best['name']} solves {100 * best['success']['rate']:.1f} % of {evaluation['n']} episodes, {first['name']} "
        f"{100 * first['success']['rate']:.1f} % of the same{seeds}: {100 * paired['difference']:+.1f} points "
        f"[{100 * paired['low']:+.1f}, {100 * paired['high']:+.1f}], p = {paired['p_value']:.2g}."
    )


def _with_stages(methods: Sequence[Mapping[str, Any]], arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Methods with the mean of their arms' stages."""
    reached = {arm["name"]: arm["stages"] for arm in arms}
    return [
        {**method, "stages": {stage: fmean(reached[name][stage] for name in method["arms"]) for stage in arms[0]["stages"]}}
        for method in methods
    ]


def _percents(method: Mapping[str, Any]) -> str:
    return ", ".join(f"{100 * rate:.1f}" for rate in method["rates"])


def tell_run(folder: Path) -> dict[str, Any] | None:
    """What the page says of a run: its curves, calibration, config, versions and command; None where there is nothing."""
    if not folder.is_dir():
        return None
    panels = run_curves(folder)
    tables = run_calibration(folder)
    drawn = {"curves": plots.curves(panels) if panels else "", "calibration": plots.calibration(tables) if tables else ""}
    return {**how_made(folder), **drawn}


def run_curves(folder: Path) -> list[Panel]:
    """The telling curves of a run, a line for each training seed."""
    logs = [lines for file in [folder / "metrics.jsonl", *sorted(folder.glob("seed_*/metrics.jsonl"))] if (lines := timed_metrics(file))]
    played = any(ENV_SPEED in line for lines in logs for line in lines)
    panels = []
    for name, title in TELLING.items():
        if any(line.get(name) is not None for lines in logs for line in lines):
            panels.append(Panel(title, "environment steps" if played else "gradient steps", [_line(lines, name) for lines in logs]))
            if name == "eval/success" and played:
                panels.append(Panel(f"{title}, by time", "minutes", [_line(lines, name, "minutes") for lines in logs]))
    return panels[:MAX_PANELS]


def _line(lines: Sequence[Mapping[str, Any]], name: str, by: str = "step") -> tuple[list[float], list[float]]:
    kept = [(float(line[by]), float(line[name])) for line in lines if line.get(name) is not None]
    return [x for x, _ in kept], [y for _, y in kept]


def timed_metrics(file: Path) -> list[dict[str, Any]]:
    """Lines of a ``metrics.jsonl`` with the wall-clock ``minutes`` at each, from the logged speed and evaluation times; none without it."""
    lines: list[dict[str, Any]] = [dict(line) for line in read_metrics(file)] if file.is_file() else []
    now, before = 0.0, 0.0
    for line in lines:
        speed = line.get(ENV_SPEED)
        now += ((line["step"] - before) / speed if speed else 0.0) + (line.get("time/eval") or 0.0)
        before, line["minutes"] = line["step"], now / 60
    return lines


def run_calibration(folder: Path) -> dict[str, Any]:
    """Reliability tables of a critic's run, ``{"seed 0": rows}``; empty for other runs."""
    result = read_result(folder) or {}
    seeds = result.get("seeds")
    if not isinstance(seeds, Mapping):
        return {}
    return {
        f"seed {seed}": entry["reliability"] for seed, entry in seeds.items() if isinstance(entry, Mapping) and entry.get("reliability")
    }


def _video(clip: Clip) -> dict[str, Any]:
    data = base64.b64encode(clip.path.read_bytes()).decode()
    return {"arm": clip.arm, "start": clip.seed % SPLIT_SIZE, "success": clip.success, "steps": clip.steps, "data": data}
