"""Plays stored actions open-loop from each episode's recorded start, and reports how far they get in this simulator."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.players import blocks
from robolearn.learning.recordings import Recording
from robolearn.nodes import find_target, instantiate, make_environment, to_dict
from robolearn.progress import Progress
from robolearn.run import write_whole
from robolearn.seeding import split_seeds

MOST_ROWS = 64
_NEVER = -1
Advance = Callable[[int], None]


@dataclass(frozen=True)
class ReplayResult:
    """How n replayed episodes went.

    Args:
        episodes: ``(n,)`` index of each in its store.
        reached: ``(n, S)`` step at which each stage was first reached, counted from 1 (0: it began so); -1 where never.
        success: ``(n,)`` bool, solved at some step.
        steps: ``(n,)`` steps played: the recorded ones, and the last action held.
        deviation: ``{name: (n,)}`` root mean square, over the recorded steps before success, of the distance between the
            observation replayed and recorded, in the observation's units.
    """

    episodes: NDArray[np.int64]
    reached: NDArray[np.int64]
    success: NDArray[np.bool_]
    steps: NDArray[np.int64]
    deviation: dict[str, NDArray[np.float64]]


def replay(
    env: Any, episodes: Sequence[Episode], *, exact: bool = True, hold: int = 20, progress: Callable[[int], None] | None = None
) -> ReplayResult:
    """Play the actions of n episodes, N rows at a time.

    Args:
        env: an :class:`robolearn.protocols.Environment`; for episodes without simulator state it also has
            ``reset_to_observation({name: (N, ...)}, seeds=None)``.
        episodes: recorded, of the environment's spec.
        exact: restore ``sim_state`` where an episode has one.
        hold: steps for which the last action is held after the recorded ones.
        progress: called with how many more episodes are done.

    Raises:
        UserError: the environment can start from neither state nor observation.
    """
    stages = len(env.env_spec.stages)
    n = len(episodes)
    reached, success, steps = np.full((n, stages), _NEVER, np.int64), np.zeros(n, bool), np.zeros(n, np.int64)
    deviation = {name: np.zeros(n) for name in env.env_spec.observation}
    by_start = [[index for index in range(n) if _has_state(episodes[index], exact) is kind] for kind in (True, False)]
    for group in by_start:
        for first in range(0, len(group), env.num_envs):
            rows = np.array(group[first : first + env.num_envs])
            _play_rows(env, [episodes[row] for row in rows], rows, hold, exact, (reached, success, steps, deviation))
            if progress:
                progress(len(rows))
    return ReplayResult(np.arange(n), reached, success, steps, deviation)


def _has_state(episode: Episode, exact: bool) -> bool:
    return exact and episode.sim_state is not None


def _play_rows(env: Any, episodes: Sequence[Episode], rows: NDArray[np.int64], hold: int, exact: bool, into: Any) -> None:
    """One episode per row, to the end of the longest; spare rows repeat the first episode and count for nothing."""
    reached, success, steps, deviation = into
    count = len(episodes)
    padded = [episodes[row if row < count else 0] for row in range(env.num_envs)]
    actions, lengths = _stack([episode.actions for episode in padded])  # (N, T, A), (N,)
    recorded = {name: _stack([episode.observations[name] for episode in padded])[0] for name in env.env_spec.observation}
    observation = _start(env, padded, _has_state(episodes[0], exact))
    squared = {name: np.zeros(env.num_envs) for name in recorded}
    counted = np.zeros(env.num_envs, np.int64)
    solved = np.zeros(env.num_envs, bool)
    first_reached = np.full((env.num_envs, reached.shape[1]), _NEVER, np.int64)
    for step in range(int(lengths.max()) + hold):
        alive = (step < lengths) & ~solved
        for name, values in recorded.items():
            error = (observation[name] - values[:, min(step, values.shape[1] - 1)]).reshape(env.num_envs, -1)
            squared[name] += np.where(alive, (error**2).sum(1), 0.0)
        counted += alive
        observation, _, _, _, info = env.step(actions[:, min(step, actions.shape[1] - 1)])
        within = step < lengths + hold
        new = np.asarray(info["stages"]) & (first_reached == _NEVER) & within[:, None]
        first_reached[new] = step + 1
        solved |= np.asarray(info["success"]) & within
    reached[rows], success[rows], steps[rows] = first_reached[:count], solved[:count], lengths[:count] + hold
    for name, total in squared.items():
        deviation[name][rows] = np.sqrt(total / np.maximum(counted, 1))[:count]


def _stack(sequences: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Arrays ``(T_i, ...)`` as one ``(N, max T, ...)``, each going on with its last row; and their lengths ``(N,)``."""
    lengths = np.array([len(sequence) for sequence in sequences])
    at = np.minimum(np.arange(lengths.max()), lengths[:, None] - 1)  # (N, T)
    return np.stack([sequence[index] for sequence, index in zip(sequences, at, strict=True)]), lengths


def _start(env: Any, episodes: Sequence[Episode], exact: bool) -> Any:
    """Put every row where its episode began; returns the first observation."""
    observation, _ = env.reset(seed=[_seed(episode) for episode in episodes])
    if exact:
        states = np.stack([episode.sim_state[0] for episode in episodes if episode.sim_state is not None])
        if states.shape != (expected := env.get_state().shape):
            raise UserError(
                f"the stored simulator state has {states.shape[1]} numbers, this simulator's has {expected[1]}: the store was made with"
                " another scene or version, or with other latencies (task.env.randomize); start from the first observation with exact=false"
            )
        env.set_state(states)
        return env.observation() if hasattr(env, "observation") else {name: _first(episodes, name) for name in observation}
    if not hasattr(env, "reset_to_observation"):
        raise UserError(f"task {env.env_spec.task!r} cannot start from an observation, only from a stored simulator state, by exact=true")
    observation, _ = env.reset_to_observation({name: _first(episodes, name) for name in env.env_spec.observation})
    return observation


def _first(episodes: Sequence[Episode], name: str) -> NDArray[Any]:
    return np.stack([episode.observations[name][0] for episode in episodes])


def _seed(episode: Episode) -> int:
    seed = episode.provenance.get("seed")
    return seed if type(seed) is int and seed >= 0 else int(split_seeds("train", 1)[0])


def main(cfg: DictConfig) -> int:
    """``robolearn data replay``.

    Raises:
        UserError: the store cannot be read or does not fit the task, or there is no such episode, or the file of ``csv`` exists.
    """
    options = to_dict(cfg)
    if options["csv"] and Path(options["csv"]).exists():
        raise UserError(f"{options['csv']} exists; give another csv=")
    if options["by"] not in ("actions", "states"):
        raise UserError(f"by takes actions or states, got {options['by']!r}")
    store = find_target(options["store_type"]).open(options["store"])
    wanted = list(range(store.num_episodes)) if options["episodes"] is None else [int(index) for index in options["episodes"]]
    if not wanted:
        raise UserError(f"{options['store']} holds no episodes to replay")
    found = find_target(options["recordings"])(store, wanted)
    with Progress(f"replay {options['store']}", len(wanted)) as progress:
        if found is None:
            stages, result = _in_own_task(cfg, options, store, wanted, progress.advance)
        else:
            stages, result = _in_recorded_world(options, found[0], found[1], progress.advance)
    facts = summary(result, stages, wanted)
    if found is not None:
        facts |= {"by": options["by"], "task": found[0]["env_name"]}
        for row, recording in zip(facts["per_episode"], found[1], strict=True):
            row["name"] = recording.name
    print(json.dumps({"store": str(options["store"]), **facts}) if options["json"] else as_text(str(options["store"]), facts))
    if options["csv"]:
        write_csv(Path(options["csv"]), facts["per_episode"])
    return 0


def _in_own_task(cfg: DictConfig, options: dict[str, Any], store: Any, wanted: Sequence[int], advance: Advance) -> tuple[Any, ReplayResult]:
    """The task's stages, and how the episodes went in it."""
    if options["by"] == "states":
        raise UserError(f"by=states is for demonstrations imported from robosuite's or robomimic's HDF5; {options['store']} has others")
    episodes = [store.episode(index) for index in wanted]
    env = make_environment(cfg.task, num_envs=int(options["num_envs"] or min(len(wanted), MOST_ROWS)))
    try:
        env.env_spec.check_serves(store.env_spec, recorded=True)
        result = replay(env, episodes, exact=bool(options["exact"]), hold=int(options["hold"]), progress=advance)
        return env.env_spec.stages, result
    finally:
        env.close()


def _in_recorded_world(
    options: dict[str, Any], env_args: dict[str, Any], recordings: Sequence[Recording], advance: Advance
) -> tuple[Any, ReplayResult]:
    """The same of recordings of another project's simulator, in worlds like theirs."""
    rows, parts = int(options["num_envs"] or MOST_ROWS), []
    with closing(instantiate(options["worlds"], env_args=env_args, recordings=recordings, num_envs=rows)) as worlds:
        for indices, world in worlds:
            for block in blocks(len(indices), world.env.num_envs):
                played = [world.episode(recordings[index]) for index in indices[block]]
                if options["by"] == "states":
                    result = seen([stages for _, stages in played])
                else:
                    result = replay(world.env, [episode for episode, _ in played], exact=bool(options["exact"]), hold=int(options["hold"]))
                parts.append(replace(result, episodes=np.array(indices[block])))
                advance(len(played))
            stages = world.env.env_spec.stages
    return stages, joined(parts)


def seen(stages: Sequence[NDArray[np.bool_]]) -> ReplayResult:
    """What recorded states, one before each step, come to: from the stages that each is in, ``(T, S)``, the last being success."""
    reached = np.array([np.where(each.any(0), each.argmax(0), _NEVER) for each in stages])
    return ReplayResult(np.arange(len(stages)), reached, reached[:, -1] != _NEVER, np.array([len(each) for each in stages]), {})


def joined(parts: Sequence[ReplayResult]) -> ReplayResult:
    """Parts of a replay as one, in the order of their ``episodes``."""
    order = np.argsort(np.concatenate([part.episodes for part in parts]))

    def whole(name: str) -> NDArray[Any]:
        values: NDArray[Any] = np.concatenate([getattr(part, name) for part in parts])[order]
        return values

    deviation = {name: np.concatenate([part.deviation[name] for part in parts])[order] for name in parts[0].deviation}
    return ReplayResult(whole("episodes"), whole("reached"), whole("success"), whole("steps"), deviation)


def summary(result: ReplayResult, stages: Sequence[str], wanted: Sequence[int]) -> dict[str, Any]:
    """The outcome as a JSON-ready dictionary: counts per stage, and a row per episode."""
    rows = [
        {
            "episode": int(wanted[index]),
            "success": bool(result.success[index]),
            "steps": int(result.steps[index]),
            **{f"reached_{stage}": int(result.reached[index, column]) for column, stage in enumerate(stages)},
            **{f"rms_{name}": float(values[index]) for name, values in result.deviation.items()},
        }
        for index in range(len(wanted))
    ]
    counts = {stage: int((result.reached[:, column] != _NEVER).sum()) for column, stage in enumerate(stages)}
    deviation = {name: float(np.median(values)) for name, values in result.deviation.items()}
    return {"episodes": len(wanted), "stages": counts, "success": int(result.success.sum()), "median_rms": deviation, "per_episode": rows}


def as_text(store: str, facts: dict[str, Any]) -> str:
    """The outcome as a table."""
    n = facts["episodes"]
    lines = [f"{store}: {n} episodes " + ("looked at state by state" if facts.get("by") == "states" else "replayed open-loop")]
    for row in facts["per_episode"]:
        if "name" in row:
            lines.append(
                f"  {row['name']:<12}" + (f"solves {facts['task']} at step {row['reached_success']}" if row["success"] else "fails")
            )
    for stage, count in facts["stages"].items():
        steps = [row[f"reached_{stage}"] for row in facts["per_episode"] if row[f"reached_{stage}"] != _NEVER]
        when = f"   median step {int(np.median(steps))}" if steps else ""
        lines.append(f"  {stage:<12}{count:>4} of {n}  {100 * count / n:5.1f} %{when}")
    if "success" not in facts["stages"]:
        lines.append(f"  {'success':<12}{facts['success']:>4} of {n}  {100 * facts['success'] / n:5.1f} %")
    if "tcp_pos" in facts["median_rms"]:
        lines.append(f"  tool position off the recording by {1000 * facts['median_rms']['tcp_pos']:.1f} mm (median of the episodes' RMS)")
    return "\n".join(lines)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    """One line per episode."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())
