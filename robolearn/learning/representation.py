"""How a policy represents its actions: absolute targets, seen from the tool, or steps from target to target; and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from robolearn.errors import UserError, nearest
from robolearn.normalize import ACTION, Normalizer, fit_affine
from robolearn.rotation_torch import matrix_from_rot6d, rot6d_from_matrix
from robolearn.spec import EnvSpec, tool_pose_action

REPRESENTATIONS = ("absolute", "delta", "relative")
TCP = ("tcp_pos", "tcp_rot6d")  # observed pose of the tool, in the frame of the actions
_CANONICAL = tool_pose_action((0.0,) * 3, (0.0,) * 3).names


def normalizer_key(representation: str) -> str:
    """Name of the normaliser's part for actions in a representation; ``action`` itself is always in environment units."""
    return ACTION if representation == "absolute" else f"{ACTION}:{representation}"


def check_representation(representation: str, env_spec: EnvSpec, observation_keys: Any) -> None:
    """Raise ``UserError`` where actions cannot be represented so.

    ``delta`` and ``relative`` need the canonical action and, among what the policy reads, the tool's pose.
    """
    if representation not in REPRESENTATIONS:
        there_are = ", ".join(REPRESENTATIONS)
        raise UserError(f"no representation {representation!r} of actions; there are {there_are}{nearest(representation, REPRESENTATIONS)}")
    if representation == "absolute":
        return
    if env_spec.action.names != _CANONICAL:
        takes = ", ".join(env_spec.action.names)
        raise UserError(f"actions={representation} is of the action {', '.join(_CANONICAL)}; {env_spec.task!r} takes {takes}")
    for name, size in zip(TCP, (3, 6), strict=True):
        if name not in observation_keys or env_spec.observation[name].shape != (size,):
            raise UserError(f"actions={representation} starts from the tool's pose: the policy must read {TCP[0]} (3,) and {TCP[1]} (6,)")


def to_representation(representation: str, actions: Tensor, tcp_pos: Tensor, tcp_rot6d: Tensor) -> Tensor:
    """Absolute targets in a representation: ``(..., Tp, 10), (..., 3), (..., 6) -> (..., Tp, 10)``.

    ``relative``: each target in the frame of the tool at the present step, ``T_tool^-1 T_k`` (UMI, Chi et al. 2024).
    ``delta``: each target in the frame of the one before, ``T_(k-1)^-1 T_k``, the first in that of the tool. The gripper's
    command stays what it is. Both are the same wherever the scene stands.
    """
    if representation == "absolute":
        return actions
    position, rotation = actions[..., :3], matrix_from_rot6d(actions[..., 3:9])  # (..., Tp, 3), (..., Tp, 3, 3)
    from_position, from_rotation = tcp_pos[..., None, :], matrix_from_rot6d(tcp_rot6d)[..., None, :, :]
    if representation == "delta":
        from_position = torch.cat([from_position.expand_as(position[..., :1, :]), position[..., :-1, :]], -2)
        from_rotation = torch.cat([from_rotation.expand_as(rotation[..., :1, :, :]), rotation[..., :-1, :, :]], -3)
    moved = (from_rotation.mT @ (position - from_position)[..., None])[..., 0]
    return torch.cat([moved, rot6d_from_matrix(from_rotation.mT @ rotation), actions[..., 9:]], -1)


def from_representation(representation: str, represented: Tensor, tcp_pos: Tensor, tcp_rot6d: Tensor) -> Tensor:
    """The inverse of :func:`to_representation`, of the same shapes; rotations are made orthonormal on the way."""
    if representation == "absolute":
        return represented
    values = represented.double()  # steps add up, and so would their rounding
    position, rotation = tcp_pos.double()[..., None, :], matrix_from_rot6d(tcp_rot6d.double())[..., None, :, :]
    moved, turned = values[..., :3], matrix_from_rot6d(values[..., 3:9])
    if representation == "relative":
        position, rotation = position + (rotation @ moved[..., None])[..., 0], rotation @ turned
    else:
        positions, rotations = [], []
        for step in range(represented.shape[-2]):
            position = position + (rotation @ moved[..., step : step + 1, :, None])[..., 0]
            rotation = rotation @ turned[..., step : step + 1, :, :]
            positions.append(position)
            rotations.append(rotation)
        position, rotation = torch.cat(positions, -2), torch.cat(rotations, -3)
    return torch.cat([position, rot6d_from_matrix(rotation), values[..., 9:]], -1).to(represented)


def fit_represented_actions(normalizer: Normalizer, representation: str, windows: Any, **options: Any) -> Normalizer:
    """The normaliser with a part for actions in ``representation``, fitted on what windows teach; padded actions do not count.

    Args:
        normalizer: as fitted on the demonstrations.
        representation: of the actions.
        windows: a data set of windows that holds the tool's pose.
        **options: of :func:`robolearn.normalize.fit_affine`.
    """
    if representation == "absolute":
        return normalizer
    seen = []
    for indices in np.array_split(np.arange(len(windows)), -(-len(windows) // 4096)):
        batch = windows.batch(indices).torch()
        tcp_pos, tcp_rot6d = (batch.observations[name][:, -1] for name in TCP)
        seen.append(to_representation(representation, batch.actions, tcp_pos, tcp_rot6d)[~batch.is_pad].numpy())
    return Normalizer({**normalizer.parts, normalizer_key(representation): fit_affine(np.concatenate(seen), **options)})
