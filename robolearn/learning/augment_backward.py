"""``robolearn augment backward``: JUICER's backward augmentation of a store's demonstrations, verified in simulation, into a new store."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.backward import ACCEPTED, REASONS, Attempt, Backward, check_movable
from robolearn.learning.bottlenecks import check_step, find_bottlenecks
from robolearn.learning.players import Players, make_players
from robolearn.nodes import find_target, instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.provenance import describe
from robolearn.run import versions
from robolearn.seeding import addressed_uniform, split_seeds
from robolearn.spec import EnvSpec, tool_pose_action

TOOL = "augment backward"
_CHOICE = "augment"  # stream of random numbers


class Balance:
    """Chooses bottleneck states with a probability inverse to how often each has been augmented.

    Args:
        states: (episode, step) of each.
    """

    def __init__(self, states: list[tuple[int, int]]) -> None:
        self.states = states
        self.counts = np.zeros(len(states), np.int64)

    def choose(self, seeds: NDArray[np.int64]) -> NDArray[np.int64]:
        """One state's index for each seed: ``(N,) -> (N,)``."""
        weight = np.cumsum(1.0 / (1.0 + self.counts))
        uniform = addressed_uniform(_CHOICE, seeds, np.zeros_like(seeds), 1)[:, 0]
        chosen: NDArray[np.int64] = np.searchsorted(weight, uniform * weight[-1]).astype(np.int64)
        return chosen


def main(cfg: DictConfig) -> int:
    """``robolearn augment backward``.

    Raises:
        UserError: the store does not fit the task or has no bottleneck states, parts cannot be moved, or too few snippets were accepted.
    """
    options = to_dict(cfg)
    for name in ("snippets", "num_envs"):
        if type(options[name]) is not int or options[name] < 1:
            raise UserError(f"{name} must be a whole number of at least 1, got {options[name]!r}")
    store_type = find_target(options["store_type"])
    source = store_type.open(options["store"])
    settings: Backward = instantiate(cfg.backward)
    players = make_players(options.get("scale"))
    env = make_environment(cfg.task, num_envs=int(options["num_envs"]))
    try:
        env.env_spec.check_serves(source.env_spec, recorded=True)
        _check_canonical(env.env_spec)
        check_movable(env, settings)
        episodes = [source.episode(index) for index in range(source.num_episodes)]
        with Progress(f"look for bottlenecks in {options['store']}", len(episodes)) as progress:
            found = find_bottlenecks(
                env, episodes, options["bottlenecks"]["stages"], int(options["bottlenecks"]["before"]), progress.advance
            )
        states = [(index, step) for index, steps in enumerate(found) for step in steps if step + 1 < len(episodes[index])]
        if not states:
            raise UserError(f"{options['store']} has no bottleneck states: none is marked, and no episode reaches {options['bottlenecks']}")
        with _open_out(store_type, env, options, source.fingerprint()) as out:
            counts, minutes = _fill(env, players, out, episodes, Balance(states), settings, options, source.fingerprint())
            kept = out.num_episodes
    finally:
        players.close()
        env.close()
    _report(options, counts, minutes, len(states), kept)
    if kept < options["snippets"]:
        raise UserError(
            f"{counts[ACCEPTED]} of {sum(counts.values())} attempts were accepted, so {options['out']} holds {kept} of"
            f" {options['snippets']} snippets; go on with resume=true and a larger max_attempts=, or with a smaller backward.distance="
        )
    return 0


def _check_canonical(spec: EnvSpec) -> None:
    """Raise ``UserError`` unless the task is commanded by tool poses and shows the tool and its parts."""
    canonical = tool_pose_action((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)).names
    missing = [name for name in ("tcp_pos", "tcp_rot6d", "gripper_width", "parts_poses") if name not in spec.observation]
    if spec.action.names != canonical or missing:
        lacks = f"it does not show {', '.join(missing)}" if missing else f"its action is {', '.join(spec.action.names)}"
        raise UserError(f"backward augmentation needs absolute tool poses as actions, the tool's pose and the parts' poses; {lacks}")


def _fill(
    env: Any,
    players: Players,
    out: Any,
    episodes: list[Episode],
    balance: Balance,
    settings: Backward,
    options: dict[str, Any],
    fingerprint: str,
) -> tuple[Counter[str], float]:
    """Round after round of N attempts, each round's accepted snippets in one commit, until there are enough."""
    begun, wanted = time.monotonic(), int(options["snippets"])
    most = int(options["max_attempts"] or 20 * wanted)
    seeds = split_seeds("train", most, _resume(out, balance, int(options["first_seed"])))
    counts: Counter[str] = Counter()
    shared = describe(
        "augmentation",
        task=env.env_spec.task,
        env=options["task"]["env"],
        parent_store=fingerprint,
        edit=_edit(options),
        versions=versions(),
    )
    with Progress(f"augment {options['store']}", wanted) as progress:
        progress.start_at(out.num_episodes)
        while out.num_episodes < wanted and (tried := sum(counts.values())) < most:
            batch = seeds[tried : tried + env.num_envs]
            chosen = balance.choose(batch)
            attempts = [_attempt(episodes, balance.states[index], settings, int(seed)) for index, seed in zip(chosen, batch, strict=True)]
            snippets, outcomes = players.try_snippets(env, options["task"]["env"], attempts, settings, shared)
            counts.update(outcomes)
            parents = [balance.states[index][0] for index, word in zip(chosen, outcomes, strict=True) if word == ACCEPTED]
            kept = wanted - out.num_episodes
            out.extend([_with_parent(snippet, parent) for snippet, parent in zip(snippets, parents, strict=True)][:kept])
            np.add.at(balance.counts, chosen[[word == ACCEPTED for word in outcomes]], 1)
            progress.advance(min(kept, len(snippets)), accepted=f"{100 * counts[ACCEPTED] / sum(counts.values()):.0f}%")
    return counts, (time.monotonic() - begun) / 60


def _open_out(store_type: Any, env: Any, options: dict[str, Any], fingerprint: str) -> Any:
    """The store of snippets: a new one, or with ``resume`` the one that was begun from the same demonstrations in the same way."""
    path = Path(options["out"])
    if not options["resume"]:
        if path.exists() and not options["overwrite"]:
            raise UserError(f"{path} exists: go on with resume=true, replace it with overwrite=true, or give another out=")
        return store_type.create(path, env.env_spec, overwrite=bool(options["overwrite"]))
    store = store_type.open(path, mode="a")
    for index in range(store.num_episodes):
        entry = store.provenance(index)
        edit = entry.get("edit") or {}
        if entry.get("parent_store") != fingerprint or edit.get("tool") != TOOL:
            store.close()
            raise UserError(f"{path} holds other episodes than snippets of {options['store']}; give another out=")
        if other := _differences(edit, _edit(options)):
            store.close()
            raise UserError(f"{path} holds snippets made {', '.join(other)}; go on with the same, or give another out=")
    return store


def _differences(made: dict[str, Any], asked: dict[str, Any]) -> list[str]:
    """In words, the settings of ``made`` that are not those of ``asked``; what is not named has its default."""
    names = sorted(name for name in made.keys() | asked.keys() if made.get(name) != asked.get(name))
    return [f"with backward.{name}={json.dumps(made[name])}" if name in made else f"without backward.{name}" for name in names]


def _edit(options: dict[str, Any]) -> dict[str, Any]:
    """What a snippet's provenance says of the way it was made."""
    return {"tool": TOOL, **options["backward"]}


def _resume(out: Any, balance: Balance, first_seed: int) -> int:
    """Count what a store holds already; returns the offset of the first seed that was not tried."""
    block = int(split_seeds("train", 1)[0])
    for index in range(out.num_episodes):
        entry = out.provenance(index)
        state = (int(entry["parent"]), int(entry["parent_step"]))
        if state in balance.states:
            balance.counts[balance.states.index(state)] += 1
        first_seed = max(first_seed, int(entry["seed"]) - block + 1)
    return first_seed


def _attempt(episodes: list[Episode], state: tuple[int, int], settings: Backward, seed: int) -> Attempt:
    index, start = state
    return Attempt(episodes[index], start, check_step(episodes[index], start, settings.settle), seed)


def _with_parent(snippet: Episode, parent: int) -> Episode:
    return replace(snippet, provenance={**snippet.provenance, "parent": parent})


def _report(options: dict[str, Any], counts: Counter[str], minutes: float, states: int, kept: int) -> None:
    attempts, accepted = sum(counts.values()), counts[ACCEPTED]
    facts = {
        "store": str(options["out"]),
        "snippets": kept,
        "bottlenecks": states,
        "attempts": attempts,
        "outcomes": {reason: counts[reason] for reason in REASONS},
        "minutes": minutes,
        "accepted_per_minute": accepted / max(minutes, 1e-9),
    }
    if options["json"]:
        print(json.dumps(facts))
        return
    found = f"{accepted} of {attempts} attempts from {states} bottleneck states accepted"
    print(f"{options['out']}: {kept} snippets; {found}, {minutes:.1f} min")
    for reason in REASONS[1:]:
        print(f"  {reason:<18}{counts[reason]:>6}  {100 * counts[reason] / max(attempts, 1):5.1f} %")
