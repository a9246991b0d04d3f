"""``robolearn augment infer``: JUICER's collect-and-infer (Ankile et al. 2024, section IV): successes of a policy teach the next one."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from robolearn.config import OVERRIDES, option_value
from robolearn.demo import PLACE, Stage, play
from robolearn.errors import UserError
from robolearn.nodes import to_dict
from robolearn.run import read_result, start_run

LAST = "policy"


def main(cfg: DictConfig) -> int:
    """``robolearn augment infer``: each stage is a command of its own; what is done is not done again with ``resume=true``.

    Raises:
        UserError: a stage failed, or a count is below 1.
    """
    options = to_dict(cfg)
    for name in ("rounds", "episodes"):
        if type(options[name]) is not int or options[name] < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {options[name]!r}")
    scale = [word for word in options.get(OVERRIDES, []) if word.lstrip("+~").startswith("scale")]
    with start_run(cfg, "augment infer", log=False) as run:
        minutes = {stage.name: play(stage, run, quiet=bool(cfg.json)) for stage in stages_of(options, scale)}
        outcome = {"minutes": minutes, "total_minutes": sum(minutes.values()), "policy": str(run.dir / LAST)}
        run.finish(outcome)
    if cfg.json:
        print(json.dumps(outcome))
    else:
        loss = (read_result(run.dir / LAST) or {}).get("validation_loss")
        print(f"{outcome['policy']}: after {options['rounds']} rounds, {outcome['total_minutes']:.1f} min, validation loss {loss}")
    return 0


def stages_of(options: Mapping[str, Any], scale: Sequence[str] = ()) -> list[Stage]:
    """Train on what there is, roll out, keep the successes; so for every round, and train on everything at last.

    Args:
        options: of the command.
        scale: words that say on what the roll-outs are played.
    """
    given = [options["stores"]] if isinstance(options["stores"], str) else list(options["stores"])
    stores = [option_value(store) for store in given]
    attempts = int(options["max_attempts"] or 10 * options["episodes"])
    stages = []
    for number in range(options["rounds"]):
        folder = f"{PLACE}/round_{number}"
        stages.append(_training(f"policy of round {number}", f"round_{number}/policy", stores, options))
        stages.append(
            Stage(
                f"rollouts of round {number}",
                "collect",
                f"round_{number}/rollouts.zarr",
                (
                    f"task={options['task']}",
                    "source=policy",
                    f"checkpoint={folder}/policy",
                    "keep=successes",
                    f"episodes={options['episodes']}",
                    f"max_attempts={attempts}",
                    "at_least=0",
                    f"first_seed={int(options['first_seed']) + number * attempts}",
                    f"store={folder}/rollouts.zarr",
                    *scale,
                    *options["collect"],
                ),
            )
        )
        stores = [*stores, f"{folder}/rollouts.zarr"]
    return [*stages, _training("last policy", LAST, stores, options)]


def _training(name: str, makes: str, stores: list[str], options: Mapping[str, Any]) -> Stage:
    words = (f"task={options['task']}", f"store=[{','.join(stores)}]", f"out={PLACE}/{makes}", *options["train"])
    return Stage(name, "train", makes, words)
