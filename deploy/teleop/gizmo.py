"""The handle that an operator drags in the page: where it means the tool to go, and where the page is to put it back."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.steering import Pose, pulled
from robolearn.errors import check_share
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix

# The handle's axes in the tool's: those of the base frame when the hand points down, so that its z arrow points up.
UPRIGHT = np.diag([1.0, -1.0, -1.0])
_KEPT, _KEPT_TURN = 0.005, 0.05  # [m, rad] of the way that may be left when the handle is let go: a light press stays


class Gizmo:
    """A handle at the tool while nobody drags it; a drag moves the target by as much as the handle, from where the target was.

    Let go, the handle snaps back to the tool, and so does the target, to within 5 mm: small corrections are finished, and a part
    that is pressed on another stays so, but the robot goes no way that nobody holds it to. No jump is ever asked for: what the
    page says is only ever a way from where the target was when the drag, or the moving, began.
    The page's thread calls :meth:`grab`, :meth:`drag` and :meth:`drop`, the robot's :meth:`wanted`.

    Args:
        fine: share of the handle's way that the target goes while ``is_fine``.
    """

    def __init__(self, fine: float = 0.2) -> None:
        check_share(fine=fine)
        self.fine, self.is_fine, self.held = fine, False, False
        self._lock = threading.Lock()
        self._handle: Pose | None = None  # where the page has it, gripper left at 0
        self._anchor: tuple[Pose, Pose, bool] | None = None  # handle and target at the begin of the way, and whether it is fine
        self._target: Pose | None = None
        self._dropped = False

    def grab(self) -> None:
        """A drag begins."""
        with self._lock:
            self.held = True
            if self._handle is not None and self._target is not None:
                self._anchor = (self._handle, self._target, self.is_fine)

    def drag(self, position: NDArray[np.float64], rotation: NDArray[np.float64]) -> None:
        """The page has dragged it to ``position (3,)`` and ``rotation (3, 3)`` in the base frame; what is not finite is not heard."""
        if not (np.isfinite(position).all() and np.isfinite(rotation).all()):
            return
        with self._lock:
            if self.held:
                pose = np.concatenate([position, rot6d_from_matrix(rotation @ UPRIGHT.T), [0.0]]).astype(np.float32)
                self._handle = pose

    def drop(self) -> None:
        """It was let go."""
        with self._lock:
            self._dropped = self.held
            self.held, self._anchor = False, None

    def forget(self) -> None:
        """The target is the tool's pose again, and so is the handle, whoever drags it."""
        with self._lock:
            self.held, self._anchor, self._target = False, None, None

    def wanted(self, tool: Pose, following: bool) -> Pose:
        """Where the tool is to go, ``(10,)`` with the tool's gripper; ``following``: nowhere, whatever is dragged."""
        with self._lock:
            if following or self._target is None:
                self._target, self._anchor = tool.copy(), None
            elif self._dropped:
                self._target = pulled(tool, self._target, _KEPT, _KEPT_TURN)
            self._dropped = False
            if not self.held or self._handle is None:
                self._handle = self._target.copy()
            elif not following:
                self._target = self._moved(self._handle)
            return self._target.copy()

    def shown(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Position ``(3,)`` and rotation ``(3, 3)`` that the page is to give the handle; None while it is dragged."""
        with self._lock:
            if self.held or self._handle is None:
                return None
            rotation = matrix_from_rot6d(self._handle[3:9].astype(np.float64)) @ UPRIGHT
            return self._handle[:3].astype(np.float64), rotation

    def _moved(self, handle: Pose) -> Pose:
        assert self._target is not None
        if self._anchor is None or self._anchor[2] != self.is_fine:
            self._anchor = (handle, self._target, self.is_fine)
        start, target, fine = self._anchor
        share = self.fine if fine else 1.0
        position = target[:3] + share * (handle[:3] - start[:3]).astype(np.float64)
        turned = rotvec_from_matrix(_rotation(handle) @ _rotation(start).T)
        rotation = matrix_from_rotvec(share * turned) @ _rotation(target)
        moved: Pose = np.concatenate([position, rot6d_from_matrix(rotation), target[9:]]).astype(np.float32)
        return moved


def _rotation(pose: Pose) -> NDArray[np.float64]:
    return matrix_from_rot6d(pose[3:9].astype(np.float64))
