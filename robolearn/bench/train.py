"""Imitation: gradient steps a second, batch, optimiser and averaged weights included, beside LeRobot's trainer."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import Peer, lerobot
from robolearn.bench.stand_ins import random_episode
from robolearn.config import compose
from robolearn.learning.behavior_cloning import build_trainer, training_settings
from robolearn.learning.parallel import Workers
from robolearn.nodes import find_target, instantiate, to_dict
from robolearn.spec import EnvSpec

SHARED_SIZES = ("observation_horizon", "prediction_horizon", "action_horizon", "down_dims", "inference_steps")


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench train``: steps a second of each policy."""
    part = options["train"]
    spec: EnvSpec = instantiate(options["task"]["env_spec"])
    before = torch.get_num_threads()
    threads = int(part["threads"] or before)
    torch.set_num_threads(threads)
    sizes = peer_sizes(options["task"], spec, threads=threads, batch_size=part["batch_size"])
    try:
        with tempfile.TemporaryDirectory() as folder, lerobot(options["peer_python"], sizes) as peer:
            store = Path(folder) / "noise.zarr"
            with find_target(options["store_type"]).create(store, spec) as demonstrations:
                demonstrations.extend([random_episode(spec, 100, np.random.default_rng(index)) for index in range(10)])
            for policy in part["policies"]:
                step = _stepper(policy, options["task"]["name"], store, int(part["batch_size"]))
                yield _figure(policy, step, peer, int(options["rounds"]), int(part["steps"]))
    finally:
        torch.set_num_threads(before)


def peer_sizes(task: Mapping[str, Any], spec: EnvSpec, *, threads: int, batch_size: int = 1) -> dict[str, Any]:
    """LeRobot's policy for a task: the sizes of ``policy=diffusion_unet``, the last observation being its environment state."""
    node = to_dict(compose("train", ["store=none", f"task={task['name']}", "policy=diffusion_unet"]))["policy"]
    *state, environment = (int(np.prod(spec.observation[name].shape)) for name in task["policy_keys"])
    return {
        **{name: node[name] for name in SHARED_SIZES},
        "state": sum(state),
        "environment_state": environment,
        "action": spec.action.size,
        "train_steps": 100,
        "threads": threads,
        "batch_size": batch_size,
    }


def _stepper(policy: str, task: str, store: Path, batch_size: int) -> Callable[[], Any]:
    """One gradient step of what ``robolearn train`` would train."""
    words = [f"store={store}", f"task={task}", f"policy={policy}", f"training.batch_size={batch_size}"]
    document = to_dict(compose("train", words))
    trainer, _ = build_trainer(document, training_settings(document["training"]), Workers())
    return trainer.step


def _figure(policy: str, step: Callable[[], Any], peer: Peer | None, rounds: int, steps: int) -> Figure:
    def ours() -> list[float]:
        return [seconds_of(step) for _ in range(steps)]

    ours()
    if peer is None:
        (mine,) = in_turns(rounds, ours)
        return Figure(f"train/{policy}", 1 / float(np.median(mine)), "steps/s", len(mine))
    peer.ask(do="train", steps=2)
    mine, theirs = in_turns(rounds, ours, lambda: peer.ask(do="train", steps=steps)["seconds"])
    return Figure(f"train/{policy}", 1 / float(np.median(mine)), "steps/s", len(mine), peer.name, 1 / float(np.median(theirs)))


def seconds_of(call: Callable[[], Any]) -> float:
    """How long a call takes."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun
