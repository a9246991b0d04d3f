"""Builds a policy that acts from the paths of checkpoints: any base, steered by a critic, refined by a residual."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from robolearn.checkpoint import load_model
from robolearn.device import torch_device
from robolearn.errors import UserError
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.residual import ResidualModel, ResidualPolicy
from robolearn.policies.steering import SteeredSampler
from robolearn.protocols import ChunkSampler, Policy


def load_policy(
    checkpoint: str | Path,
    num_envs: int,
    *,
    action_horizon: int | None = None,
    inference_scheduler: str | None = None,
    inference_steps: int | None = None,
    precision: str | None = None,
    task: str | None = None,
    strength: float = 1.0,
    critic: str | Path | None = None,
    candidates: int | None = None,
    guidance: float | None = None,
    temperature: float | None = None,
    pick: str | None = None,
    caution: float | None = None,
    threshold: float | None = None,
    device: str = "cpu",
) -> Policy:
    """Serve any checkpoint in N rows.

    Args:
        checkpoint: a run folder, a ``checkpoints/`` folder or one checkpoint.
        num_envs: rows N.
        action_horizon: actions executed of each chunk; as trained unless given.
        inference_scheduler: of a diffusion policy: ``ddim`` or ``dpm-solver++``; as trained unless given.
        inference_steps: of a diffusion policy; as trained unless given.
        precision: of the base's network: ``float32``, ``bfloat16`` or ``auto``; as trained unless given.
        task: of a policy that was trained on several: which of them to act for; the environment's unless given.
        strength: of a residual: 0 is its base, 1 as trained; a policy without one takes no other.
        critic: the same of a chunk critic, which then steers the base; nothing is steered without one.
        candidates: chunks K that the critic picks from; this and the next five are those of :class:`SteeredSampler`, which has their
            defaults, and are refused without a critic.
        guidance: its ``strength``: 0 is the base. It scales the scores, whose order no scale changes: at temperature 0 anything above 0
            is full steering.
        temperature: of the pick; 0 picks the best.
        pick: ``value``, ``random``, ``first`` or ``mean``.
        caution: standard deviations that the lower bound of a gain lies below its mean.
        threshold: gain up to which the base's own draw is kept.
        device: torch device name.

    Raises:
        CheckpointError: nothing there, or damaged.
        UserError: an option that the checkpoint's policy does not have, a critic that does not fit it, or no such device.
    """
    model = load_model(checkpoint, str(torch_device(device)))
    base: Any = model.base if isinstance(model, ResidualModel) else model
    _method(base, "sample", f"{checkpoint} holds a {type(model).__name__}, which is no policy")
    _check_strength(strength, model, checkpoint)
    _set(base, "set_inference", checkpoint, "inference_scheduler or inference_steps", inference_scheduler, inference_steps)
    _set(base, "set_precision", checkpoint, "precision to choose", precision)
    _set(base, "set_task", checkpoint, "tasks to choose from", task)
    horizon = base.action_horizon if action_horizon is None else action_horizon
    options: dict[str, Any] = {"candidates": candidates, "strength": guidance, "temperature": temperature}
    options |= {"pick": pick, "caution": caution, "threshold": threshold}
    given = {name: value for name, value in options.items() if value is not None}
    if given and critic is None:
        raise UserError(
            "candidates, guidance, temperature, pick, caution and threshold steer by a critic: give critic=..., or none of them"
        )
    sampler: ChunkSampler = base if critic is None else steer(base, critic, horizon, device, **given)
    chunked = ChunkedPolicy(sampler, horizon, num_envs)
    return ResidualPolicy(chunked, model, strength) if isinstance(model, ResidualModel) else chunked


def steer(sampler: ChunkSampler, critic: str | Path, action_horizon: int, device: str = "cpu", **options: Any) -> SteeredSampler:
    """Wrap a sampler in the steering of a saved critic; ``options`` are those of :class:`SteeredSampler`.

    Raises:
        UserError: not a critic, one that scores another number of actions than will be executed or other actions, or an option is wrong.
    """
    judge = load_model(critic, device)
    _method(judge, "score", f"{critic} holds a {type(judge).__name__}, which is no critic; `robolearn value` trains one")
    if judge.action_horizon != action_horizon:
        raise UserError(f"the critic {critic} judges {judge.action_horizon} actions, the policy executes {action_horizon} of each chunk")
    if judge.env_spec.action.names != sampler.env_spec.action.names:
        raise UserError(
            f"the critic {critic} judges {judge.env_spec.action.names}, the policy's actions are {sampler.env_spec.action.names}"
        )
    try:
        return SteeredSampler(sampler, judge, **options)
    except ValueError as error:
        raise UserError(str(error)) from error


def _check_strength(strength: float, model: Any, checkpoint: str | Path) -> None:
    if not 0 <= strength < math.inf:
        raise UserError(f"strength is 0 (the base alone) or more, 1 is as trained; got {strength}")
    if strength != 1 and not isinstance(model, ResidualModel):
        raise UserError(
            f"{checkpoint} holds a {type(model).__name__}, which has no residual to scale: strength={strength} is of a residual"
        )


def _set(base: Any, method: str, checkpoint: str | Path, what: str, *values: Any) -> None:
    """Tell a base what was chosen, unless nothing was."""
    if any(value is not None for value in values):
        _method(base, method, f"{checkpoint} holds a {type(base).__name__}, which has no {what}")(*values)


def _method(model: Any, name: str, complaint: str) -> Any:
    if not hasattr(model, name):
        raise UserError(complaint)
    return getattr(model, name)
