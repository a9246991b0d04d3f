"""Where the parts, the fixtures and the arms start: distributions of a task's initial states, drawn by address."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.seeding import addressed_uniform
from robolearn.sim.task import Task


@dataclass(frozen=True)
class Start:
    """Initial placements of N rows: ``xy (N, P + F, 2)`` [m], ``yaw (N, P)`` [rad] of the parts, ``joints (N, 7 arms)`` [rad] off home."""

    xy: NDArray[np.float64]
    yaw: NDArray[np.float64]
    joints: NDArray[np.float64]


def draw_starts(task: Task, seeds: NDArray[np.int64], level: str) -> Start:
    """The start of a task that belongs to each seed, ``(N,)``.

    Raises:
        UserError: the level is unknown.
    """
    task.check_level(level)
    width, parts, fixtures = task.levels[level], len(task.parts), len(task.fixtures)
    moves, count = 3 * parts, 3 * parts + 2 * fixtures + 7 * len(task.arms)
    unit = 2.0 * addressed_uniform("start", seeds, np.zeros_like(seeds), count) - 1.0  # (N, count) in (-1, 1)
    part = unit[:, :moves].reshape(-1, parts, 3) * np.array(width.parts)
    fixture = unit[:, moves : moves + 2 * fixtures].reshape(len(seeds), fixtures, 2) * np.reshape(width.fixtures, (fixtures, 1))
    nominal = np.array([(rest.x, rest.y) for rest in task.layout])
    xy = nominal + np.concatenate([part[:, :, :2], fixture], 1)
    return task.adjust(Start(xy=xy, yaw=part[:, :, 2], joints=unit[:, moves + 2 * fixtures :] * width.joints))
