"""Simulation: an environment beside its bare physics and beside robosuite, and reinforcement learning beside simulation alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import skip
from robolearn.bench.stand_ins import save_untrained
from robolearn.checkpoint import open_checkpoint
from robolearn.config import compose, instantiate, to_dict
from robolearn.errors import UserError
from robolearn.learning.finetune import build_residual
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds

State = NDArray[np.float64]


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench sim``: steps a second, simulated seconds a second, PPO's steps a second."""
    part, rounds = options["sim"], int(options["rounds"])
    rows, steps = int(part["num_envs"]), int(part["steps"])
    env: Environment = instantiate({**options["task"]["env"], "threads": part["threads"]}, num_envs=rows)
    with closing(env):
        tape = record(env, instantiate(options["task"]["expert"], num_envs=rows), rounds * steps, every=steps)
        bare = instantiate(part["bare"], num_envs=rows, threads=part["threads"])
        ours, alone = in_turns(rounds, _Replay(tape, env, steps).play, _BareReplay(tape, bare, steps).play)
        name, cores = options["task"]["name"], max(int(part["threads"]), 1)
        rates = [rows * steps / float(np.median(seconds)) / cores for seconds in (ours, alone)]
        yield Figure(f"sim/{name}_steps", rates[0], "env-steps/s/core", rounds, "mujoco.batch.Batch.step", rates[1])
        yield _beside_robosuite(part["robosuite"], name, _Replay(tape, env, steps), rounds, rows * steps / env.env_spec.control_hz / cores)
    yield _ppo(options, part["ppo"])


@dataclass
class Tape:
    """What an expert did in N rows, to be played again.

    Args:
        actions: ``(T, N, A)``.
        states: every row's state before step t, ``{t: (N, S)}``.
        restarts: rows that began anew after step t, their seeds and their states then.
    """

    actions: list[NDArray[np.float32]]
    states: dict[int, State]
    restarts: dict[int, tuple[NDArray[np.bool_], NDArray[np.int64], State]]


def record(env: Environment, expert: Any, steps: int, every: int) -> Tape:
    """Let an expert play on training seeds, episodes ending at their own times; its state is kept every so many steps."""
    rows = env.num_envs
    seeds = split_seeds("train", rows)
    observation, _ = env.reset(seed=seeds.tolist())
    expert.reset(np.ones(rows, bool), seeds)
    tape = Tape([], {}, {})
    for step in range(steps):
        if step % every == 0:
            tape.states[step] = env.get_state()
            env.set_state(tape.states[step])  # what sleeps is no part of the state: all tapes are played from loaded ones
        tape.actions.append(expert.act(observation))
        observation, _, terminated, truncated, _ = env.step(tape.actions[-1])
        ended = np.asarray(terminated | truncated)
        if ended.any():
            seeds = np.where(ended, seeds + rows, seeds)
            observation, _ = env.reset(seed=seeds.tolist(), options={"reset_mask": ended})
            expert.reset(ended, seeds)
            tape.restarts[step] = (ended, seeds, env.get_state())
    return tape


class _Replay:
    """Plays a tape in its environment, piece by piece: steps, and resets of the rows that ended."""

    def __init__(self, tape: Tape, env: Environment, steps: int) -> None:
        self.tape, self.env, self.steps, self.at = tape, env, steps, 0

    def play(self) -> float:
        """Seconds of the next piece."""
        tape, env, begin = self.tape, self.env, self.at
        self.at = (begin + self.steps) % len(tape.actions)
        env.set_state(tape.states[begin])
        begun = time.perf_counter()
        for step in range(begin, begin + self.steps):
            env.step(tape.actions[step])
            if step in tape.restarts:
                ended, seeds, _ = tape.restarts[step]
                env.reset(seed=seeds.tolist(), options={"reset_mask": ended})
        return time.perf_counter() - begun


class _BareReplay:
    """The same in bare physics; where a row begins anew it is put there, which does not count."""

    def __init__(self, tape: Tape, bare: Any, steps: int) -> None:
        self.tape, self.bare, self.steps, self.at = tape, bare, steps, 0

    def play(self) -> float:
        """Seconds of the next piece, in the physics alone."""
        tape, begin, seconds = self.tape, self.at, 0.0
        self.at = (begin + self.steps) % len(tape.actions)
        self.bare.load(tape.states[begin], np.ones(tape.actions[0].shape[0], bool))
        for step in range(begin, begin + self.steps):
            seconds += self.bare.step(tape.actions[step])
            if step in tape.restarts:
                ended, _, state = tape.restarts[step]
                self.bare.load(state, ended)
        return seconds


def _beside_robosuite(node: Mapping[str, Any], task: str, replay: _Replay, rounds: int, simulated: float) -> Figure:
    """Simulated seconds a second and core; ``simulated`` seconds lie in a piece of the replay."""
    name, steps = f"sim/{task}_simulated_time", 20
    try:
        world = instantiate(node)
    except (UserError, ImportError, OSError) as error:
        skip(f"robosuite {node['name']}", error)
        (ours,) = in_turns(rounds, replay.play)
        return Figure(name, simulated / float(np.median(ours)), "s/s/core", rounds)
    rng = np.random.default_rng(0)

    def play() -> float:
        begun = time.perf_counter()
        for _ in range(steps):
            if world.step(rng.uniform(-0.3, 0.3, world.action_dim))[2]:
                world.reset()
        return time.perf_counter() - begun

    world.reset()
    play()  # its functions are compiled at their first call
    ours, theirs = in_turns(rounds, replay.play, play)
    world.close()
    rates = (simulated / float(np.median(ours)), steps / world.control_freq / float(np.median(theirs)))
    return Figure(name, rates[0], "s/s/core", rounds, f"robosuite {node['name']}", rates[1])


def _ppo(options: Mapping[str, Any], part: Mapping[str, Any]) -> Figure:
    """Environment steps a second of whole iterations, beside those of the same steps played again without any learning."""
    with tempfile.TemporaryDirectory() as folder, _learner(options["task"], part, Path(folder)) as (learner, env):
        learner.iterate()
        env.calls.clear()
        whole, alone, steps = [], [], learner.env_steps
        for _ in range(int(part["iterations"])):
            begun = time.perf_counter()
            learner.iterate()
            whole.append(time.perf_counter() - begun)
            alone.append(env.replay())
        steps = (learner.env_steps - steps) // len(whole)
        rates = [steps / float(np.median(seconds)) for seconds in (whole, alone)]
    return Figure("sim/ppo_env_steps", rates[0], "env-steps/s", len(whole), "the same steps without learning", rates[1])


@contextmanager
def _learner(task: Mapping[str, Any], part: Mapping[str, Any], folder: Path) -> Iterator[tuple[Any, _Remembering]]:
    """What ``robolearn finetune`` would make of its defaults and ``part``, its actor learning from the first iteration on."""
    import torch

    base = part["base"] or save_untrained(folder, part["policy"], task["name"], instantiate(task["env_spec"]))
    words = [f"num_envs={part['num_envs']}", f"task={task['name']}", f"learner.horizon={part['horizon']}", "learner.critic_iterations=0"]
    document = to_dict(compose("finetune", ["base=none", *words]))
    checkpoint = open_checkpoint(base)
    env = _Remembering(instantiate(document["task"]["env"], num_envs=document["num_envs"]))
    threads = torch.get_num_threads()
    torch.set_num_threads(document["threads"])
    try:
        model = build_residual({**document["model"], "base": checkpoint.config}, checkpoint, env, 0)
        policy = instantiate(document["policy"], model=model, num_envs=env.num_envs)
        yield instantiate(document["learner"]).begin(env, policy, 0), env
    finally:
        torch.set_num_threads(threads)
        env.close()


class _Remembering:
    """An environment that remembers what was asked of it, and can do it again without whoever asked."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._env, name)
        if name not in ("step", "reset", "set_state"):
            return value

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append((value, args, kwargs))
            return value(*args, **kwargs)

        return call

    def replay(self) -> float:
        """Seconds of all calls since the last replay, done again: a learner begins by loading a state, so to the same end."""
        begun = time.perf_counter()
        for call, args, kwargs in self.calls:
            call(*args, **kwargs)
        self.calls.clear()
        return time.perf_counter() - begun
