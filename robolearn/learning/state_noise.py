"""State noise: shows a policy a displaced arm with the action that was right, so that it learns to come back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from robolearn.batch import WindowBatch
from robolearn.errors import UserError, check_share, nearest
from robolearn.learning.parallel import Shard, rand, randn
from robolearn.rotation_torch import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix
from robolearn.spec import UNIT_SIZES, ArraySpec, EnvSpec, things

ARM = ("tcp_pos", "tcp_rot6d")  # proprioception, which JUICER displaces
PIECES = {name: UNIT_SIZES[name] for name in ("m", "rot6d")}  # numbers of each thing that noise has a size for


class StateNoise:
    """Displaces arrays of a share of the windows, in metres and radians; actions stay (Ke et al. 2021, JUICER's baseline).

    Positions move by a normal offset; rotations turn by a normal rotation vector, on SO(3), and stay rotations. What an array
    holds is read from its units in the spec: ``m``, ``rot6d``, or ``m, rot6d`` for poses, each pose displaced by itself. All
    steps of a window's history are displaced alike: the arm is elsewhere, it does not shake.

    Args:
        env_spec: of the demonstrations.
        observation_keys: what the policy reads.
        share: of the windows that are displaced.
        position: [m] standard deviation of each coordinate.
        rotation: [rad] standard deviation of each component of the rotation vector.
        keys: arrays to displace; those of ``tcp_pos`` and ``tcp_rot6d`` that the policy reads unless given.
        units: what arrays hold whose spec does not say; in the spec's words.
        others: standard deviations of further arrays, each in its own units, such as ``{gripper_width: 0.001}``.

    Raises:
        UserError: a value out of range, an array that the policy does not read, or one of which nobody says what it holds.
    """

    def __init__(
        self,
        env_spec: EnvSpec,
        observation_keys: Sequence[str],
        *,
        share: float = 0.2,
        position: float = 0.01,
        rotation: float = 0.1,
        keys: Sequence[str] | None = None,
        units: Mapping[str, str] | None = None,
        others: Mapping[str, float] | None = None,
    ) -> None:
        check_share(share=share)
        self.others = dict(others or {})
        check_share(0.0, math.inf, position=position, rotation=rotation, **self.others)
        self.share, self.position, self.rotation = share, position, rotation
        chosen = [name for name in ARM if name in observation_keys] if keys is None else list(keys)
        for name in (*chosen, *self.others):
            if name not in observation_keys:
                read = ", ".join(observation_keys)
                raise UserError(
                    f"state noise on {name!r}, which the policy does not read; it reads {read}{nearest(name, observation_keys)}"
                )
        if not (chosen or self.others):
            raise UserError(
                f"state noise displaces {' and '.join(ARM)} unless keys says what; the policy reads {', '.join(observation_keys)}"
            )
        self.pieces = {name: _pieces(name, env_spec.observation[name], (units or {}).get(name)) for name in chosen}

    def __call__(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> WindowBatch:
        """The batch with some windows displaced; ``generator`` draws as much whatever is drawn."""
        if self.share == 0:
            return batch
        rows = len(batch.actions)
        hit = rand((rows,), generator, shard) < self.share  # (B,)
        changed = dict(batch.observations)
        for name, pieces in self.pieces.items():
            changed[name] = self._displace(changed[name], pieces, hit, generator, shard)
        for name, size in self.others.items():
            values: Tensor = changed[name]
            noise = randn((rows, 1, *values.shape[2:]), generator, shard).to(values)
            changed[name] = _where(hit, values + size * noise, values)
        return replace(batch, observations=changed)

    def _displace(self, values: Tensor, pieces: Sequence[str], hit: Tensor, generator: torch.Generator, shard: Shard | None) -> Tensor:
        """``(B, To, D)`` with the rows of ``hit (B,)`` displaced, piece by piece."""
        noise = randn((len(values), 1, 3 * len(pieces)), generator, shard).to(values)
        parts = []
        sizes = [PIECES[piece] for piece in pieces]
        for piece, part, drawn in zip(pieces, torch.split(values, sizes, -1), torch.split(noise, 3, -1), strict=True):
            if piece == "m":
                parts.append(part + self.position * drawn)
            else:
                parts.append(rot6d_from_matrix(matrix_from_rotvec(self.rotation * drawn) @ matrix_from_rot6d(part)))
        return _where(hit, torch.cat(parts, -1), values)


def _pieces(name: str, spec: ArraySpec, declared: str | None) -> list[str]:
    """What an array is made of: ``m`` (three numbers) and ``rot6d`` (six), repeated as often as it takes."""
    units = spec.units if declared is None else declared
    words = things(units)
    size = sum(PIECES.get(word, 0) for word in words)
    if not set(words) <= PIECES.keys() or len(spec.shape) != 1 or spec.shape[0] % size:
        remedy = f"say units={{{name}: m}}, rot6d or 'm, rot6d', or give it a size of its own: others={{{name}: 0.001}}"
        raise UserError(f"state noise has no size for {name!r}, {spec.shape} in {units or 'unknown units'!r}: {remedy}")
    return words * (spec.shape[0] // size)


def _where(hit: Tensor, changed: Tensor, values: Tensor) -> Tensor:
    return torch.where(hit.to(values.device).reshape(-1, *(1,) * (values.ndim - 1)), changed, values)
