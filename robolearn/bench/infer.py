"""Acting: how long a policy takes to draw chunks, beside LeRobot's, and to decide among K of them with a critic."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import Peer, lerobot
from robolearn.bench.stand_ins import normalizer_of, random_observation, untrained_policy
from robolearn.bench.train import peer_sizes, seconds_of
from robolearn.nodes import instantiate
from robolearn.protocols import ChunkSampler
from robolearn.spec import EnvSpec


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench infer``: chunk and decision latency, p50 and p99."""
    part, task = options["infer"], options["task"]
    spec: EnvSpec = instantiate(task["env_spec"])
    before = torch.get_num_threads()
    torch.set_num_threads(int(part["threads"]))
    try:
        with lerobot(options["peer_python"], peer_sizes(task, spec, threads=int(part["threads"]))) as peer:
            for policy in part["policies"]:
                sampler = untrained_policy(policy, task["name"], spec)
                for rows in part["batches"]:
                    yield from _chunks(f"infer/{policy}_b{rows}", sampler, int(rows), peer, int(options["rounds"]), int(part["draws"]))
        steered = untrained_policy(part["steered"], task["name"], spec)
        yield from _decisions(part, steered, spec, int(options["rounds"]), int(part["draws"]))
    finally:
        torch.set_num_threads(before)


def _chunks(name: str, sampler: ChunkSampler, rows: int, peer: Peer | None, rounds: int, draws: int) -> Iterator[Figure]:
    """One chunk for each of ``rows`` observations: ``draws`` a round."""
    draw = _drawing(sampler, sampler.env_spec, rows, draws)
    draw()
    if peer is None:
        (ours,) = in_turns(rounds, draw)
        yield from (Figure(f"{name}_p{p}", 1e3 * float(np.percentile(ours, p)), "ms", len(ours)) for p in (50, 99))
        return
    peer.ask(do="infer", batch=rows, draws=2)
    ours, theirs = in_turns(rounds, draw, lambda: peer.ask(do="infer", batch=rows, draws=draws)["seconds"])
    for p in (50, 99):
        mine, its = (1e3 * float(np.percentile(seconds, p)) for seconds in (ours, theirs))
        yield Figure(f"{name}_p{p}", mine, "ms", len(ours), peer.name, its)


def _decisions(part: Mapping[str, Any], sampler: Any, spec: EnvSpec, rounds: int, draws: int) -> Iterator[Figure]:
    """One decision in one row: K chunks drawn, judged and one picked; beside K = 1, which is the policy alone."""
    critic = instantiate(
        part["critic"],
        env_spec=spec,
        normalizer=normalizer_of(spec),
        observation_keys=sampler.observation_keys,
        action_horizon=sampler.action_horizon,
    ).eval()
    counts: Sequence[int] = sorted({1, *part["candidates"]})
    tasks = [_drawing(instantiate(part["steering"], sampler=sampler, critic=critic, candidates=count), spec, 1, draws) for count in counts]
    in_turns(1, *tasks)
    taken = dict(zip(counts, in_turns(rounds, *tasks), strict=True))
    for p in (50, 99):
        alone = 1e3 * float(np.percentile(taken[1], p))
        for count, seconds in taken.items():
            beside: tuple[str | None, float | None] = (None, None) if count == 1 else ("K = 1", alone)
            name = f"infer/steered_{part['steered']}_k{count}_p{p}"
            yield Figure(name, 1e3 * float(np.percentile(seconds, p)), "ms", len(seconds), *beside)


def _drawing(sampler: ChunkSampler, spec: EnvSpec, rows: int, draws: int) -> Callable[[], list[float]]:
    """Seconds of each of ``draws`` calls, from arrays in environment units to arrays in environment units."""
    observation = random_observation(spec, (rows, sampler.observation_horizon), np.random.default_rng(0))
    seeds, decision = np.arange(rows), np.zeros(rows, np.int64)

    def draw() -> list[float]:
        return [seconds_of(lambda: sampler.sample(observation, seeds, decision + index)) for index in range(draws)]  # noqa: B023

    return draw
