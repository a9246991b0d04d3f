"""Pictures of a task's scene by its front and wrist cameras, on one core."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench.figures import Figure
from robolearn.bench.peer import skip
from robolearn.errors import UserError
from robolearn.nodes import instantiate
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds

CAMERAS = ("front", "wrist")


def figures(task: Mapping[str, Any], part: Mapping[str, Any], rounds: int) -> Iterator[Figure]:
    """Frames a second as observations are drawn, each of a state that the expert came to; none where this machine draws nothing."""
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa's software renderer then draws in our own thread: figures are per core
    states = _states(task, int(part["num_envs"]), int(part["steps"]))
    for size in part["sizes"]:
        try:
            pictures = instantiate({**task["pictures"], "quality": part["quality"]}, width=size, height=size)
        except UserError as error:
            skip(f"pictures of {size} pixels", error)
            continue
        with closing(pictures):
            _draw(pictures, states)  # the first pictures load the scene
            seconds = [_draw(pictures, states) for _ in range(rounds)]
        yield Figure(f"sim/{task['name']}_pictures_{size}", len(CAMERAS) * len(states) / float(np.median(seconds)), "frames/s/core", rounds)


def _states(task: Mapping[str, Any], rows: int, steps: int) -> NDArray[np.float64]:
    """Where the rows are after the expert's steps, ``(N, S)``."""
    env: Environment = instantiate({**task["env"], "threads": 1}, num_envs=rows)
    with closing(env):
        seeds = split_seeds("train", rows)
        expert = instantiate(task["expert"], num_envs=rows)
        observation, _ = env.reset(seed=seeds.tolist())
        expert.reset(np.ones(rows, bool), seeds)
        for _ in range(steps):
            observation = env.step(expert.act(observation))[0]
        return env.get_state()


def _draw(pictures: Any, states: NDArray[np.float64]) -> float:
    begun = time.perf_counter()
    for state in states:
        for camera in CAMERAS:
            pictures.draw(state, camera)
    return time.perf_counter() - begun
