"""robosuite's tasks in batches beside robosuite's own environment: observation, reward, success and reset included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import numpy as np

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import skip
from robolearn.errors import UserError
from robolearn.nodes import instantiate

ACTION = 0.3  # of the greatest delta: as much as an untrained policy does
SETTLING = 20  # control steps before the first round, after which objects lie where they were dropped


def figures(part: Mapping[str, Any], threads: int, rounds: int) -> Iterator[Figure]:
    """Steps a second of each task, exact and with sleep, over robosuite's; ``part`` is ``sim.robosuite_tasks`` of conf/bench.yaml."""
    for task in part["names"]:
        try:
            yield from _task(task, part, threads, rounds)
        except (UserError, ImportError, OSError) as error:
            skip(f"robosuite {task}", error)


def _task(task: str, part: Mapping[str, Any], threads: int, rounds: int) -> Iterator[Figure]:
    rows, steps = int(part["num_envs"]), int(part["steps"])
    exact, asleep = (instantiate(part["env"], task=task, num_envs=rows, threads=threads, sleep=sleep) for sleep in (False, True))
    with closing(exact), closing(asleep), closing(instantiate(part["peer"], task=task)) as peer:
        players = [_batch(exact, steps), _batch(asleep, steps), _single(peer, int(part["peer_steps"]))]
        for play, count in zip(players, (SETTLING // steps + 1, SETTLING // steps + 1, 1), strict=True):
            for _ in range(count):
                play()
        fast, faster, slow = (float(np.median(seconds)) for seconds in in_turns(rounds, *players))
    name, unit = f"robosuite {type(peer).__name__}", "env-steps/s/core"
    cores = max(threads, 1)
    yield Figure(f"sim/robosuite_{task}", 1 / fast / cores, unit, rounds, name, 1 / slow)
    yield Figure(f"sim/robosuite_{task}_asleep", 1 / faster / cores, unit, rounds, name, 1 / slow)


def _batch(env: Any, steps: int) -> Callable[[], float]:
    """Plays random actions; seconds a step of a row. Of the processor: what other programs take of it is not counted."""
    rng, size = np.random.default_rng(0), (env.num_envs, env.env_spec.action.size)
    env.reset(seed=0)

    def play() -> float:
        actions = rng.uniform(-ACTION, ACTION, (steps, *size))
        begun = time.process_time()
        for action in actions:
            env.step(action)
        return (time.process_time() - begun) / (steps * int(env.num_envs))

    return play


def _single(world: Any, steps: int) -> Callable[[], float]:
    """The same for robosuite's environment, whose functions are compiled at their first call."""
    rng = np.random.default_rng(0)
    world.reset()

    def play() -> float:
        actions = rng.uniform(-ACTION, ACTION, (steps, world.action_dim))
        begun = time.process_time()
        for action in actions:
            world.step(action)
            if world.timestep >= world.horizon:
                world.reset()
        return (time.process_time() - begun) / steps

    return play
