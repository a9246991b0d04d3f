"""The tensor twins of :mod:`robolearn.rotation` that training needs: rot6d (the first two ROWS of R), matrices, rotation vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def matrix_from_rot6d(rot6d: Tensor) -> Tensor:
    """Nearest-by-Gram-Schmidt rotation: ``(..., 6) -> (..., 3, 3)``, for any two independent rows."""
    first = nn.functional.normalize(rot6d[..., :3], dim=-1, eps=1e-9)
    second = rot6d[..., 3:6]
    second = nn.functional.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1, eps=1e-9)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -2)


def rot6d_from_matrix(matrix: Tensor) -> Tensor:
    """First two rows of R, flattened: ``(..., 3, 3) -> (..., 6)``."""
    return matrix[..., :2, :].flatten(-2)


def matrix_from_rotvec(rotvec: Tensor) -> Tensor:
    """Exponential map: ``(..., 3) [rad] -> (..., 3, 3)`` (Rodrigues)."""
    angle = rotvec.norm(dim=-1)[..., None, None]
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).view(*x.shape, 3, 3)
    # sin(a)/a and (1 - cos(a))/a^2 stay exact at zero through sinc.
    first, second = torch.sinc(angle / torch.pi), 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    matrix: Tensor = torch.eye(3).to(rotvec) + first * cross + second * (cross @ cross)
    return matrix
