"""From what an operator's hand does to targets that a robot may be given: speeds, deadbands, and a bounded lead over the tool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix

Pose = NDArray[np.float32]  # (10,) canonical: position [m], rot6d, gripper


@dataclass(frozen=True)
class Limits:
    """How far and how fast a target may go.

    Args:
        speed: of the target [m/s].
        turning: of the target [rad/s].
        lead: how far the target may be ahead of the tool [m]: where the tool is held fast, this bounds the force.
        turning_lead: likewise [rad].
    """

    speed: float = 0.35
    turning: float = 1.5
    lead: float = 0.05
    turning_lead: float = 0.5

    def __post_init__(self) -> None:
        check_positive(speed=self.speed, turning=self.turning, lead=self.lead, turning_lead=self.turning_lead)


def pulled(pose: Pose, towards: Pose, distance: float, angle: float) -> Pose:
    """The pose ``towards``, brought to within ``distance`` [m] and ``angle`` [rad] of ``pose``; the gripper's command is kept."""
    step = towards[:3].astype(np.float64) - pose[:3]
    step *= min(1.0, distance / max(float(np.linalg.norm(step)), 1e-12))
    start = matrix_from_rot6d(pose[3:9].astype(np.float64))
    turn = rotvec_from_matrix(matrix_from_rot6d(towards[3:9].astype(np.float64)) @ start.T)
    turn *= min(1.0, angle / max(float(np.linalg.norm(turn)), 1e-12))
    rotation = matrix_from_rotvec(turn) @ start
    moved: Pose = np.concatenate([pose[:3] + step, rot6d_from_matrix(rotation), towards[9:]]).astype(np.float32)
    return moved


class Follower:
    """Limits a stream of wanted poses, such as those of a gizmo that is dragged: whatever comes, no jump goes out.

    Args:
        limits: of what goes out.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._last: Pose | None = None
        self._time = 0

    def follow(self, wanted: Pose, now_ns: int, tool: Pose) -> Pose:
        """The target to give now, ``(10,)``: towards what is ``wanted (10,)``, at most at the limits' speeds, near the tool."""
        if self._last is None:
            self.rest(now_ns, tool)
        assert self._last is not None
        elapsed = min(max(now_ns - self._time, 0) * 1e-9, 0.2)  # a late call is no reason for a leap
        limits = self.limits
        moved = pulled(self._last, wanted, limits.speed * elapsed, limits.turning * elapsed)
        self._last, self._time = pulled(tool, moved, limits.lead, limits.turning_lead), now_ns
        return self._last

    def rest(self, now_ns: int, tool: Pose) -> Pose:
        """Forget what was wanted: the target is the tool's own pose."""
        self._last, self._time = tool.copy(), now_ns
        return self._last


class Integrator:
    """Turns velocities of a hand (keys, a SpaceMouse, sticks) into an absolute target.

    Args:
        limits: full deflection is their speed.
        deadband: share of full deflection that counts as none.
        expo: 1: linear; 3: the cube, gentle in the middle.
    """

    def __init__(self, limits: Limits, deadband: float = 0.08, expo: float = 1.0) -> None:
        if not 0 <= deadband < 1:
            raise UserError(f"deadband is a share of full deflection, from 0 to below 1; got {deadband}")
        check_positive(expo=expo)
        self.limits, self.deadband, self.expo = limits, deadband, expo
        self._target: Pose | None = None
        self._time = 0

    def move(self, deflection: NDArray[np.float64], gripper: float, now_ns: int, tool: Pose) -> Pose:
        """The target now, ``(10,)``, of ``deflection (6,)`` in [-1, 1]: along and about the axes of the base frame."""
        if self._target is None:
            self.rest(now_ns, tool)
        assert self._target is not None
        elapsed = min(max(now_ns - self._time, 0) * 1e-9, 0.2)
        self._time = now_ns
        speed = self.shaped(deflection)
        limits = self.limits
        position = self._target[:3] + speed[:3] * limits.speed * elapsed
        rotation = matrix_from_rotvec(speed[3:] * limits.turning * elapsed) @ matrix_from_rot6d(self._target[3:9].astype(np.float64))
        wanted = np.concatenate([position, rot6d_from_matrix(rotation), [gripper]]).astype(np.float32)
        self._target = pulled(tool, wanted, limits.lead, limits.turning_lead)
        return self._target

    def shaped(self, deflection: NDArray[np.float64]) -> NDArray[np.float64]:
        """Deflections with the deadband taken out, and bent: ``(6,)`` in [-1, 1]; what is not finite is none."""
        given = np.clip(np.where(np.isfinite(deflection), deflection, 0.0), -1.0, 1.0)
        left = np.maximum(np.abs(given) - self.deadband, 0.0) / (1.0 - self.deadband)
        shaped: NDArray[np.float64] = np.sign(given) * left**self.expo
        return shaped

    def rest(self, now_ns: int, tool: Pose) -> Pose:
        """Forget the target: it is the tool's own pose."""
        self._target, self._time = tool.copy(), now_ns
        return self._target

    def forget(self) -> None:
        """Begin at the tool's pose when it is asked next."""
        self._target = None


class Heartbeat:
    """Whether an operator's device was heard of lately.

    Args:
        timeout: silence after which nobody is there [s].
    """

    def __init__(self, timeout: float = 0.5) -> None:
        check_positive(timeout=timeout)
        self.timeout_ns = int(timeout * 1e9)
        self.last = 0  # [ns], of the clock that callers use; 0: never

    def beat(self, now_ns: int) -> None:
        """Somebody was heard of; an older word changes nothing."""
        self.last = max(self.last, now_ns)

    def alive(self, now_ns: int) -> bool:
        """Whether that was not too long ago."""
        return self.last > 0 and now_ns - self.last <= self.timeout_ns
