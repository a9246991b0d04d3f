"""Inverse kinematics of the arm: joint angles that put the tool centre point at a pose."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import rotvec_from_matrix
from robolearn.sim.headless import mujoco
from robolearn.sim.panda import ARM_JOINTS, HOME


def solve_ik(
    model: mujoco.MjModel,
    position: NDArray[np.float64],
    rotation: NDArray[np.float64],
    prefix: str = "",
    near: NDArray[np.float64] | None = None,
    iterations: int = 60,
    damping: float = 1e-4,
) -> NDArray[np.float64]:
    """Damped least squares from joints ``near (N, 7)``, home unless given, with a null-space pull towards them.

    ``(N, 3) [m], (N, 3, 3) -> (N, 7) [rad]``; ``prefix`` is that of the arm's names.
    """
    data = mujoco.MjData(model)
    site, first = model.site(f"{prefix}tcp").id, model.joint(f"{prefix}{ARM_JOINTS[0]}").id
    joints = slice(model.jnt_qposadr[first], model.jnt_qposadr[first] + 7)
    columns = slice(model.jnt_dofadr[first], model.jnt_dofadr[first] + 7)
    begin = np.broadcast_to(np.array(HOME) if near is None else near, (len(position), 7))
    low, high = model.jnt_range[first : first + 7].T
    jacobian = np.zeros((6, model.nv))
    solutions = np.empty((len(position), 7))
    for row in range(len(position)):
        data.qpos[joints] = begin[row]
        for _ in range(iterations):
            mujoco.mj_kinematics(model, data)
            mujoco.mj_comPos(model, data)
            mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
            error = np.concatenate(
                [position[row] - data.site_xpos[site], rotvec_from_matrix(rotation[row] @ data.site_xmat[site].reshape(3, 3).T)]
            )
            arm = jacobian[:, columns]
            inverse = arm.T @ np.linalg.inv(arm @ arm.T + damping * np.eye(6))
            null = (np.eye(7) - inverse @ arm) @ (begin[row] - data.qpos[joints])
            data.qpos[joints] = np.clip(data.qpos[joints] + inverse @ error + 0.1 * null, low, high)
        solutions[row] = data.qpos[joints]
    return solutions
