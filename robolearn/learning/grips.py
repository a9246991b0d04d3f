"""Other grips of a part in hand: the part is shifted between the pads, and the hand goes so that the part keeps its own way.

Ten demonstrations show ten grips, and snippets repeat them; a policy grips a few millimetres elsewhere and then has to insert what
no demonstration held so. With ``shift`` D in the hand's frame the part in hand is moved to H D H^-1 P, and the hand's later poses
H(t) become H(t) D^-1: the part's poses stay those of the demonstration.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec
from robolearn.seeding import addressed_uniform

Array = NDArray[np.float64]
_WATCHED = 8  # steps from a state on in which a part in hand must go along with the hand
_NEAR, _ALONG, _GONE = 0.12, 0.004, 0.005  # [m] from the tool; at most against the hand; at least against the table
_EMPTY = 0.008  # [m] between the fingers of a closed hand that holds nothing, which may push a part along
_OPENING, _LET_GO = 3, 6  # steps until the fingers are open; then those in which the hand goes over to the demonstration's own way


def part_in_hand(episode: Episode, start: int) -> int | None:
    """Index of the part that the closed hand carries from ``start`` on; None for an open or an empty hand."""
    steps = slice(start, start + _WATCHED)
    closed = np.asarray(episode.actions[steps])[:, -1] > 0
    if not closed[0]:
        return None
    steps = slice(start, start + (_WATCHED if closed.all() else int(np.argmin(closed))))
    names = ("tcp_pos", "tcp_rot6d", "gripper_width", "parts_poses")
    seen = {name: np.asarray(episode.observations[name][steps], np.float64) for name in names}
    if seen["gripper_width"].min() < _EMPTY:
        return None
    parts = seen["parts_poses"].reshape(len(seen["tcp_pos"]), -1, 9)[..., :3]  # (T, P, 3)
    offset = np.einsum("tji,tpj->tpi", matrix_from_rot6d(seen["tcp_rot6d"]), parts - seen["tcp_pos"][:, None])
    slips = np.linalg.norm(offset - offset[:1], axis=2).max(0)
    carried = (slips < _ALONG) & (np.linalg.norm(offset[0], axis=1) < _NEAR) & (np.linalg.norm(parts - parts[:1], axis=2).max(0) > _GONE)
    return int(np.argmin(np.where(carried, slips, np.inf))) if carried.any() else None


@dataclass(frozen=True)
class Grips:
    """How far the part in each hand is shifted, in the hand's frame: ``position (N, 3)`` [m], ``rotvec (N, 3)`` [rad]."""

    position: Array
    rotvec: Array

    @classmethod
    def draw(cls, grip_m: float, grip_deg: float, seeds: NDArray[np.int64]) -> Grips:
        """Uniform shifts along the pads (x and z, +-``grip_m``) and turns about their common normal (y, +-``grip_deg``), one a seed."""
        unit = 2 * addressed_uniform("grips", seeds, np.zeros_like(seeds), 3) - 1  # (N, 3)
        zero = np.zeros(len(seeds))
        position = np.stack([grip_m * unit[:, 0], zero, grip_m * unit[:, 1]], 1)
        return cls(position, np.stack([zero, np.radians(grip_deg) * unit[:, 2], zero], 1))

    def any(self) -> bool:
        """Whether anything is shifted at all."""
        return bool(self.position.any() or self.rotvec.any())

    def of(self, rows: NDArray[np.bool_]) -> Grips:
        """These shifts in ``rows (N,)``, none in the others."""
        return Grips(np.where(rows[:, None], self.position, 0.0), np.where(rows[:, None], self.rotvec, 0.0))

    def shifted(self, position: Array, rotation: Array, hand_position: Array, hand_rotation: Array) -> tuple[Array, Array]:
        """Where the parts in hand are then: H D H^-1 P, ``(N, 3), (N, 3, 3)``."""
        back = hand_rotation.transpose(0, 2, 1)
        turn = matrix_from_rotvec(self.rotvec)
        inside = (turn @ (back @ (position - hand_position)[..., None]))[..., 0] + self.position
        return hand_position + (hand_rotation @ inside[..., None])[..., 0], hand_rotation @ turn @ back @ rotation

    def hand(self, position: Array, rotation: Array, share: Array) -> tuple[Array, Array]:
        """Where the hands must go instead: H D^-1, by ``share (N,)`` of the shift."""
        back = matrix_from_rotvec(-share[:, None] * self.rotvec)
        moved = -(back @ (share[:, None] * self.position)[..., None])
        return position + (rotation @ moved)[..., 0], rotation @ back


def share_after(actions: NDArray[Any]) -> Array:
    """How much of the shift is in each step of a continuation ``(T, A)``: all until its gripper has opened, then less and less."""
    opened = np.flatnonzero(np.asarray(actions)[:, -1] <= 0)
    since = np.arange(len(actions)) - (opened[0] if len(opened) else len(actions))
    share: Array = np.clip(1.0 - (since - _OPENING) / _LET_GO, 0.0, 1.0)
    return share
