"""What a recipe's run came to, as one small JSON file to keep and a picture of its curves: commands, versions, seeds, figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robolearn import plots
from robolearn.config import read_config, verb_of
from robolearn.errors import UserError
from robolearn.report import read_evaluation, run_curves, timed_metrics
from robolearn.run import CONFIG, go_on, is_run, read_json, read_result, write_whole


def main(cfg: DictConfig) -> int:
    """``robolearn results``: see ``conf/results.yaml``.

    Raises:
        UserError: the folder is no finished demo or recipe run, one of its files is torn, or the file exists.
    """
    run, out = Path(cfg.run), Path(cfg.out)
    picture = out.with_suffix(".svg")
    for file in (out, picture):
        if file.exists() and not cfg.overwrite:
            raise UserError(f"{file} exists; give another out=, or overwrite=true")
    document = summarize(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, json.dumps(document, indent=1) + "\n")
    panels = [panel for name in document["training"] for panel in run_curves(run / name)[:2]]
    if panels:
        write_whole(picture, plots.standalone(plots.curves(panels)))
    for name, comparison in document["comparisons"].items():
        print(f"{out}: {name}: " + ", ".join(f"{arm['name']} {100 * arm['success']['rate']:.1f} %" for arm in comparison["arms"]))
    return 0


def summarize(run: Path) -> dict[str, Any]:
    """Figures of a finished ``robolearn demo [recipe=...]`` in the folder ``run``.

    Raises:
        UserError: no versions or no evaluation are there.
    """
    if is_run(run) and (verb := verb_of(read_config(run / CONFIG))) not in ("", "demo"):
        raise UserError(f"{run} is a run of `robolearn {verb}`; results are of a `robolearn demo [recipe=...]`")
    versions = run / "versions.json"
    evaluations = sorted(run.glob("*/results.json"), key=lambda file: file.stat().st_mtime)
    if not versions.is_file() or not evaluations:
        raise UserError(f"{run} holds no finished comparison (versions.json and */results.json); run `{go_on('demo', run)}`")
    made = read_json(versions)
    stages = {file.stem: read_json(file) for file in sorted((run / "stages").glob("*.json"))}
    return {
        "command": _without_paths(made.pop("command"), run),
        "date": made.pop("started"),
        "versions": made,
        "minutes": {name: round(stage["minutes"], 2) for name, stage in stages.items()},
        "stages": {name: _without_paths(stage["command"], run) for name, stage in stages.items()},
        "comparisons": {file.parent.name: _comparison(read_evaluation(file), run) for file in evaluations},
        "training": {folder.parent.name: seeds for folder in sorted(run.glob("*/result.json")) if (seeds := _seeds(folder.parent))},
    }


def _comparison(evaluation: Mapping[str, Any], run: Path) -> dict[str, Any]:
    kept = {name: evaluation[name] for name in ("task", "split", "n", "methods") if name in evaluation}
    return kept | {"arms": [_arm(arm, run) for arm in evaluation["arms"]]}


def _arm(arm: Mapping[str, Any], run: Path) -> dict[str, Any]:
    kept = ("name", "success", "against_first", "stages", "steps", "lost", "env_steps", "minutes", "latency_ms", "steering")
    options = {name: _without_paths([str(value)], run)[0] for name, value in arm["options"].items()}
    return {name: arm[name] for name in kept if name in arm} | {"options": options}


def _seeds(folder: Path) -> dict[str, Any]:
    """Outcome and evaluation curve of each training seed of a finetune run; nothing for other runs."""
    records = (read_result(folder) or {}).get("seeds", {})
    return {
        seed: {**record, "curve": _curve(folder / f"seed_{seed}" / "metrics.jsonl")}
        for seed, record in records.items()
        if "base_success" in record
    }


def _curve(metrics: Path) -> list[list[float]]:
    """``[env steps, minutes, success on search seeds]`` of each evaluation along the way."""
    lines = timed_metrics(metrics)
    return [[line["step"], round(line["minutes"], 2), line["eval/success"]] for line in lines if "eval/success" in line]


def _without_paths(words: list[str], run: Path) -> list[str]:
    """Words of a command with the run's folder as ``{run}`` and the program's path cut to its name."""
    told = [word.replace(str(run.resolve()), "{run}").replace(str(run), "{run}") for word in words]
    return [Path(told[0]).name, *told[1:]] if len(told) > 1 else told
