"""Looks at the target itself, before it is followed: ten finite numbers, and near the tool where motion begins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.motion import MotionGenerator
from robolearn.deploy.safety import Problem
from robolearn.deploy.turning import rotation_of, rotvec_between

SIZE = 10  # numbers of a canonical action: position 3 [m], rot6d 6, gripper 1


class TargetChecks:
    """What keeps a target from being followed.

    Args:
        motion: knows where the tool is.
        near_m: how far the first target may be from the tool [m].
        near_rad: how far turned from it [rad].
    """

    def __init__(self, motion: MotionGenerator, near_m: float = math.inf, near_rad: float = math.inf) -> None:
        self._motion, self._near = motion, (near_m, near_rad)
        self._first = True

    def begin(self) -> None:
        """The next target is the first of a motion."""
        self._first = True

    def followed(self) -> None:
        """A target was followed: those that come now may lead away."""
        self._first = False

    def look(self, target: NDArray[Any] | None) -> list[Problem]:
        """What is wrong with a target ``(10,)``: ``hold`` for one that is none, ``stop`` for a first one that is too far away."""
        if target is None:
            return []
        values = np.asarray(target)
        if values.shape != (SIZE,) or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
            return [Problem("target", f"a target is {SIZE} finite numbers, got {np.array2string(values, precision=3, threshold=12)}")]
        if not self._first:
            return []
        _, position, rotation = self._motion.planned
        away, facing = float(np.linalg.norm(values[:3] - position)), rotation_of(values[3:9])
        turned = 0.0 if facing is None else float(np.linalg.norm(rotvec_between(facing, rotation)))
        if away <= self._near[0] and turned <= self._near[1]:
            return []
        most = f"at most {self._near[0]:g} m, {self._near[1]:g} rad: safety.near_m, safety.near_rad"
        return [Problem("first action", f"the first action is {away:.2f} m and {turned:.2f} rad from the tool ({most})", "stop")]
