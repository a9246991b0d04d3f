"""Rotations as arrays: matrices, rot6d (the first two ROWS of R), quaternions (wxyz) and rotation vectors [rad]."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]


def rot6d_from_matrix(matrix: Array) -> Array:
    """First two rows of R, flattened: ``(..., 3, 3) -> (..., 6)``."""
    return matrix[..., :2, :].reshape(*matrix.shape[:-2], 6)


def matrix_from_rot6d(rot6d: Array) -> Array:
    """Nearest-by-Gram-Schmidt rotation: ``(..., 6) -> (..., 3, 3)``, for any two independent rows (Zhou et al. 2019)."""
    first, second = rot6d[..., :3], rot6d[..., 3:6]
    row1 = first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-9)
    second = second - (row1 * second).sum(-1, keepdims=True) * row1
    row2 = second / np.maximum(np.linalg.norm(second, axis=-1, keepdims=True), 1e-9)
    return np.stack([row1, row2, np.cross(row1, row2)], axis=-2)


def matrix_from_quaternion(wxyz: Array) -> Array:
    """``(..., 4) -> (..., 3, 3)``; the quaternion need not be normalised."""
    w, x, y, z = np.moveaxis(wxyz / np.linalg.norm(wxyz, axis=-1, keepdims=True), -1, 0)
    matrix = np.empty((*wxyz.shape[:-1], 3, 3), w.dtype)
    matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    matrix[..., 2, 0], matrix[..., 2, 1], matrix[..., 2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return matrix


def quaternion_from_matrix(matrix: Array) -> Array:
    """``(..., 3, 3) -> (..., 4)`` with w >= 0, by the largest of the four squared components (Shepperd 1978)."""
    m = matrix
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    # Each row is 4 q_k q, for k = w, x, y, z: take the one with the largest diagonal and normalise it.
    candidates = np.stack(
        [
            np.stack([1 + trace, m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]], -1),
            np.stack(
                [m[..., 2, 1] - m[..., 1, 2], 1 + 2 * m[..., 0, 0] - trace, m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0]], -1
            ),
            np.stack(
                [m[..., 0, 2] - m[..., 2, 0], m[..., 0, 1] + m[..., 1, 0], 1 + 2 * m[..., 1, 1] - trace, m[..., 1, 2] + m[..., 2, 1]], -1
            ),
            np.stack(
                [m[..., 1, 0] - m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1], 1 + 2 * m[..., 2, 2] - trace], -1
            ),
        ],
        -2,
    )  # (..., 4, 4)
    best = np.argmax(np.diagonal(candidates, axis1=-2, axis2=-1), -1)
    chosen = np.take_along_axis(candidates, best[..., None, None], -2)[..., 0, :]
    chosen = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(chosen[..., :1] < 0, -chosen, chosen)


def matrix_from_rotvec(rotvec: Array) -> Array:
    """Exponential map: ``(..., 3) [rad] -> (..., 3, 3)`` (Rodrigues)."""
    angle = np.linalg.norm(rotvec, axis=-1, keepdims=True)
    half = 0.5 * angle
    # sin(x)/x stays exact at zero through sinc.
    quaternion = np.concatenate([np.cos(half), 0.5 * np.sinc(half / np.pi) * rotvec], -1)
    return matrix_from_quaternion(quaternion)


def rotvec_from_matrix(matrix: Array) -> Array:
    """Logarithm: ``(..., 3, 3) -> (..., 3) [rad]``, angle in [0, pi]."""
    quaternion = quaternion_from_matrix(matrix)
    vector = quaternion[..., 1:]
    sine = np.linalg.norm(vector, axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternion[..., :1])
    rotvec: Array = np.where(sine > 1e-12, angle / np.maximum(sine, 1e-12), 2.0) * vector
    return rotvec


def rot6d_from_quaternion(wxyz: Array) -> Array:
    """``(..., 4) -> (..., 6)``."""
    return rot6d_from_matrix(matrix_from_quaternion(wxyz))


def quaternion_from_rot6d(rot6d: Array) -> Array:
    """``(..., 6) -> (..., 4)`` with w >= 0."""
    return quaternion_from_matrix(matrix_from_rot6d(rot6d))


def orthonormalize_rot6d(rot6d: Array) -> Array:
    """The rot6d of the rotation that ``rot6d`` stands for: unit, orthogonal rows, ``(..., 6) -> (..., 6)``."""
    return rot6d_from_matrix(matrix_from_rot6d(rot6d))
