"""robosuite's operational space controller as a compiled control callback: torques every physics step, without Python.

Khatib 1987, as robosuite 1.5.2 has it: position and orientation uncoupled, gravity compensated, the arm's posture held in the
null space. Addresses and gains come from the model's table (:mod:`robolearn.sim.robosuite.native`), goals from the simulation's
``userdata``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numba
import numba.extending
import numpy as np
from numpy.typing import NDArray

from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite.native import ARMS, HEAD, ROOM, Array, has_table, numbers, room, word
from robolearn.sim.robosuite.structs import offsets

JOINTS = 7
# userdata of one arm: goal position 3 [m] and rotation 9 in the world, posture 7 [rad], gripper's command 1 (-1 open, 1 closed)
POSITION, ROTATION, POSTURE, GRIP = slice(0, 3), slice(3, 12), slice(12, 19), 19
USERDATA = 20
# table of one arm: addresses of qpos, dof, joint, actuator (7 each), site, gains 6 + 6, limits of torque 7 + 7, addresses in M 49
_QPOS, _DOF, _JOINT, _ACTUATOR, _SITE, _KP, _KD, _LOW, _HIGH, _MASS, TABLE = 0, 7, 14, 21, 28, 29, 35, 41, 48, 55, 104
POSTURE_STIFFNESS = 10.0


@dataclass(frozen=True)
class Arm:
    """What the controller needs to know of one arm.

    Args:
        joints: names of its seven hinges.
        actuators: names of their torque motors.
        site: name of the tool's site.
        stiffness: along and about the axes of the world, 6 [1/s^2].
        damping: 6 [1/s].
    """

    joints: tuple[str, ...]
    actuators: tuple[str, ...]
    site: str
    stiffness: NDArray[np.float64]
    damping: NDArray[np.float64]


def row_of(model: mujoco.MjModel, arm: Arm) -> Array:
    """The row of one arm in a compiled model's table, ``(TABLE,)``."""
    row = np.empty(TABLE)
    joints = [model.joint(name) for name in arm.joints]
    actuators = [model.actuator(name).id for name in arm.actuators]
    dofs = [int(joint.dofadr[0]) for joint in joints]
    row[_QPOS:_DOF] = [joint.qposadr[0] for joint in joints]
    row[_DOF:_JOINT] = dofs
    row[_JOINT:_ACTUATOR] = [joint.id for joint in joints]
    row[_ACTUATOR:_SITE] = actuators
    row[_SITE] = model.site(arm.site).id
    row[_KP:_KD], row[_KD:_LOW] = arm.stiffness, arm.damping
    row[_LOW:_HIGH], row[_HIGH:_MASS] = model.actuator_ctrlrange[actuators].T
    row[_MASS:TABLE] = _mass_addresses(model, dofs).ravel()
    return row


def _mass_addresses(model: mujoco.MjModel, dofs: list[int]) -> NDArray[np.int64]:
    """Where M's entry of each pair of degrees of freedom is kept: it is symmetric, and row i holds the columns up to i."""
    addresses = np.empty((len(dofs), len(dofs)), np.int64)
    for i, row in enumerate(dofs):
        begin = int(model.M_rowadr[row])
        columns = model.M_colind[begin : begin + int(model.M_rownnz[row])].tolist()
        for j in range(i + 1):
            addresses[i, j] = addresses[j, i] = begin + columns.index(dofs[j])
    return addresses


def make() -> Callable[[int, int], None]:
    """What MuJoCo calls, for the structures of the MuJoCo that is loaded: these places are part of what is compiled and kept."""
    at = offsets()
    numeric, count, user, ctrl, qpos, qvel = at.model_numeric, at.model_numeric_count, at.userdata, at.ctrl, at.qpos, at.qvel
    bias, mass, position, rotation, anchor, axis = at.qfrc_bias, at.mass, at.site_xpos, at.site_xmat, at.xanchor, at.xaxis

    def control(model: int, data: int) -> None:
        if not has_table(model, numeric, count):
            return
        table = numbers(word(model + numeric))
        commands = numbers(word(data + user))
        scratch = numba.carray(room(), (ROOM,))
        for index in range(int(table[ARMS])):
            _arm(
                table[HEAD + index * TABLE : HEAD + (index + 1) * TABLE],
                commands[index * USERDATA : (index + 1) * USERDATA],
                numbers(word(data + qpos)),
                numbers(word(data + qvel)),
                numbers(word(data + bias)),
                numbers(word(data + position)),
                numbers(word(data + rotation)),
                numbers(word(data + anchor)),
                numbers(word(data + axis)),
                numbers(word(data + mass)),
                numbers(word(data + ctrl)),
                scratch,
            )

    return control


def _arm(
    table: Array,
    command: Array,
    qpos: Array,
    qvel: Array,
    bias: Array,
    positions: Array,
    rotations: Array,
    anchors: Array,
    axes: Array,
    masses: Array,
    ctrl: Array,
    scratch: Array,
) -> None:
    """One arm's torques, from MjData's arrays into ``ctrl``; all of them flat. ``scratch`` is room to work in."""
    inertia, jacobian, half = scratch[:49].reshape(7, 7), scratch[49:91].reshape(6, 7), scratch[91:133].reshape(6, 7)
    mobility, linear, angular = scratch[133:169].reshape(6, 6), scratch[169:178].reshape(3, 3), scratch[178:187].reshape(3, 3)
    rate, posture, torque = scratch[187:194], scratch[194:201], scratch[201:208]
    error, wrench, drift, lever = scratch[208:214], scratch[214:220], scratch[220:226], scratch[226:229]
    site = int(table[_SITE])
    here, turned = positions[3 * site : 3 * site + 3], rotations[9 * site : 9 * site + 9]
    for j in range(JOINTS):
        joint = 3 * int(table[_JOINT + j])
        a = axes[joint : joint + 3]
        for k in range(3):
            lever[k] = here[k] - anchors[joint + k]
            jacobian[3 + k, j] = a[k]
        jacobian[0, j] = a[1] * lever[2] - a[2] * lever[1]
        jacobian[1, j] = a[2] * lever[0] - a[0] * lever[2]
        jacobian[2, j] = a[0] * lever[1] - a[1] * lever[0]
        rate[j] = qvel[int(table[_DOF + j])]
        for i in range(JOINTS):
            inertia[i, j] = masses[int(table[_MASS + JOINTS * i + j])]
    _accelerate(table, command, here, turned, jacobian, rate, error, wrench)
    # What keeps the posture, before it is confined to the null space, and the acceleration of the tool that it would cause.
    drift[:] = 0.0
    for j in range(JOINTS):
        away = command[12 + j] - qpos[int(table[_QPOS + j])]
        posture[j] = POSTURE_STIFFNESS * away - 2 * math.sqrt(POSTURE_STIFFNESS) * rate[j]
        for k in range(6):
            drift[k] += jacobian[k, j] * posture[j]
    for i in range(JOINTS):
        torque[i] = bias[int(table[_DOF + i])]
        for j in range(JOINTS):
            torque[i] += inertia[i, j] * posture[j]
    _mobility(inertia, jacobian, half, mobility)
    linear[:], angular[:] = mobility[:3, :3], mobility[3:, 3:]
    _solve(linear, wrench[:3], 3)
    _solve(angular, wrench[3:], 3)
    _solve(mobility, drift, 6)
    for j in range(JOINTS):
        for k in range(6):
            torque[j] += jacobian[k, j] * (wrench[k] - drift[k])
        ctrl[int(table[_ACTUATOR + j])] = min(max(torque[j], table[_LOW + j]), table[_HIGH + j])


def _accelerate(
    table: Array, command: Array, here: Array, turned: Array, jacobian: Array, rate: Array, error: Array, wanted: Array
) -> None:
    """What the tool is asked to do, a damped spring to its goal: ``wanted`` 3 [m/s^2], 3 [rad/s^2], in the world."""
    for k in range(3):
        error[k] = command[k] - here[k]
        # Half the sum of the cross products of the columns of both rotations: the sine of the angle, along the axis.
        one, two = (k + 1) % 3, (k + 2) % 3
        error[3 + k] = 0.0
        for column in range(3):
            error[3 + k] += 0.5 * turned[3 * one + column] * command[3 + 3 * two + column]
            error[3 + k] -= 0.5 * turned[3 * two + column] * command[3 + 3 * one + column]
    for k in range(6):
        speed = 0.0
        for j in range(JOINTS):
            speed += jacobian[k, j] * rate[j]
        wanted[k] = table[_KP + k] * error[k] - table[_KD + k] * speed


def _mobility(inertia: Array, jacobian: Array, half: Array, mobility: Array) -> None:
    """``J M^-1 J^T`` into ``mobility`` (6, 6); ``inertia`` becomes its Cholesky factor L, ``half`` (6, 7) the transpose of ``L^-1 J^T``."""
    _factorise(inertia, JOINTS)
    for k in range(6):
        for i in range(JOINTS):
            total = jacobian[k, i]
            for j in range(i):
                total -= inertia[i, j] * half[k, j]
            half[k, i] = total / inertia[i, i]
    for k in range(6):
        for other in range(k + 1):
            total = 0.0
            for i in range(JOINTS):
                total += half[k, i] * half[other, i]
            mobility[k, other] = mobility[other, k] = total


def _factorise(matrix: Array, size: int) -> None:
    """Put the Cholesky factor of a symmetric matrix into its lower triangle; a singular one becomes very stiff, not NaN."""
    for i in range(size):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = math.sqrt(max(total, 1e-18)) if i == j else total / matrix[j, j]


def _solve(matrix: Array, vector: Array, size: int) -> None:
    """Solve for a symmetric positive definite matrix, in place of ``vector``."""
    _factorise(matrix, size)
    for i in range(size):
        for j in range(i):
            vector[i] -= matrix[i, j] * vector[j]
        vector[i] /= matrix[i, i]
    for i in range(size - 1, -1, -1):
        for j in range(i + 1, size):
            vector[i] -= matrix[j, i] * vector[j]
        vector[i] /= matrix[i, i]


for _helper in (_arm, _accelerate, _mobility, _factorise, _solve):
    numba.extending.register_jitable(_helper)
