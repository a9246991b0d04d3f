"""Averages of actions that are actions themselves: rotations stay rotations, a gripper stays open or closed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.rotation import matrix_from_rot6d, rot6d_from_matrix
from robolearn.spec import UNIT_SIZES, ActionSpec, things

Floats = NDArray[np.float32]
_SHORT = 1e-2  # a row of rot6d below this length, or two rows this near to parallel, stand for no rotation


class ActionMixer:
    """Knows which channels of an action are positions, rotations and grippers, and mixes each as it can be mixed.

    Args:
        action: canonical, of one arm or of several: units ``m, rot6d, gripper`` for each.

    Raises:
        UserError: the action is another.
    """

    def __init__(self, action: ActionSpec) -> None:
        words = things(action.units)
        if not set(words) <= set(UNIT_SIZES) or sum(UNIT_SIZES[word] for word in words) != action.size:
            raise UserError(
                f"chunks are executed of canonical actions (units 'm, rot6d, gripper' for each arm);"
                f" this action has {action.size} channels {action.names} with units {action.units!r}"
            )
        ends = np.cumsum([UNIT_SIZES[word] for word in words])
        self.size = action.size
        self._rotations = [slice(int(end) - 6, int(end)) for word, end in zip(words, ends, strict=True) if word == "rot6d"]
        self._grippers = np.array([end - 1 for word, end in zip(words, ends, strict=True) if word == "gripper"], np.int64)

    def are_rotations(self, actions: Floats) -> bool:
        """Whether every rot6d of ``actions (T, A)`` stands for a rotation; zeros, such as of padding, do not."""
        return all(_definite(actions[:, place]).all() for place in self._rotations)

    def mean(self, actions: Floats, weights: NDArray[np.float64]) -> Floats:
        """The weighted mean of n actions at each of T steps, oldest first: ``(n, T, A), (n, T) -> (T, A)``.

        Positions linearly; rotations as the rotation nearest to the mean rot6d (the heaviest one, where they cancel each
        other); a gripper does what the greater weight wants (the newest, where they are even), as the newest of those says it.
        """
        if len(actions) == 1:
            only: Floats = actions[0].copy()
            return only
        shares = weights / weights.sum(0)
        mixed = (shares[..., None] * actions).sum(0)  # (T, A)
        steps = np.arange(len(mixed))
        heaviest = len(shares) - 1 - np.argmax(shares[::-1], 0)
        for place in self._rotations:
            rot6d = np.where(_definite(mixed[:, place])[:, None], mixed[:, place], actions[heaviest, steps, place])
            mixed[:, place] = rot6d_from_matrix(matrix_from_rot6d(rot6d))
        for channel in self._grippers:
            closed = actions[..., channel] > 0  # (n, T)
            vote = np.where(closed, shares, -shares).sum(0)
            wanted = np.where(np.abs(vote) < 1e-9, closed[-1], vote > 0)
            speaker = len(shares) - 1 - np.argmax((closed == wanted)[::-1], 0)
            mixed[:, channel] = actions[speaker, steps, channel]
        result: Floats = mixed.astype(np.float32)
        return result

    def blend(self, old: Floats, new: Floats, weights: NDArray[np.float64]) -> Floats:
        """From one stretch of actions to another, both ``(T, A)``; ``weights (T,)`` of the old one, exact at 1 and at 0."""
        mixed = self.mean(np.stack([old, new]), np.stack([weights, 1 - weights]))
        whole = weights[:, None]
        return np.where(whole >= 1, old, np.where(whole <= 0, new, mixed))


def _definite(rot6d: NDArray[Any]) -> NDArray[np.bool_]:
    """``(T, 6) -> (T,)``: whether the two rows are long enough and point apart."""
    first, second = rot6d[:, :3].astype(np.float64), rot6d[:, 3:].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
        apart = np.linalg.norm(np.cross(first, second), axis=1)
        definite: NDArray[np.bool_] = (np.minimum(*lengths) > _SHORT) & (apart > _SHORT * lengths[0] * lengths[1])
    return definite
