"""Collects demonstrations: a scripted expert, a policy or an operator acts, and episodes go into a store in the order of their seeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from robolearn.episode import Episode
from robolearn.errors import UserError, add_note
from robolearn.learning.operate import check_operable, operate, seated, spec_of
from robolearn.learning.players import Job, Players, check_expert, expert_of, make_players
from robolearn.nodes import find_target, instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.provenance import describe
from robolearn.run import versions
from robolearn.seeding import SPLIT_SIZE, SPLITS, split_seeds
from robolearn.spec import EnvSpec

SOURCES = ("expert", "policy", "operator")
KEEP = ("successes", "all")
SPEED = ("threads",)  # options of a world that change how fast it is, not what it does


class _Enough(Exception):
    """Ends a rollout early: the store is full."""


class InSeedOrder:
    """Appends finished episodes to a store in the order of their seeds, so that short episodes are not favoured.

    Episodes finish in any order; each waits until all those with earlier seeds are there.

    Args:
        store: has ``append(Episode)``.
        seeds: the order.
        wanted: how many episodes to append; then :class:`_Enough` is raised.
        successes_only: leave failures out.
        progress: advanced by each appended episode.
    """

    def __init__(self, store: Any, seeds: list[int], wanted: int, successes_only: bool, progress: Progress) -> None:
        self.store, self.seeds, self.wanted = store, seeds, wanted
        self._successes_only, self._progress = successes_only, progress
        self._waiting: dict[int, Episode] = {}
        self.attempts = self.kept = self.successes = 0
        self.unsolved: list[int] = []

    def __call__(self, episode: Episode) -> None:
        """Take one finished episode."""
        self._waiting[int(episode.provenance["seed"])] = episode
        while self.attempts < len(self.seeds) and self.seeds[self.attempts] in self._waiting:
            ready = self._waiting.pop(self.seeds[self.attempts])
            self.attempts += 1
            self.successes += ready.success
            self.unsolved += [] if ready.success else [int(ready.provenance["seed"])]
            if ready.success or not self._successes_only:
                self.store.append(ready)
                self.kept += 1
                self._progress.advance(success=f"{100 * self.successes / self.attempts:.0f}%")
            if self.kept >= self.wanted:
                raise _Enough


def main(cfg: DictConfig) -> int:
    """``robolearn collect``.

    Raises:
        UserError: unknown source, an existing store without ``resume`` or ``overwrite``, a policy that does not fit the task,
            or too few successes within ``max_attempts``; what was collected is kept.
    """
    options = to_dict(cfg)
    successes_only = _successes_only(options)
    by_operator = options["source"] == "operator"
    if not cfg.resume and Path(cfg.store).exists() and not cfg.overwrite:
        raise UserError(f"{cfg.store} exists: go on with resume=true, replace it with overwrite=true, or give another store=")
    players = make_players(None if by_operator else options.get("scale"))
    env = make_environment(cfg.task, num_envs=1 if by_operator else int(cfg.num_envs))
    try:
        spec = _checked_spec(options, env.env_spec)
        policies = [] if by_operator else _policies(options, env)
        with ExitStack() as stack:
            desk = stack.enter_context(seated(options, env)) if by_operator else None
            store = stack.enter_context(_open_store(cfg, spec))
            progress = stack.enter_context(Progress(f"collect {env.env_spec.task}", int(cfg.episodes)))
            progress.start_at(store.num_episodes)
            if desk is not None:
                attempts, successes = operate(cfg, env, desk, store, _seeds(cfg, store), progress)
            else:
                attempts, successes = _collect(cfg, env, players, policies, store, successes_only, progress)
            kept = store.num_episodes
    finally:
        players.close()
        env.close()
    outcome = {"store": str(cfg.store), "episodes": kept, "attempts": attempts, "successes": successes}
    print(json.dumps(outcome) if cfg.json else f"{cfg.store}: {kept} episodes; {successes} of {attempts} attempts succeeded")
    least = (0 if by_operator else cfg.episodes) if cfg.at_least is None else cfg.at_least
    if kept < least:
        raise UserError(
            f"{successes} of {attempts} attempts succeeded, so {cfg.store} holds {kept} of {cfg.episodes} episodes;"
            " give a larger max_attempts= with resume=true, or keep=all"
        )
    return 0


def _collect(
    cfg: DictConfig,
    env: Any,
    players: Players,
    policies: Sequence[dict[str, Any]],
    store: Any,
    successes_only: bool,
    progress: Progress,
) -> tuple[int, int]:
    """Play until the store is full or every start has had its tries, the policies taking turns; returns attempts and successes."""
    attempts = successes = 0
    left = _seeds(cfg, store)
    try:
        for number in range(int(cfg.tries)):
            wanted = int(cfg.episodes) - int(store.num_episodes)
            if wanted <= 0 or not left:
                break
            sink = InSeedOrder(store, left, wanted, successes_only, progress)
            which = number % len(policies)
            with suppress(_Enough):
                job = Job(
                    env=to_dict(cfg.task.env),
                    policy=policies[which],
                    number=number // len(policies),
                    recording=True,
                    record_state=bool(cfg.record_state),
                    provenance=_provenance(cfg, env, which),
                    hold=int(cfg.hold),
                )
                players.play(env, job, np.array(left, np.int64), record=sink)
            attempts, successes = attempts + sink.attempts, successes + sink.successes
            left = sink.unsolved
    except KeyboardInterrupt as stop:
        add_note(stop, f"{store.num_episodes} episodes are kept in {cfg.store}; go on with resume=true")
        raise
    return attempts, successes


def _provenance(cfg: DictConfig, env: Any, which: int) -> dict[str, Any]:
    options = to_dict(cfg)
    is_expert = cfg.source == "expert"
    return describe(
        "expert" if is_expert else "rollout",
        task=env.env_spec.task,
        env=options["task"]["env"],
        made_by=options["task"].get("expert") if is_expert else options["policy"],
        checkpoint=None if is_expert else _checkpoints(options)[which],
        note=options["note"],
        versions=versions(),
    )


def _successes_only(options: dict[str, Any]) -> bool:
    if options["source"] not in SOURCES:
        raise UserError(f"no source {options['source']!r}; there are {', '.join(SOURCES)}")
    keep = options["keep"] or ("successes" if options["source"] == "expert" else "all")
    if keep not in KEEP:
        raise UserError(f"no keep={keep!r}; there are {', '.join(KEEP)}")
    split_seeds(options["seeds"], 0, options["first_seed"])  # a mistake is an error before a store is made
    if options["hold"] < 0:
        raise UserError(f"hold must be at least 0, got {options['hold']}")
    if options["at_least"] is not None and not 0 <= options["at_least"] <= options["episodes"]:
        raise UserError(f"at_least must be from 0 to episodes={options['episodes']}, got {options['at_least']}")
    for name in ("episodes", "num_envs", "tries"):
        if type(options[name]) is not int or options[name] < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {options[name]!r}")
    if options["tries"] > 1 and keep == "all":
        raise UserError("tries play a start again until it succeeds, which is of keep=successes")
    return bool(keep == "successes")


def _checkpoints(options: dict[str, Any]) -> list[str]:
    given = options["checkpoint"]
    return [str(entry) for entry in (given if isinstance(given, list) else [given]) if entry]


def _policies(options: dict[str, Any], env: Any) -> list[dict[str, Any]]:
    """Nodes of what plays, each built once to see that it fits; several checkpoints take turns."""
    if options["source"] == "expert":
        expert = expert_of(options["task"])
        check_expert(env.env_spec, instantiate(expert, num_envs=1))
        return [expert]
    paths = _checkpoints(options)
    if not paths:
        raise UserError("source=policy needs checkpoint=<run folder or checkpoint>")
    nodes = [{**options["policy"], "checkpoint": path} for path in paths]
    for node in nodes:
        policy = instantiate(node, num_envs=1)
        env.env_spec.check_serves(policy.env_spec, getattr(policy, "observation_keys", None))
    return nodes


def _checked_spec(options: dict[str, Any], spec: EnvSpec) -> EnvSpec:
    """What the store holds."""
    if options["source"] != "operator":
        return spec
    check_operable(options, spec)
    return spec_of(spec, bool(options["checkpoint"]))


def _open_store(cfg: DictConfig, spec: EnvSpec) -> Any:
    store_type = find_target(cfg.store_type)
    if not cfg.resume:
        return store_type.create(cfg.store, spec, overwrite=bool(cfg.overwrite), image_codec=cfg.image_codec)
    store = store_type.open(cfg.store, mode="a")
    try:
        _check_continues(cfg, spec, store)
    except UserError:
        store.close()
        raise
    return store


def _check_continues(cfg: DictConfig, spec: EnvSpec, store: Any) -> None:
    """Raise ``UserError`` unless the store was collected in this world, from this block of seeds."""
    if store.env_spec != spec:
        raise UserError(f"{cfg.store} was made for task {store.env_spec.task!r} with another spec than {spec.task!r} has now")
    known = [store.provenance(index) for index in range(store.num_episodes)]
    for entry in known:
        if "seed" not in entry:
            source = entry.get("source", "unknown")
            raise UserError(f"{cfg.store} holds episodes that were not collected (source {source}); collect into another store=")
    blocks = {int(entry["seed"]) // SPLIT_SIZE for entry in known} - {SPLITS[cfg.seeds]}
    if blocks:
        names = {number: name for name, number in SPLITS.items()}
        raise UserError(
            f"{cfg.store} was collected with seeds={names.get(blocks.pop())}, not seeds={cfg.seeds}: repeat it, or give another store="
        )
    now = to_dict(cfg.task.env)
    for entry in known:
        before = entry.get("env", now)  # stores of earlier versions do not say
        differing = sorted(name for name in {*before, *now} - {*SPEED} if before.get(name) != now.get(name))
        if differing:
            then, today = (" ".join(f"task.env.{name}={env.get(name)}" for name in differing) for env in (before, now))
            raise UserError(f"{cfg.store} was collected with {then}, not {today}: repeat what it was begun with, or give another store=")


def _seeds(cfg: DictConfig, store: Any) -> list[int]:
    """Seeds to play: from the first, or on from the last one in the store; with several tries, all that are not in the store yet."""
    block = int(split_seeds(cfg.seeds, 1)[0])
    played = {int(store.provenance(index)["seed"]) for index in range(store.num_episodes)}
    count, first = int(cfg.max_attempts or 10 * cfg.episodes), int(cfg.first_seed)
    if int(cfg.tries) > 1:
        return [int(seed) for seed in split_seeds(cfg.seeds, count, first) if int(seed) not in played]
    return [int(seed) for seed in split_seeds(cfg.seeds, count, max(played, default=block + first - 1) - block + 1)]
