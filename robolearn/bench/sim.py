"""Simulation: an environment beside its bare physics and beside robosuite, and reinforcement learning beside simulation alone."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench import rendering, sim_envpool, sim_robosuite
from robolearn.bench.figures import Figure
from robolearn.bench.peer import skip
from robolearn.bench.stand_ins import save_untrained
from robolearn.checkpoint import open_checkpoint
from robolearn.config import compose
from robolearn.errors import UserError, nearest
from robolearn.learning.finetune import build_residual
from robolearn.nodes import instantiate, to_dict
from robolearn.protocols import Environment
from robolearn.seeding import split_seeds
from robolearn.tasks import SPECS
from robolearn.tasks_robosuite import ROBOSUITE

ROBOSUITE_STEPS = 20


def check(options: Mapping[str, Any]) -> None:
    """Say what is wrong with ``options`` before minutes of measuring.

    Raises:
        UserError: a task that is not measured there, or no such checkpoint.
    """
    part, ours = options["sim"], [name for name in SPECS if name not in ROBOSUITE]
    for key, names, known in (
        ("task", [options["task"]["name"]], ours),
        ("sim.tasks", part["tasks"], ours),
        ("sim.robosuite_tasks.names", part["robosuite_tasks"]["names"], list(ROBOSUITE)),
    ):
        for name in names:
            if name not in known:
                hint = f"; {name} is measured by sim.robosuite_tasks.names" if name in ROBOSUITE else nearest(str(name), known)
                raise UserError(f"bench sim: {key} takes {', '.join(known)}; got {name!r}{hint}")
    if part["ppo"]["base"]:
        open_checkpoint(part["ppo"]["base"])


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench sim``: steps a second, simulated seconds a second, frames a second, PPO's steps a second."""
    part, rounds = options["sim"], int(options["rounds"])
    yield from _world(options["task"], part, rounds, part["robosuite"])
    for name in part["tasks"]:
        if name != options["task"]["name"]:
            yield from _world(to_dict(compose("bench", [f"task={name}"]))["task"], part, rounds)
    yield from rendering.figures(options["task"], part["pictures"], rounds)
    yield from sim_envpool.figures(part["envpool"], rounds)
    yield from sim_robosuite.figures(part["robosuite_tasks"], int(part["threads"]), rounds)
    yield _ppo(options["task"], options["sim"]["ppo"])


def _world(task: Mapping[str, Any], part: Mapping[str, Any], rounds: int, robosuite: Mapping[str, Any] | None = None) -> Iterator[Figure]:
    """An environment beside its physics, step by step, and beside robosuite, round by round."""
    rows, steps = int(part["num_envs"]), int(part["steps"])
    env: Environment = instantiate({**task["env"], "threads": part["threads"]}, num_envs=rows)
    with closing(env), _robosuite(robosuite) if robosuite else nullcontext() as peer:
        bare = instantiate({**part["bare"], "task": task["env"]["task"]}, num_envs=rows, threads=part["threads"])
        lockstep = _Lockstep(env, bare, instantiate(task["expert"], num_envs=rows))
        samples = []
        for _ in range(rounds):
            samples.append((*lockstep.play(steps), peer() if peer else float("nan")))
        ours, alone, elsewhere = (float(np.median(seconds)) for seconds in np.array(samples).T)
        cores, control_s = max(int(part["threads"]), 1), 1 / env.env_spec.control_hz
    rate, bare_rate = rows * steps / ours / cores, rows * steps / alone / cores
    yield Figure(f"sim/{task['name']}_steps", rate, "env-steps/s/core", rounds, "mujoco.batch.Batch.step", bare_rate)
    if robosuite:
        beside = (f"robosuite {robosuite['name']}", 1 / elsewhere) if peer else (None, None)
        yield Figure(f"sim/{task['name']}_simulated_time", rate * control_s, "s/s/core", rounds, *beside)


class _Lockstep:
    """An expert plays in an environment, the bare physics does the same beside it; which of the two goes first alternates.

    Both are in the same states to the bit, so that contacts cost the same; the bare physics is put where the environment's own
    doings (a thread that catches, a row that begins anew) lead, which does not count.
    """

    def __init__(self, env: Environment, bare: Any, expert: Any) -> None:
        self.env, self.bare, self.expert, self.clock = env, bare, expert, 0
        everyone = np.ones(env.num_envs, bool)
        self.seeds = split_seeds("train", env.num_envs)
        self.observation, _ = env.reset(seed=self.seeds.tolist())
        expert.reset(everyone, self.seeds)
        state = env.get_state()
        env.set_state(state)  # what sleeps is no part of the state: both are loaded
        bare.follow(state, everyone)

    def play(self, steps: int) -> tuple[float, float]:
        """Seconds of the environment and of the bare physics."""
        total = np.zeros(2)
        for _ in range(steps):
            total += self._step(self.expert.act(self.observation))
            self.clock += 1
        return float(total[0]), float(total[1])

    def _step(self, actions: NDArray[np.float32]) -> tuple[float, float]:
        bare_first = self.bare.step(actions) if self.clock % 2 else None
        begun = time.perf_counter()
        self.observation, _, terminated, truncated, _ = self.env.step(actions)
        ended = np.asarray(terminated | truncated)
        if ended.any():
            self.seeds = np.where(ended, self.seeds + len(ended), self.seeds)
            self.observation, _ = self.env.reset(seed=self.seeds.tolist(), options={"reset_mask": ended})
        seconds = time.perf_counter() - begun
        bare = bare_first if bare_first is not None else self.bare.step(actions)
        self.expert.reset(ended, self.seeds)
        self.bare.follow(self.env.get_state(), ended)
        return seconds, bare


@contextmanager
def _robosuite(node: Mapping[str, Any]) -> Iterator[Callable[[], float] | None]:
    """Wall-clock seconds of a simulated one, asked ``ROBOSUITE_STEPS`` control steps at a time; None where it cannot run."""
    try:
        world = instantiate(node)
    except (UserError, ImportError, OSError) as error:
        skip(f"robosuite {node['name']}", error)
        yield None
        return
    rng = np.random.default_rng(0)

    def play() -> float:
        begun = time.perf_counter()
        for _ in range(ROBOSUITE_STEPS):
            if world.step(rng.uniform(-0.3, 0.3, world.action_dim))[2]:
                world.reset()
        return (time.perf_counter() - begun) * float(world.control_freq) / ROBOSUITE_STEPS

    world.reset()
    play()  # its functions are compiled at their first call
    yield play
    world.close()


def _ppo(task: Mapping[str, Any], part: Mapping[str, Any]) -> Figure:
    """Environment steps a second of whole iterations, beside those of the same steps played again without any learning."""
    with tempfile.TemporaryDirectory() as folder, _learner(task, part, Path(folder)) as (learner, env):
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
