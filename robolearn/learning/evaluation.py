"""``robolearn evaluate``: arms compared on the same initial states and the same policy noise, with intervals and exact tests."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.checkpoint import Checkpoint, open_checkpoint, read_keys
from robolearn.errors import UserError, nearest, reading
from robolearn.learning.comparison import Arm, ArmResult, as_text, read_episodes, summarize, write_episodes
from robolearn.learning.methods import arms_of_methods, methods_as_text, summarize_methods
from robolearn.learning.multitask import take_task
from robolearn.learning.players import Job, Players, check_expert, expert_of, make_players
from robolearn.nodes import accepted_arguments, find_target, instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.protocols import Policy
from robolearn.report import build_report
from robolearn.run import Run, check_run, read_json, safe_name, start_run, write_json
from robolearn.seeding import SPLITS, split_seeds
from robolearn.video import Clip, film, why_no_pictures, write_clips

EPISODES = "episodes.csv"
RESULTS = "results.json"
CHECKPOINTS = ("checkpoint", "critic")  # options of an arm that name one
LATENCY_DECISIONS, LATENCY_SECONDS = 200, 2.0  # a 99th percentile needs many; a slow policy stops at the seconds


def main(cfg: DictConfig) -> int:
    """``robolearn evaluate``.

    Raises:
        UserError: no arms, two of one name, one that cannot be built or does not fit the task, an unknown seed split, a folder among
            ``runs`` that is no run, or a resumed arm that was played in another world.
    """
    options = to_dict(cfg)
    arms = read_arms(options["arms"])
    if cfg.split not in SPLITS:
        raise UserError(f"no seed split {cfg.split!r}; there are {', '.join(SPLITS)}{nearest(str(cfg.split), SPLITS)}")
    if int(cfg.n) < 1:
        raise UserError(f"n is the number of episodes an arm, at least 1; got {cfg.n}")
    for folder in options["runs"]:
        check_run(Path(folder))
    seeds = split_seeds(cfg.split, int(cfg.n), int(cfg.first_seed))
    players = make_players(options.get("scale"))
    env = make_environment(cfg.task, num_envs=min(int(cfg.num_envs), len(seeds)))
    try:
        check_arms(arms, env.env_spec, options)
        with start_run(cfg, "evaluate", env.env_spec.task, log=False) as run:
            origins = [origin(options, arm) for arm in arms]
            done = [finished_arm(arm, run, seeds, env.env_spec.stages, now) for arm, now in zip(arms, origins, strict=True)]
            results = [was or play_arm(cfg, arm, env, players, seeds, run, now) for arm, was, now in zip(arms, done, origins, strict=True)]
            document = summarize(results, env.env_spec.stages, {"task": env.env_spec.task, "split": cfg.split, "n": len(seeds)})
            document |= {"methods": methods} if (methods := summarize_methods(results)) else {}
            write_episodes(run.dir / EPISODES, results, env.env_spec.stages)
            clips, document["videos_note"] = make_clips(cfg, results, run)
            write_json(run.dir / RESULTS, document)
            build_report(run.dir / "report.html", document, [run.dir, *map(Path, options["runs"])], clips, title=str(cfg.title or ""))
            run.finish(document)
    finally:
        players.close()
        env.close()
    told = [as_text(document), *([methods_as_text(methods)] if methods else []), f"report: {run.dir / 'report.html'}"]
    print(json.dumps(document) if cfg.json else "\n".join(told))
    return 0


def read_arms(nodes: Sequence[Mapping[str, Any]]) -> list[Arm]:
    """Arms from ``[{name: ..., checkpoint: ..., ...}, ...]``; a missing name is made from the checkpoint's path.

    ``expert: true`` instead of a checkpoint is the task's own scripted expert.

    Raises:
        UserError: none, one without a checkpoint, two whose names come to the same file, or some of which name a method.
    """
    if not nodes:
        raise UserError(
            "give the policies to compare: 'arms=[{name: base, checkpoint: PATH}, ...]'; the first is what the others are tested against"
        )
    arms: list[Arm] = []
    for node in nodes:
        if not isinstance(node, Mapping) or bool(node.get("checkpoint")) == bool(node.get("expert")):
            raise UserError(f"an arm is {{name: ..., checkpoint: PATH, ...}} or {{name: ..., expert: true}}; this is neither: {node}")
        options = {key: value for key, value in node.items() if key not in ("name", "method")}
        method = None if node.get("method") is None else str(node["method"])
        arms.append(Arm(str(node.get("name") or Path(str(node.get("checkpoint", "expert"))).name), options, method))
    for one, other in combinations([arm.name for arm in arms], 2):
        if safe_name(one) == safe_name(other):
            called = f"are called {one}" if one == other else f"{one!r} and {other!r} would share the files {safe_name(one)}.*"
            raise UserError(f"two arms {called}; give each a name of its own")
    arms_of_methods(arms)
    return arms


def acting(options: Mapping[str, Any], arm: Arm) -> dict[str, Any]:
    """The node of what acts: the ``policy`` node or the task's expert, with the arm's options, without ``num_envs``.

    Raises:
        UserError: the task has no expert.
    """
    is_expert = bool(arm.options.get("expert"))
    node = expert_of(options["task"]) if is_expert else options["policy"]
    unread = ("expert", "checkpoint") if is_expert else ("expert",)
    return {**node, **{name: value for name, value in arm.options.items() if name not in unread}}


def check_arms(arms: Sequence[Arm], env_spec: Any, options: Mapping[str, Any]) -> None:
    """Hold every arm's checkpoints against the environment and build its policy once, before anything runs.

    Raises:
        UserError: a checkpoint or expert is missing or does not fit, or an option that what acts does not take.
    """
    for arm in arms:
        node = acting(options, arm)
        target = find_target(node["_target_"])
        known = [name for name in accepted_arguments(target) or () if name != "num_envs"]  # rows are all arms' alike
        for key in node.keys() - {"_target_"}:
            if known and key not in known:
                raise UserError(f"arm {arm.name!r} has an unknown option {key!r}{nearest(key, known)}; there are {', '.join(known)}")
        for name, checkpoint in checkpoints_of(node).items():
            try:
                env_spec.check_serves(checkpoint.env_spec, read_keys(checkpoint.config))
            except UserError as error:
                raise UserError(f"arm {arm.name!r}, {name} {checkpoint.path}: {error}") from error
        try:
            policy = instantiate(node, num_envs=1)
            take_task(policy, env_spec.task)
            if arm.options.get("expert"):
                check_expert(env_spec, policy)
        except UserError as error:
            raise UserError(f"arm {arm.name!r}: {error}") from error


def checkpoints_of(node: Mapping[str, Any]) -> dict[str, Checkpoint]:
    """The checkpoints that the node of what acts names, opened."""
    return {name: open_checkpoint(str(node[name])) for name in CHECKPOINTS if node.get(name)}


def origin(options: Mapping[str, Any], arm: Arm) -> dict[str, Any]:
    """What an arm's episodes come from beside its options and seeds: the world, and what its checkpoints hold by now. JSON-ready."""
    contents = {name: checkpoint.fingerprint() for name, checkpoint in checkpoints_of(acting(options, arm)).items()}
    return {"task": options["task"], "policy": options["policy"], **contents}


def play_arm(
    cfg: DictConfig, arm: Arm, env: Any, players: Players, seeds: NDArray[np.int64], run: Run, made_of: Mapping[str, Any]
) -> ArmResult:
    """Play one arm on all seeds and keep what came of it, for a resumed run to find."""
    job = Job(to_dict(cfg.task.env), acting(to_dict(cfg), arm))
    begun = time.monotonic()
    with Progress(arm.name, len(seeds)) as bar:
        played = players.play(env, job, seeds, progress=lambda count, total: bar.advance(count - bar.done))
    minutes = (time.monotonic() - begun) / 60
    result = ArmResult(arm, played.episodes, decision_latency(cfg, arm, env, int(seeds[0])), played.steering, minutes)
    file = _arm_file(run, arm)
    file.parent.mkdir(exist_ok=True)
    write_episodes(file, [result], env.env_spec.stages)
    figures = {"latency_ms": result.latency_ms, "steering": played.steering, "minutes": minutes}
    side = {"options": arm.options, "origin": made_of, "figures": figures}
    write_json(file.with_suffix(".json"), side)  # last: an arm is finished when this is there
    return result


def _arm_file(run: Run, arm: Arm) -> Path:
    return run.dir / "arms" / f"{safe_name(arm.name)}.csv"


def finished_arm(arm: Arm, run: Run, seeds: NDArray[np.int64], stages: Sequence[str], made_of: Mapping[str, Any]) -> ArmResult | None:
    """What an interrupted run left of an arm, if it is whole and the same arm on the same seeds.

    Raises:
        UserError: its episodes have another :func:`origin`, so that they make no pairs with those still to be played.
    """
    file = _arm_file(run, arm)
    if not file.with_suffix(".json").is_file():
        return None
    with reading(file):
        about, episodes = read_json(file.with_suffix(".json")), read_episodes(file, stages)
    if "origin" not in about or about["options"] != dict(arm.options) or not np.array_equal(episodes.seeds, seeds):
        return None
    differing = "; ".join(_differences(about["origin"], json.loads(json.dumps(made_of))))
    if differing:
        raise UserError(f"arm {arm.name!r} in {run.dir} was played with {differing}; go on as it was begun, or anew with overwrite=true")
    with reading(file.with_suffix(".json")):
        return ArmResult(arm, episodes, **about["figures"])


def _differences(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """``task.env.max_episode_steps=300, now 600`` for each leaf that differs between two JSON documents."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*before, *now]):
            yield from _differences(before.get(key), now.get(key), f"{path}.{key}" if path else key)
    elif before != now:
        yield f"{path}={before}, now {now}"


def decision_latency(cfg: DictConfig, arm: Arm, env: Any, seed: int) -> dict[str, float]:
    """Milliseconds that a decision (observation in, chunk drawn, first action out) takes for one robot: p50 and p99.

    What is observed is the start of the episode ``seed``, in the first of the environment's rows.
    """
    policy: Policy = instantiate(acting(to_dict(cfg), arm), num_envs=1)
    first_row = np.arange(env.num_envs) == 0
    observation, _ = env.reset(seed=[seed] * env.num_envs, options={"reset_mask": first_row})
    observation = {name: values[:1] for name, values in observation.items()}
    taken: list[float] = []
    warm_up, until = 10, time.perf_counter() + LATENCY_SECONDS
    while len(taken) < 2 * warm_up or (len(taken) < warm_up + LATENCY_DECISIONS and time.perf_counter() < until):
        policy.reset(np.ones(1, bool), np.array([len(taken)]))
        begun = time.perf_counter()
        policy.act(observation)
        taken.append(1000 * (time.perf_counter() - begun))
    p50, p99 = np.quantile(taken[warm_up:], [0.5, 0.99])  # the first few warm caches up
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
            policy: Policy = instantiate(acting(to_dict(cfg), result.arm), num_envs=env.num_envs)
            clips += film(env, policy, chosen, run.videos, result.arm.name)
        finally:
            env.close()
    write_clips(run.videos, clips)
    return clips, ""
