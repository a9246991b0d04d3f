"""Rotations one at a time, in plain floats: what runs at every tick and would cost ten times as much in numpy."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def rotvec_between(goal: Array, start: Array) -> Array:
    """The turn that leads from one orientation to another, ``(3, 3), (3, 3) -> (3,) [rad]`` in the base frame, at most pi long."""
    (a, b, c), (d, e, f), (g, h, i) = goal.dot(start.T).tolist()
    x, y, z, w2 = h - f, c - g, d - b, 1.0 + a + e + i  # twice the sine's axis; four times the quaternion's w squared
    if w2 > 1.0:  # less than 120 degrees
        sine = math.sqrt(x * x + y * y + z * z)
        factor = math.atan2(sine, a + e + i - 1.0) / sine if sine > 1e-12 else 0.5
        return np.array((factor * x, factor * y, factor * z))
    squares = (1.0 + a - e - i, 1.0 - a + e - i, 1.0 - a - e + i)  # four times those of x, y, z (Shepperd 1978)
    largest = max(range(3), key=squares.__getitem__)
    axis = ((squares[0], b + d, c + g), (b + d, squares[1], f + h), (c + g, f + h, squares[2]))[largest]
    sine = (x, y, z)[largest]  # of which the axis' sign follows
    norm = math.sqrt(sum(value * value for value in axis))
    half = math.atan2(norm, abs(sine)) if norm > 0 else 0.0
    factor = math.copysign(2.0 * half / norm, sine)
    return np.array([factor * value for value in axis])


def rotated(rotvec: Array, start: Array) -> Array:
    """An orientation after a turn in the base frame: ``(3,) [rad], (3, 3) -> (3, 3)``."""
    x, y, z = rotvec.tolist()
    square = x * x + y * y + z * z
    angle = math.sqrt(square)
    sine = math.sin(angle) / angle if angle > 1e-6 else 1.0 - square / 6
    versine = (1.0 - math.cos(angle)) / square if angle > 1e-4 else 0.5 - square / 24
    diagonal = 1.0 - versine * square
    turn = np.array(
        (
            (diagonal + versine * x * x, versine * x * y - sine * z, versine * x * z + sine * y),
            (versine * x * y + sine * z, diagonal + versine * y * y, versine * y * z - sine * x),
            (versine * x * z - sine * y, versine * y * z + sine * x, diagonal + versine * z * z),
        )
    )
    after: Array = turn.dot(start)
    return after


def rotation_of(rot6d: Array) -> Array | None:
    """The rotation of two rows, ``(6,) -> (3, 3)``, of any length; None where they do not say which (zero, parallel, not finite)."""
    values = rot6d.tolist()
    first, second = _unit(values[:3]), _unit(values[3:])
    if first is None or second is None:
        return None
    along = sum(a * b for a, b in zip(first, second, strict=True))
    across = [b - along * a for a, b in zip(first, second, strict=True)]
    if math.sqrt(sum(value * value for value in across)) < 1e-3:  # they are parallel to a twentieth of a degree
        return None
    (a, b, c), (d, e, f) = first, _unit(across) or first
    return np.array((first, (d, e, f), (b * f - c * e, c * d - a * f, a * e - b * d)))


def _unit(row: list[float]) -> list[float] | None:
    largest = max(map(abs, row))
    if not 1e-6 < largest < math.inf or any(value != value for value in row):
        return None
    scaled = [value / largest for value in row]
    norm = math.sqrt(sum(value * value for value in scaled))
    return [value / norm for value in scaled]
