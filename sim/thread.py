"""The screw: when a pin has entered a hole, a native screw law takes its leg, and the leg must be turned to seat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.engine import Engine
from robolearn.sim.furniture import HOLES, LEG_HALF, PIN_LENGTH, SEATED, TOP_HALF, Fit
from robolearn.sim.headless import mujoco

TURN = 2 * np.pi
_PIN_END = np.array([0.0, -(LEG_HALF[1] + PIN_LENGTH), 0.0])
_HOLES = np.array(HOLES)


@dataclass(frozen=True)
class RelativePose:
    """The leg in the top's frame: ``position (N, 3)`` [m] and ``rotation (N, 3, 3)``."""

    position: NDArray[np.float64]
    rotation: NDArray[np.float64]

    @property
    def twist(self) -> NDArray[np.float64]:
        """Angle about the top's normal, in (-pi, pi], zero when seated: ``(N,)`` [rad]."""
        angle: NDArray[np.float64] = np.arctan2(self.rotation[:, 0, 2], self.rotation[:, 0, 0])
        return angle

    @property
    def pin_end(self) -> NDArray[np.float64]:
        """The pin's end in the top's frame, ``(N, 3)`` [m]."""
        end: NDArray[np.float64] = self.position + self.rotation @ _PIN_END
        return end


class Thread:
    """Switches the screw constraint of each row on when a pin reaches the thread, off when it is unscrewed.

    A hole's nut rises ``pitch`` a turn above the seat, in phase with the leg: at twist ``phi`` the leg may only be at
    heights ``pitch * (phi / 2 pi + k)``. The turn k at which it catches is the one inside ``entry_turns``, so a leg that
    was pushed deep is lifted back to the thread's beginning instead of being let off a turn.
    All memory (equality flags, nut joints) is part of MuJoCo's integration state.
    """

    def __init__(self, engine: Engine, fit: Fit) -> None:
        self._fit = fit
        self._qpos, self._qvel, self._active = engine.view("qpos"), engine.view("qvel"), engine.view("eq_active")
        model = engine.model

        def address(kind: str, table: NDArray[np.int32]) -> NDArray[np.int64]:
            return np.array([table[model.joint(f"nut{index}_{kind}").id] for index in range(len(HOLES))])

        self._rise_q, self._turn_q = address("rise", model.jnt_qposadr), address("turn", model.jnt_qposadr)
        self._rise_v, self._turn_v = address("rise", model.jnt_dofadr), address("turn", model.jnt_dofadr)
        equality = mujoco.mjtObj.mjOBJ_EQUALITY
        self._weld = np.array([mujoco.mj_name2id(model, equality, f"thread{index}") for index in range(len(HOLES))])
        self._screw = np.array([mujoco.mj_name2id(model, equality, f"screw{index}") for index in range(len(HOLES))])

    def engaged(self) -> NDArray[np.bool_]:
        """Which hole holds the leg, ``(N, 4)``."""
        engaged: NDArray[np.bool_] = self._active[:, self._weld] > 0
        return engaged

    def height(self) -> NDArray[np.float64]:
        """Height of the engaged leg above its seat by the screw law [m], infinity where no hole holds it: ``(N,)``."""
        height: NDArray[np.float64] = np.where(self.engaged(), self._qpos[:, self._rise_q], np.inf).min(1)
        return height

    def update(self, pose: RelativePose) -> None:
        """Engage and release rows, given where the leg is now."""
        self._release()
        caught = ~self.engaged().any(1) & (pose.rotation[:, 1, 1] > 0.9)
        end = pose.pin_end
        offset = np.abs(end[:, None, [0, 2]] - _HOLES).max(2)  # (N, 4)
        inside = (offset < 0.006) & (end[:, 1:2] < TOP_HALF[1])
        low = self._fit.entry_turns[0]
        turns = (pose.twist / TURN - low) % 1.0 + low
        rise = self._fit.pitch * turns
        reached = pose.position[:, 1] - SEATED <= rise + 5e-4
        rows, holes = np.nonzero(inside & (caught & reached)[:, None])
        self._qpos[rows, self._rise_q[holes]] = rise[rows]
        self._qpos[rows, self._turn_q[holes]] = TURN * turns[rows]
        self._qvel[rows, self._rise_v[holes]] = 0.0
        self._qvel[rows, self._turn_v[holes]] = 0.0
        self._active[rows, self._weld[holes]] = 1.0
        self._active[rows, self._screw[holes]] = 1.0

    def _release(self) -> None:
        rows, holes = np.nonzero(self.engaged() & (self._qpos[:, self._rise_q] > self._fit.pitch * (self._fit.entry_turns[1] + 0.1)))
        self._active[rows, self._weld[holes]] = 0.0
        self._active[rows, self._screw[holes]] = 0.0
