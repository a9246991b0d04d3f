"""A one-object scene beside EnvPool's, end to end: both step 10 times 5 ms, observe, reward, and begin anew what has ended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import alongside
from robolearn.config import compose
from robolearn.nodes import instantiate, to_dict
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds

ENVPOOL = Path(__file__).with_name("peer_envpool.py")
STEP = 0.005  # [m] the largest of a random action, as EnvPool's
STEPS = 20  # a turn


def figures(part: Mapping[str, Any], rounds: int) -> Iterator[Figure]:
    """``sim/pick_cube_steps_beside_envpool``: steps a second on one thread, under small random actions."""
    task = to_dict(compose("collect", [f"task={part['task']}", "store=none"]))["task"]
    rows = int(part["num_envs"])
    env: Environment = instantiate({**task["env"], "threads": 1, "autoreset": "same_step"}, num_envs=rows)
    settings = {"env": part["env"], "num_envs": rows}
    with closing(env), alongside("EnvPool", part["python"], ENVPOOL, settings) as peer:
        ours = _Wander(env)
        ours()
        if peer is None:
            mine = in_turns(rounds, ours)[0]
            beside: tuple[str | None, float | None] = (None, None)
        else:
            mine, theirs = in_turns(rounds, ours, lambda: float(peer.ask(do="steps", count=STEPS)["seconds"]))
            beside = (peer.name, rows * STEPS / float(np.median(theirs)))
    yield Figure(f"sim/{part['task']}_steps_beside_envpool", rows * STEPS / float(np.median(mine)), "env-steps/s/core", rounds, *beside)


class _Wander:
    """Small random actions from wherever the tool is."""

    def __init__(self, env: Environment) -> None:
        self._env, self._rng = env, np.random.default_rng(0)
        self._observation = env.reset(seed=split_seeds("train", env.num_envs).tolist())[0]

    def __call__(self) -> float:
        """Seconds of ``STEPS`` steps."""
        rows = self._env.num_envs
        moves = self._rng.uniform(-STEP, STEP, (STEPS, rows, 3))
        grips = self._rng.uniform(-1, 1, (STEPS, rows, 1))
        begun = time.perf_counter()
        for move, grip in zip(moves, grips, strict=True):
            seen = self._observation
            action = np.concatenate([seen["tcp_pos"] + move, seen["tcp_rot6d"], grip], 1)
            self._observation = self._env.step(action)[0]
        return time.perf_counter() - begun
