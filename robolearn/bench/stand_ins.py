"""Stand-ins to measure with: data of the right shapes, untrained policies; speed depends on sizes, not on what was learned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.checkpoint import build, save_checkpoint
from robolearn.config import compose
from robolearn.episode import Episode
from robolearn.nodes import to_dict
from robolearn.normalize import ACTION, Affine, Normalizer
from robolearn.spec import EnvSpec


def normalizer_of(spec: EnvSpec) -> Normalizer:
    """Maps the action limits to [-1, 1] and leaves observations as they are."""
    low, high = np.asarray(spec.action.low, np.float32), np.asarray(spec.action.high, np.float32)
    parts = {
        name: Affine(np.zeros(int(np.prod(entry.shape)), np.float32), np.ones(int(np.prod(entry.shape)), np.float32))
        for name, entry in spec.observation.items()
    }
    return Normalizer({**parts, ACTION: Affine((low + high) / 2, (high - low) / 2)})


def random_observation(spec: EnvSpec, leading: tuple[int, ...], rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
    """Normal numbers: ``{name: (*leading, ...)}``."""
    return {name: rng.standard_normal((*leading, *entry.shape), np.float32) for name, entry in spec.observation.items()}


def random_episode(spec: EnvSpec, steps: int, rng: np.random.Generator) -> Episode:
    """An episode of T steps of noise."""
    actions = rng.uniform(spec.action.low, spec.action.high, (steps, spec.action.size)).astype(np.float32)
    observations = random_observation(spec, (steps,), rng)
    return Episode(observations, actions, np.zeros(steps, np.float32), terminated=True, truncated=False, success=True)


def policy_node(policy: str, task: str) -> dict[str, Any]:
    """What ``robolearn train task=... policy=...`` would build, as a node."""
    document = to_dict(compose("train", ["store=none", f"task={task}", f"policy={policy}"]))
    node = {key: value for key, value in document["policy"].items() if key != "name"}
    return {**node, "observation_keys": node["observation_keys"] or document["task"]["policy_keys"]}


def untrained_policy(policy: str, task: str, spec: EnvSpec) -> Any:
    """The policy of that name before its first training step, ready to act."""
    return build(policy_node(policy, task), spec, normalizer_of(spec)).eval().requires_grad_(False)


def save_untrained(folder: Path, policy: str, task: str, spec: EnvSpec) -> Path:
    """A checkpoint of :func:`untrained_policy`."""
    node, normalizer = policy_node(policy, task), normalizer_of(spec)
    tensors = {"model": build(node, spec, normalizer).state_dict()}
    return save_checkpoint(folder, 0, config=node, env_spec=spec, normalizer=normalizer, tensors=tensors)
