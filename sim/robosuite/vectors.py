"""Vectors of three numbers as compiled code has them: tuples, out of flat arrays."""

from __future__ import annotations

import numba.extending

from robolearn.sim.robosuite.native import Array

Vector = tuple[float, float, float]
Axes = tuple[Vector, Vector, Vector]  # a rotation matrix, row by row


def vector_at(values: Array, index: int) -> Vector:
    """The vector of an index in a flat array of vectors."""
    return values[3 * index], values[3 * index + 1], values[3 * index + 2]


def axes_at(values: Array, index: int) -> Axes:
    """The matrix of an index in a flat array of matrices."""
    return vector_at(values, 3 * index), vector_at(values, 3 * index + 1), vector_at(values, 3 * index + 2)


def minus(a: Vector, b: Vector) -> Vector:
    """``a - b``."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def dot(a: Vector, b: Vector) -> float:
    """Added up from the first to the last, as MuJoCo does."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def cross(a: Vector, b: Vector) -> Vector:
    """``a x b``."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def turned(axes: Axes, a: Vector) -> Vector:
    """A vector of a frame in the world."""
    return dot(axes[0], a), dot(axes[1], a), dot(axes[2], a)


def transposed(axes: Axes) -> Axes:
    """The inverse of a rotation."""
    (a, b, c), (d, e, f), (g, h, i) = axes
    return (a, d, g), (b, e, h), (c, f, i)


for _helper in (vector_at, axes_at, minus, dot, cross, turned, transposed):
    numba.extending.register_jitable(_helper)
