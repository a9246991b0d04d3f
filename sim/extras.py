"""Observations that are given on request: joint positions and velocities, forces at the fingers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.panda import ARM_JOINTS
from robolearn.sim.view import View
from robolearn.spec import ArraySpec

EXTRAS = {
    "joint_pos": ArraySpec((7,), units="rad"),
    "joint_vel": ArraySpec((7,), units="rad/s"),
    "finger_force": ArraySpec((2,), units="N"),  # normal force on the left and the right pad
}


def split_extras(names: Sequence[str], cameras: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Which of the names are further observations of the arms, and which are cameras.

    Raises:
        UserError: one is neither, or comes twice, or they are no list.
    """
    known = (*EXTRAS, *cameras)
    if isinstance(names, str):
        raise UserError(f"extras is a list, such as extras=[{names}]; got {names!r}")
    for name in names:
        if name not in known:
            raise UserError(f"no observation {name!r} to add; there are {', '.join(known)}{nearest(name, known)}")
    if len(set(names)) < len(names):
        raise UserError(f"extras names each observation once; got {', '.join(names)}")
    return tuple(name for name in names if name in EXTRAS), tuple(name for name in names if name in cameras)


class Extras:
    """Further observations of each arm, by name: ``joint_pos 7, joint_vel 7, finger_force 2``.

    Args:
        names: of them.
        engine: N rows; with ``finger_force`` its scene is built with touch.
        view: the same rows.

    """

    def __init__(self, names: Sequence[str], engine: PhysicsEngine, view: View) -> None:
        model = engine.model
        self._columns: dict[str, tuple[NDArray[np.float64], NDArray[np.int64]]] = {}
        self.specs: dict[str, ArraySpec] = {}
        for arm in view.arms:
            prefix = arm.arm.prefix
            for name in names:
                if name == "finger_force":
                    at = np.array([model.sensor(f"{prefix}{side}finger_force").adr[0] for side in ("left", "right")])
                    self._columns[prefix + name] = (engine.view("sensordata"), at)
                elif name == "joint_vel":
                    at = np.array([model.jnt_dofadr[model.joint(f"{prefix}{joint}").id] for joint in ARM_JOINTS])
                    self._columns[prefix + name] = (engine.view("qvel"), at)
                else:
                    self._columns[prefix + name] = (engine.view("qpos"), arm.joints)
                self.specs[prefix + name] = EXTRAS[name]

    def observation(self) -> dict[str, NDArray[np.float32]]:
        """``{name: (N, ...)}``."""
        return {name: view[:, columns].astype(np.float32) for name, (view, columns) in self._columns.items()}
