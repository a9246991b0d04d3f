"""``robolearn evaluate``: arms compared on the same initial states and the same policy noise, with intervals and exact tests."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.checkpoint import open_checkpoint
from robolearn.config import accepted_arguments, find_target, instantiate, make_environment, to_dict
from robolearn.errors import UserError, nearest
from robolearn.learning.comparison import Arm, ArmResult, as_text, read_episodes, summarize, write_episodes
from robolearn.learning.rollout import rollout
from robolearn.progress import Progress
from robolearn.protocols import Observation, Policy
from robolearn.report import build_report
from robolearn.run import Run, start_run, write_json
from robolearn.seeding import SPLITS, split_seeds
from robolearn.video import Clip, film, why_no_pictures, write_clips

EPISODES = "episodes.csv"
RESULTS = "results.json"
LATENCY_DECISIONS = 60


def main(cfg: DictConfig) -> int:
    """``robolearn evaluate``.

    Raises:
        UserError: no arms, two of one name, a checkpoint that is missing or does not fit the task, an unknown seed split.
    """
    options = to_dict(cfg)
    arms = read_arms(options["arms"])
    if cfg.split not in SPLITS:
        raise UserError(f"no seed split {cfg.split!r}; there are {', '.join(SPLITS)}{nearest(str(cfg.split), SPLITS)}")
    if int(cfg.n) < 1:
        raise UserError(f"n is the number of episodes an arm, at least 1; got {cfg.n}")
    seeds = split_seeds(cfg.split, int(cfg.n), int(cfg.first_seed))
    env = make_environment(cfg.task, num_envs=max(1, min(int(cfg.num_envs), len(seeds))))
    try:
        check_arms(arms, env.env_spec, options["policy"])
        with start_run(cfg, "evaluate", env.env_spec.task, log=False) as run:
            results = [play_arm(cfg, arm, env, seeds, run) for arm in arms]
            document = summarize(results, env.env_spec.stages, {"task": env.env_spec.task, "split": cfg.split, "n": len(seeds)})
            write_episodes(run.dir / EPISODES, results, env.env_spec.stages)
            clips, document["videos_note"] = make_clips(cfg, results, run)
            write_json(run.dir / RESULTS, document)
            build_report(run.dir / "report.html", document, [run.dir, *map(Path, options["runs"])], clips, title=str(cfg.title or ""))
            run.finish(document)
    finally:
        env.close()
    print(json.dumps(document) if cfg.json else f"{as_text(document)}\nreport: {run.dir / 'report.html'}")
    return 0


def read_arms(nodes: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """Arms from ``[{name: ..., checkpoint: ..., ...}, ...]``; a missing name is made from the checkpoint's path.

    Raises:
        UserError: none, one without a checkpoint, or a name used twice.
    """
    if not nodes:
        raise UserError(
            "give the policies to compare: 'arms=[{name: base, checkpoint: PATH}, ...]'; the first is what the others are tested against"
        )
    arms: list[Arm] = []
    for node in nodes:
        if not isinstance(node, Mapping) or not node.get("checkpoint"):
            raise UserError(f"an arm is {{name: ..., checkpoint: PATH, ...}}; this one names no checkpoint: {node}")
        options = {key: value for key, value in node.items() if key != "name"}
        arms.append(Arm(str(node.get("name") or Path(str(node["checkpoint"])).name), options))
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"two arms are called {', '.join(twice)}; give each a name of its own")
    return arms


def check_arms(arms: Sequence[Arm], env_spec: Any, policy: Mapping[str, Any]) -> None:
    """Open every checkpoint of every arm and hold its spec against the environment's, before anything runs.

    Raises:
        UserError: a checkpoint is missing or does not fit, or an option that the ``policy`` node's target does not take.
    """
    known = accepted_arguments(find_target(policy["_target_"]))
    for arm in arms:
        for key in arm.options:
            if known is not None and key not in known:
                raise UserError(f"arm {arm.name!r} has an unknown option {key!r}{nearest(key, known)}; there are {', '.join(known)}")
        for name in ("checkpoint", "critic"):
            if arm.options.get(name):
                checkpoint = open_checkpoint(str(arm.options[name]))
                keys = _read_keys(checkpoint.config)
                try:
                    env_spec.check_serves(checkpoint.env_spec, keys)
                except UserError as error:
                    raise UserError(f"arm {arm.name!r}, {name} {arm.options[name]}: {error}") from error


def _read_keys(config: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Observations a saved model reads, its nested base's among them; None where its config does not say."""
    nested = [_read_keys(value) for value in config.values() if isinstance(value, Mapping) and "_target_" in value]
    own = config.get("observation_keys")
    if own is None and not nested:
        return None
    return tuple(dict.fromkeys([*(own or ()), *(name for keys in nested for name in keys or ())]))


def play_arm(cfg: DictConfig, arm: Arm, env: Any, seeds: NDArray[np.int64], run: Run) -> ArmResult:
    """Play one arm on all seeds; an arm that a resumed run finds finished is not played again."""
    file = run.dir / "arms" / f"{safe_name(arm.name)}.csv"
    done = _finished_arm(arm, file, seeds, env.env_spec.stages)
    if done:
        return done
    policy: Policy = instantiate(cfg.policy, **arm.options, num_envs=env.num_envs)
    begun = time.monotonic()
    with Progress(arm.name, len(seeds)) as bar:
        episodes = rollout(env, policy, seeds, progress=lambda count, total: bar.advance(count - bar.done))
    minutes = (time.monotonic() - begun) / 60
    steering = _steering_statistics(policy)
    result = ArmResult(arm, episodes, decision_latency(cfg, arm, env), steering, minutes)
    file.parent.mkdir(exist_ok=True)
    write_episodes(file, [result], env.env_spec.stages)
    side = {"options": arm.options, "latency_ms": result.latency_ms, "steering": steering, "minutes": minutes}
    write_json(file.with_suffix(".json"), side)  # last: an arm is finished when this is there
    return result


def _finished_arm(arm: Arm, file: Path, seeds: NDArray[np.int64], stages: Sequence[str]) -> ArmResult | None:
    """What an interrupted run left of an arm, if it is whole and the same arm on the same seeds."""
    side = file.with_suffix(".json")
    if not side.is_file():
        return None
    about, episodes = json.loads(side.read_text()), read_episodes(file, stages)
    if about.pop("options") != dict(arm.options) or not np.array_equal(episodes.seeds, seeds):
        return None
    return ArmResult(arm, episodes, **about)


def _steering_statistics(policy: Any) -> dict[str, float]:
    """Statistics of the steered sampler within a policy, through residual and chunking; empty where nothing was scored."""
    for name in ("base", "sampler"):
        policy = policy if hasattr(policy, "statistics") else getattr(policy, name, policy)
    statistics: dict[str, float] = getattr(policy, "statistics", {})
    return dict(statistics) if statistics.get("decisions") else {}


def decision_latency(cfg: DictConfig, arm: Arm, env: Any) -> dict[str, float]:
    """Milliseconds that a decision (observation in, chunk drawn, first action out) takes for one robot: p50 and p99."""
    policy: Policy = instantiate(cfg.policy, **arm.options, num_envs=1)
    observation: Observation = {name: np.zeros((1, *spec.shape), spec.dtype) for name, spec in env.env_spec.observation.items()}
    taken = []
    for number in range(LATENCY_DECISIONS + 10):
        policy.reset(np.ones(1, bool), np.array([number]))
        begun = time.perf_counter()
        policy.act(observation)
        taken.append(1000 * (time.perf_counter() - begun))
    p50, p99 = np.quantile(taken[10:], [0.5, 0.99])  # the first few warm caches up
    return {"p50": float(p50), "p99": float(p99)}


def make_clips(cfg: DictConfig, results: Sequence[ArmResult], run: Run) -> tuple[list[Clip], str]:
    """Film a few successes and failures of every arm from their seeds; the note says why there is none, or nothing."""
    if int(cfg.videos) < 1:
        return [], "none asked for (videos=0)"
    clips: list[Clip] = []
    for result in results:
        played = result.episodes
        chosen = np.concatenate([played.seeds[played.success == solved][: int(cfg.videos)] for solved in (True, False)])
        env = make_environment(cfg.task, num_envs=max(1, min(4, len(chosen))))
        try:
            trouble = why_no_pictures(env)
            if trouble:
                return [], f"no videos: this machine cannot draw ({trouble}); `robolearn doctor` says what is missing"
            policy: Policy = instantiate(cfg.policy, **result.arm.options, num_envs=env.num_envs)
            clips += film(env, policy, chosen, run.videos, result.arm.name)
        finally:
            env.close()
    write_clips(run.videos, clips)
    return clips, ""


def safe_name(name: str) -> str:
    """An arm's name as a file name."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)
