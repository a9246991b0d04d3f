"""Where the parts, the fence and the arm start: distributions of one_leg's initial states, drawn by address."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.seeding import addressed_uniform
from robolearn.sim.furniture import TOP_HALF


@dataclass(frozen=True)
class Randomness:
    """Half-widths of uniform displacements from the nominal layout: position [m] and yaw [rad]; joints [rad]."""

    top: tuple[float, float, float]
    leg: tuple[float, float, float]
    fence: float
    joints: float


# FurnitureSim displaces parts by random impulses, which depend on its friction; these are the displacements seen in the
# recorded demonstrations ("low"), and JUICER's +-5 cm, +-45 degrees as far as the table top clears the legs ("med").
LEVELS = {
    "low": Randomness(top=(0.018, 0.018, 0.33), leg=(0.005, 0.008, 0.45), fence=0.02, joints=np.radians(5.0)),
    "med": Randomness(top=(0.03, 0.05, 0.45), leg=(0.015, 0.008, 0.45), fence=0.04, joints=np.radians(10.0)),
}
# Nominal x, y [m] in the base frame: top, legs 1-4, fence.
LAYOUT = np.array([[0.5415, 0.0], [0.371, -0.2], [0.371, -0.12], [0.371, 0.12], [0.371, 0.2], [0.6815, 0.0]])

_LEGS_END = 0.42  # [m] no leg reaches further along x


@dataclass(frozen=True)
class Start:
    """Initial placements of N rows: ``xy (N, 6, 2)`` [m], ``yaw (N, 5)`` [rad] of the free parts, ``joints (N, 7)`` [rad] off home."""

    xy: NDArray[np.float64]
    yaw: NDArray[np.float64]
    joints: NDArray[np.float64]


def check_level(level: str) -> None:
    """Raise ``UserError``, naming what there is, unless ``level`` is a key of ``LEVELS``."""
    if level not in LEVELS:
        raise UserError(f"no randomness level {level!r}; there are {', '.join(LEVELS)}{nearest(level, LEVELS)}")


def draw_starts(seeds: NDArray[np.int64], level: str) -> Start:
    """The start that belongs to each seed, ``(N,)``.

    Raises:
        UserError: the level is unknown.
    """
    check_level(level)
    width = LEVELS[level]
    unit = 2.0 * addressed_uniform("start", seeds, np.zeros_like(seeds), 24) - 1.0  # (N, 24) in (-1, 1)
    parts = unit[:, :15].reshape(-1, 5, 3) * np.array([width.top, *(width.leg,) * 4])
    fence = unit[:, 15:17] * width.fence
    xy = LAYOUT + np.concatenate([parts[:, :, :2], fence[:, None]], 1)
    reach = TOP_HALF[0] * (np.abs(np.cos(parts[:, 0, 2])) + np.abs(np.sin(parts[:, 0, 2]))) + 0.003
    xy[:, 5, 0] = np.maximum(xy[:, 5, 0], _LEGS_END + 2 * reach + 0.01)  # room for the top between the legs and the fence
    xy[:, 0] = _clear_of_neighbours(xy[:, 0], reach, xy[:, 5])
    return Start(xy=xy, yaw=parts[:, :, 2], joints=unit[:, 17:24] * width.joints)


def _clear_of_neighbours(top: NDArray[np.float64], reach: NDArray[np.float64], fence: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move tops, ``(N, 2)``, half as wide as ``reach (N,)``, out of the fence and off the legs by as little as will do [m]."""
    x = np.clip(top[:, 0], _LEGS_END + reach, np.maximum(fence[:, 0] - 0.01 - reach, _LEGS_END + reach))
    room = np.maximum(0.165 - reach, 0.0)
    return np.stack([x, np.clip(top[:, 1], fence[:, 1] - room, fence[:, 1] + room)], 1)
