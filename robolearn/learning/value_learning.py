"""``robolearn value``: critics from demonstrations and from rollouts of the base, which the same command collects into a store."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.checkpoint import build, load_model, open_checkpoint, point_link
from robolearn.episode import Episode
from robolearn.errors import UserError, check_share, nearest
from robolearn.learning.multitask import take_task
from robolearn.learning.rollout import rollout
from robolearn.learning.transitions import build_transitions, check_timeout, held_out
from robolearn.learning.value_data import CriticData, branch_points, draw_proposals, play_branches
from robolearn.learning.value_objectives import OBJECTIVES, Objective
from robolearn.learning.value_trainer import CriticTrainer, check_training
from robolearn.logger import Logger
from robolearn.nodes import find_target, instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.run import Run, read_json, start_run, write_json
from robolearn.seeding import split_seeds, training_seeds

ROLLOUTS = "rollouts.zarr"
ORIGIN = "origin.json"  # what a critic is made of


def main(cfg: DictConfig) -> int:
    """``robolearn value``: collect what is missing, then train one critic a seed.

    Raises:
        UserError: unknown algorithm, no failures or no successes to learn from, a store that does not fit the base, or a loss that
            is not finite.
    """
    options = to_dict(cfg)
    if cfg.algorithm not in OBJECTIVES:
        raise UserError(f"no algorithm {cfg.algorithm!r}; there are {', '.join(OBJECTIVES)}{nearest(cfg.algorithm, OBJECTIVES)}")
    seeds = training_seeds(options["seeds"])
    objective: Objective = OBJECTIVES[cfg.algorithm](**(options.get(cfg.algorithm) or {}))
    sampler = load_model(cfg.checkpoint)
    sampler = getattr(sampler, "base", sampler)  # of a residual policy, what is steered is its base
    check_options(options, sampler, objective)
    with start_run(cfg, "value", cfg.algorithm) as run:
        check_origin(cfg, run)
        episodes = load_episodes(cfg, sampler, run)
        config, data, mask = critic_data(options, sampler, episodes, objective)
        summaries = {seed: _train(config, objective, data, mask, seed, options, sampler, run) for seed in seeds}
        point_link(run.dir, "checkpoints", f"seed_{seeds[0]}/checkpoints")
        solved = sum(episode.success for episode in episodes)
        result = {"algorithm": cfg.algorithm, "episodes": len(episodes), "successes": solved, "transitions": len(data), "seeds": summaries}
        run.finish(result)
    print(json.dumps(result) if cfg.json else _text(result, run.dir))
    return 0


def check_origin(cfg: DictConfig, run: Run) -> None:
    """Note what a critic is made of, or hold it against the note where the run is gone on with.

    Raises:
        UserError: the base or the stores are others than those that the run began with.
    """
    stores = [cfg.stores] if isinstance(cfg.stores, str) else list(cfg.stores or [])
    store_type = find_target(cfg.store_type)
    contents = [store_type.open(path).fingerprint(outcomes=True) for path in stores]
    now = {"checkpoint": open_checkpoint(cfg.checkpoint).fingerprint(), "stores": contents}
    note = run.dir / ORIGIN
    before = read_json(note) if note.is_file() else now
    for name, given in (("checkpoint", cfg.checkpoint), ("stores", stores)):
        if before.get(name) != now[name]:
            raise UserError(f"{run.dir} was begun with another {name}= than {given} is now: give what it was begun with, or another out=")
    write_json(note, now)


def check_options(options: dict[str, Any], sampler: Any, objective: Objective) -> None:
    """Find what cannot be meant before anything is played.

    Raises:
        UserError: an option out of range.
    """
    check_training(options["training"])
    check_share(critic__discount=options["critic"].get("discount"))
    check_timeout(options["timeout"])
    if not 0 <= float(options["held_out"]) < 1:
        raise UserError(f"held_out is a share of the episodes, at least 0 and below 1, got {options['held_out']}")
    if objective.needs_proposals and int(options["proposals"]) < 1:
        raise UserError(f"{options['algorithm']} compares with draws of the base: proposals must be at least 1, got {options['proposals']}")
    build(_critic_node(options, sampler), sampler.env_spec, sampler.normalizer)


def _critic_node(options: dict[str, Any], sampler: Any) -> dict[str, Any]:
    states = [name for name in sampler.observation_keys if name in sampler.normalizer.parts]  # critics look at no images
    return {"observation_keys": states, "action_horizon": int(sampler.action_horizon), **options["critic"]}


def _text(result: dict[str, Any], folder: Path) -> str:
    lines = [f"critic {result['algorithm']} from {result['episodes']} episodes ({result['successes']} solved), in {folder}"]
    for seed, summary in result["seeds"].items():
        named = {"auc": "AUC", "calibration_error": "calibration error", "branch_order": "branches in order"}
        numbers = ", ".join(f"{text} {summary[name]:.3f}" for name, text in named.items() if name in summary)
        lines.append(f"  seed {seed}: held-out {numbers}")
    return "\n".join(lines)


def load_episodes(cfg: DictConfig, sampler: Any, run: Run) -> list[Episode]:
    """Episodes of the given stores and of the rollouts that this command collects.

    Raises:
        UserError: a store does not fit the policy, or the episodes are all successes or all failures.
    """
    episodes: list[Episode] = []
    for path in [cfg.stores] if isinstance(cfg.stores, str) else list(cfg.stores or []):
        store = find_target(cfg.store_type).open(path)
        store.env_spec.check_serves(sampler.env_spec, sampler.observation_keys)
        take_task(sampler, store.env_spec.task)
        episodes += [store.episode(index) for index in range(store.num_episodes)]
    if int(cfg.rollouts.n) > 0:
        episodes += collect_rollouts(cfg, sampler, run.dir / ROLLOUTS)
    solved = sum(episode.success for episode in episodes)
    if not 0 < solved < len(episodes):
        raise UserError(
            f"a critic learns from successes and failures; of {len(episodes)} episodes {solved} are successes:"
            " give other stores=[...], or let it play with rollouts.n=400"
        )
    return episodes


def collect_rollouts(cfg: DictConfig, sampler: Any, path: Path) -> list[Episode]:
    """Play the base on training seeds, then branches from states it met; what the store already holds is not played again."""
    options = cfg.rollouts
    env = make_environment(cfg.task, num_envs=int(options.num_envs))
    try:
        env.env_spec.check_serves(sampler.env_spec, sampler.observation_keys)
        take_task(sampler, env.env_spec.task)
        policy = instantiate(cfg.policy, checkpoint=cfg.checkpoint, num_envs=env.num_envs)
        store_type = find_target(cfg.store_type)
        with store_type.open(path, mode="a") if path.exists() else store_type.create(path, env.env_spec) as store:
            _play_roots(env, policy, store, options)
            if options.branch_states > 0:
                _play_branches(env, policy, store, options, int(sampler.action_horizon))
            episodes = [store.episode(index) for index in range(store.num_episodes)]
    finally:
        env.close()
    return sorted(episodes, key=lambda episode: int(episode.provenance["seed"]))


def _play_roots(env: Any, policy: Any, store: Any, options: DictConfig) -> None:
    played = {int(seed) for seed in store.column("seed")}
    seeds = split_seeds("train", int(options.n), int(options.first_seed))
    left = np.array([seed for seed in seeds if int(seed) not in played], np.int64)
    with Progress("rollouts", len(seeds)) as bar, Keeper(store, bar) as keeper:
        bar.start_at(len(seeds) - len(left))
        rollout(env, policy, left, record=keeper, record_state=options.branch_states > 0)


def _play_branches(env: Any, policy: Any, store: Any, options: DictConfig, action_horizon: int) -> None:
    played = {int(seed) for seed in store.column("seed")}
    episodes = [store.episode(index) for index in range(store.num_episodes)]
    roots = sorted((e for e in episodes if "branch" not in e.provenance), key=lambda e: int(e.provenance["seed"]))
    points = branch_points(roots, int(options.branch_states), action_horizon, int(options.first_seed))
    count = int(options.branch_candidates)
    with Progress("branches", len(points) * count) as bar, Keeper(store, bar) as keeper:
        play_branches(env, policy, roots, points, count, keeper, skip=played)


class Keeper:
    """Puts episodes into a store several at a time, because every commit waits for the disk; what is pending on exit is kept too.

    Args:
        store: has ``extend([Episode])``.
        bar: advanced by each episode.
        size: episodes a commit.
    """

    def __init__(self, store: Any, bar: Progress, size: int = 32) -> None:
        self._store, self._bar, self._size = store, bar, size
        self._pending: list[Episode] = []

    def __call__(self, episode: Episode) -> None:
        """Take one finished episode."""
        self._pending.append(episode)
        self._bar.advance()
        if len(self._pending) >= self._size:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._store.extend(self._pending)
            self._pending = []

    def __enter__(self) -> Keeper:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._flush()


def critic_data(
    options: dict[str, Any], sampler: Any, episodes: list[Episode], objective: Objective
) -> tuple[dict[str, Any], CriticData, NDArray[np.bool_]]:
    """The critic's config node, its data, and which transitions are held out: ``(M,)``."""
    horizon = int(sampler.action_horizon)
    config = _critic_node(options, sampler)
    critic = build(config, sampler.env_spec, sampler.normalizer)
    transitions = build_transitions(
        episodes,
        horizon,
        critic.discount,
        keys=tuple(dict.fromkeys((*critic.observation_keys, *sampler.observation_keys))),
        observation_horizon=sampler.observation_horizon,
        stride=horizon if objective.needs_proposals else 1,
        timeout=options["timeout"],
    )
    proposals = draw_proposals(sampler, transitions, horizon, int(options["proposals"]), 0) if objective.needs_proposals else None
    mask = held_out(_families(episodes)[transitions.episode], float(options["held_out"]), np.random.default_rng(0))
    return config, CriticData.of(critic, transitions, proposals), mask


def _families(episodes: list[Episode]) -> NDArray[np.int64]:
    """One number for a rollout and all branches from it, so that held-out states are not known from a sibling: ``(episodes,)``."""
    names: dict[str, int] = {}
    return np.array([names.setdefault(_root(episode, index), len(names)) for index, episode in enumerate(episodes)])


def _root(episode: Episode, index: int) -> str:
    known = episode.provenance
    if "branch" in known:
        return str(known["branch"]).split("@")[0]
    return str(known["seed"]) if known.get("source") == "rollout" else f"episode {index}"


def _train(
    config: dict[str, Any],
    objective: Objective,
    data: CriticData,
    mask: NDArray[np.bool_],
    seed: int,
    options: dict[str, Any],
    sampler: Any,
    run: Run,
) -> dict[str, Any]:
    """Train, or go on training, the critic of one seed in its own folder."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        critic = build(config, sampler.env_spec, sampler.normalizer)
    trainer = CriticTrainer(critic, config, objective, data, mask, seed, **options["training"])
    folder = run.dir / f"seed_{seed}"
    folder.mkdir(exist_ok=True)
    log = Logger(folder, tensorboard=bool(options.get("tensorboard", True)))
    try:
        if (folder / "checkpoints" / "last").exists():
            trainer.resume(folder / "checkpoints")
            log.rewind(trainer.step)
        with Progress(f"critic seed {seed}", trainer.steps) as bar:
            bar.start_at(trainer.step)
            return trainer.train(folder / "checkpoints", log.log, bar.advance)
    finally:
        log.close()
