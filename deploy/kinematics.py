"""Where the tool of a serial arm is, how it moves with the joints, and which joints put it at a pose; numpy only."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.rotation import rotvec_from_matrix

Array = NDArray[np.float64]


class Unreachable(UserError):
    """No joints within the limits put the tool at a pose."""


def pose(xyz: Sequence[float] = (0.0, 0.0, 0.0), rpy: Sequence[float] = (0.0, 0.0, 0.0)) -> Array:
    """A fixed transform ``(4, 4)`` from a translation [m] and fixed-axis roll, pitch, yaw [rad], as in a URDF's ``origin``."""
    (cr, cp, cy), (sr, sp, sy) = np.cos(rpy), np.sin(rpy)
    matrix = np.eye(4)
    matrix[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    matrix[:3, 3] = xyz
    return matrix


class Chain:
    """A serial arm of J turning joints, base to tool.

    Joint j turns about a fixed axis of a frame that stands in the frame of the joint before it.

    Args:
        origins: ``(J, 4, 4)`` each joint's frame at angle 0, seen from the one before (the first: from the base).
        axes: ``(J, 3)`` each joint's axis in its own frame; normalised here.
        tool: ``(4, 4)`` the tool centre point, seen from the last joint.
        lower: ``(J,)`` smallest angles [rad]; none unless given.
        upper: ``(J,)`` largest angles [rad].
        names: of the joints.

    Raises:
        UserError: sizes that do not fit, an axis without a direction, something that is not finite.
    """

    def __init__(
        self,
        origins: Array,
        axes: Array,
        tool: Array | None = None,
        *,
        lower: Sequence[float] | Array | None = None,
        upper: Sequence[float] | Array | None = None,
        names: Sequence[str] = (),
    ) -> None:
        origins, axes = np.asarray(origins, np.float64), np.asarray(axes, np.float64)
        size = len(origins)
        if size == 0 or origins.shape != (size, 4, 4) or axes.shape != (size, 3):
            raise UserError(f"a chain takes origins (J, 4, 4) and axes (J, 3), got {origins.shape} and {axes.shape}")
        self.size, self.origins, self.axes = size, origins, _unit(axes)
        self.tool = np.eye(4) if tool is None else np.asarray(tool, np.float64)
        self.lower = np.full(size, -np.inf) if lower is None else np.asarray(lower, np.float64)
        self.upper = np.full(size, np.inf) if upper is None else np.asarray(upper, np.float64)
        self.names = tuple(names) or tuple(f"joint{index + 1}" for index in range(size))
        if self.tool.shape != (4, 4) or not {self.lower.shape, self.upper.shape, (len(self.names),)} == {(size,)}:
            raise UserError(f"a chain of {size} joints takes a tool (4, 4), {size} names and {size} lower and upper limits")
        if not (np.isfinite(self.origins).all() and np.isfinite(self.tool).all() and (self.lower < self.upper).all()):
            raise UserError("a chain's transforms must be finite and its lower limits below the upper ones")
        # Rodrigues: R(angle) = I + sin K + (1 - cos) K^2, so a joint's transform is constant + cos * cosine + sin * sine.
        cross = np.zeros((size, 4, 4))
        x, y, z = self.axes.T
        cross[:, 0, 1], cross[:, 0, 2], cross[:, 1, 2] = -z, y, -x
        cross[:, 1, 0], cross[:, 2, 0], cross[:, 2, 1] = z, -y, x
        self._sine, self._cosine = origins @ cross, -origins @ cross @ cross
        self._constant = origins - self._cosine
        self._columns = self.axes[:, :, None]

    @classmethod
    def from_dh(
        cls,
        a: Sequence[float],
        alpha: Sequence[float],
        d: Sequence[float],
        *,
        modified: bool = False,
        tool: Array | None = None,
        lower: Sequence[float] | None = None,
        upper: Sequence[float] | None = None,
        names: Sequence[str] = (),
    ) -> Chain:
        """From Denavit-Hartenberg parameters [m, rad]: the standard ones, or Craig's ``modified`` ones.

        Of the modified ones ``a`` and ``alpha`` are those before each joint, and the last entry of all three is the flange's.
        """
        links = [pose((length, 0, 0), (twist, 0, 0)) for length, twist in zip(a, alpha, strict=True)]
        offsets = [pose((0, 0, offset)) for offset in d]
        if modified:
            steps = [link @ offset for link, offset in zip(links, offsets, strict=True)]
        else:
            steps = [np.eye(4), *(offset @ link for link, offset in zip(links, offsets, strict=True))]
        flange = steps.pop()
        axes = np.tile((0.0, 0.0, 1.0), (len(steps), 1))
        return cls(np.array(steps), axes, flange @ (np.eye(4) if tool is None else tool), lower=lower, upper=upper, names=names)

    @classmethod
    def from_urdf(cls, path: str | Path, base: str, tip: str, tool: Array | None = None) -> Chain:
        """The joints between two links of a robot description; see :func:`robolearn.deploy.urdf.chain_from_urdf`."""
        from robolearn.deploy.urdf import chain_from_urdf

        return chain_from_urdf(Path(path), base, tip, tool)

    def with_tool(self, tool: Array) -> Chain:
        """The same arm with another tool ``(4, 4)``, seen from the last joint."""
        return Chain(self.origins, self.axes, tool, lower=self.lower, upper=self.upper, names=self.names)

    def forward(self, joints: Array) -> tuple[Array, Array]:
        """The tool in the base frame: ``(..., J) [rad] -> (..., 3) [m], (..., 3, 3)``."""
        steps = self._steps(joints)
        frame = steps[..., 0, :, :]
        for index in range(1, self.size):
            frame = frame @ steps[..., index, :, :]
        frame = frame @ self.tool
        return frame[..., :3, 3], frame[..., :3, :3]

    def frames(self, joints: Array) -> Array:
        """Each joint's frame, turned, in the base frame: ``(J,) -> (J, 4, 4)``."""
        steps = self._steps(joints)
        frames = np.empty((self.size, 4, 4))
        frames[0] = frame = steps[0]
        for index in range(1, self.size):
            frames[index] = frame = frame.dot(steps[index])
        return frames

    def jacobian(self, joints: Array) -> Array:
        """Twist of the tool, linear before angular, base frame, for each joint's velocity: ``(J,) -> (6, J)``."""
        return self.forward_jacobian(joints)[2]

    def forward_jacobian(self, joints: Array) -> tuple[Array, Array, Array]:
        """The tool and its Jacobian at once: ``(J,) -> (3,), (3, 3), (6, J)``."""
        frames = self.frames(joints)
        frame = frames[-1].dot(self.tool)
        position = frame[:3, 3]
        axes = (frames[:, :3, :3] @ self._columns)[:, :, 0].T  # (3, J), a joint's turning leaves its own axis where it is
        x, y, z = axes
        dx, dy, dz = position[:, None] - frames[:, :3, 3].T
        jacobian = np.empty((6, self.size))
        jacobian[0], jacobian[1], jacobian[2] = y * dz - z * dy, z * dx - x * dz, x * dy - y * dx
        jacobian[3:] = axes
        return position, frame[:3, :3], jacobian

    def solve(
        self, position: Array, rotation: Array, near: Array, *, tolerance: float = 1e-5, iterations: int = 300, damping: float = 1e-3
    ) -> Array:
        """Joints ``(J,)`` within the limits that put the tool at a pose, by damped least squares (Levenberg) from joints ``near (J,)``.

        Args:
            position: ``(3,)`` [m].
            rotation: ``(3, 3)``.
            near: where the search begins.
            tolerance: how close it has to come [m] and [rad].
            iterations: at most.
            damping: of the first step; it grows where a step did not help.

        Raises:
            Unreachable: the nearest that was found is further off than ``tolerance``.
        """
        joints = np.clip(near, self.lower, self.upper)
        error, jacobian = self._error(joints, position, rotation)
        for _ in range(iterations):
            if np.abs(error).max() <= tolerance * 0.1:
                break
            push = jacobian.T @ error
            free = ~((joints <= self.lower) & (push < 0) | (joints >= self.upper) & (push > 0))  # the others press against their limits
            arm = jacobian[:, free]
            change = arm.T @ np.linalg.solve(arm @ arm.T + damping * np.eye(6), error)
            tried = joints.copy()
            tried[free] += change * min(1.0, 0.5 / max(np.abs(change).max(initial=0.0), 1e-12))
            tried = np.clip(tried, self.lower, self.upper)
            tried_error, tried_jacobian = self._error(tried, position, rotation)
            if tried_error @ tried_error < error @ error:
                joints, error, jacobian, damping = tried, tried_error, tried_jacobian, max(damping * 0.3, 1e-9)
            elif damping > 1e6:
                break
            else:
                damping *= 5.0
        if np.abs(error).max() > tolerance:
            gap = f"{1000 * np.linalg.norm(error[:3]):.1f} mm and {np.degrees(np.linalg.norm(error[3:])):.1f} degrees"
            raise Unreachable(f"no joints within the limits were found for the tool at {np.round(position, 4).tolist()}: {gap} are left")
        return joints

    def _error(self, joints: Array, position: Array, rotation: Array) -> tuple[Array, Array]:
        at, turned, jacobian = self.forward_jacobian(joints)
        return np.concatenate([position - at, rotvec_from_matrix(rotation @ turned.T)]), jacobian

    def _steps(self, joints: Array) -> Array:
        """Each joint's transform from the one before: ``(..., J) -> (..., J, 4, 4)``."""
        steps: Array = self._constant + self._cosine * np.cos(joints)[..., None, None] + self._sine * np.sin(joints)[..., None, None]
        return steps


def _unit(axes: Array) -> Array:
    norms = np.linalg.norm(axes, axis=1, keepdims=True)
    if not (np.isfinite(norms).all() and (norms > 1e-9).all()):
        raise UserError(f"every joint needs an axis with a direction, got {axes.tolist()}")
    unit: Array = axes / norms
    return unit
