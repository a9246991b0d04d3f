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
from robolearn.sim.robosuite.native import ARMS, HEAD, MARK, ROOM, Array, has_table, numbers, room, word
from robolearn.sim.robosuite.structs import offsets
from robolearn.sim.robosuite.vectors import Axes, Vector, axes_at, cross, dot, minus, vector_at

JOINTS = 7
# userdata of one arm: goal position 3 [m] and rotation 9 in the world, posture 7 [rad], gripper's command 1 (-1 open, 1 closed)
POSITION, ROTATION, POSTURE, GRIP = slice(0, 3), slice(3, 12), slice(12, 19), 19
USERDATA = 20
# table of one arm: addresses of qpos, dof, joint, actuator (7 each), site, gains 6 + 6, limits of torque 7 + 7, addresses in M 49
_QPOS, _DOF, _JOINT, _ACTUATOR, _SITE, _KP, _KD, _LOW, _HIGH, _MASS, TABLE = 0, 7, 14, 21, 28, 29, 35, 41, 48, 55, 104
POSTURE_STIFFNESS = 10.0
POSTURE_DAMPING = 2 * math.sqrt(POSTURE_STIFFNESS)


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
    at, mark = offsets(), MARK
    numeric, count, user, ctrl, qpos, qvel = at.model_numeric, at.model_numeric_count, at.userdata, at.ctrl, at.qpos, at.qvel
    bias, mass, position, rotation, anchor, axis = at.qfrc_bias, at.mass, at.site_xpos, at.site_xmat, at.xanchor, at.xaxis

    def control(model: int, data: int) -> None:
        if not has_table(model, numeric, count, mark):
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
    inertia, jacobian, half = scratch[:49].reshape(7, 7), scratch[49:91].reshape(7, 6), scratch[91:133].reshape(7, 6)
    mobility = scratch[133:169].reshape(6, 6)
    rate, posture, torque = scratch[187:194], scratch[194:201], scratch[201:208]
    wrench, drift = scratch[208:214], scratch[214:220]
    site = int(table[_SITE])
    here = vector_at(positions, site)
    drift[:] = 0.0
    for j in range(JOINTS):
        joint = int(table[_JOINT + j])
        axis = vector_at(axes, joint)
        jacobian[j, 0], jacobian[j, 1], jacobian[j, 2] = cross(axis, minus(here, vector_at(anchors, joint)))
        jacobian[j, 3], jacobian[j, 4], jacobian[j, 5] = axis
        rate[j] = qvel[int(table[_DOF + j])]
        # What keeps the posture, before it is confined to the null space, and the acceleration of the tool that it would cause.
        away = command[12 + j] - qpos[int(table[_QPOS + j])]
        posture[j] = POSTURE_STIFFNESS * away - POSTURE_DAMPING * rate[j]
        for k in range(6):
            drift[k] += jacobian[j, k] * posture[j]
        torque[j] = bias[int(table[_DOF + j])]
        for i in range(j + 1):
            inertia[j, i] = inertia[i, j] = masses[int(table[_MASS + JOINTS * j + i])]
    for j in range(JOINTS):
        for i in range(JOINTS):
            torque[i] += inertia[j, i] * posture[j]
    _accelerate(table, command, here, axes_at(rotations, site), jacobian, rate, wrench)
    _mobility(inertia, jacobian, half, mobility)
    wrench[0], wrench[1], wrench[2] = _uncoupled(mobility, wrench, 0)
    wrench[3], wrench[4], wrench[5] = _uncoupled(mobility, wrench, 3)
    _solve(mobility, drift)
    for j in range(JOINTS):
        for k in range(6):
            torque[j] += jacobian[j, k] * (wrench[k] - drift[k])
        ctrl[int(table[_ACTUATOR + j])] = min(max(torque[j], table[_LOW + j]), table[_HIGH + j])


def _accelerate(table: Array, command: Array, here: Vector, turn: Axes, jacobian: Array, rate: Array, wanted: Array) -> None:
    """What the tool is asked to do, a damped spring to its goal: ``wanted`` 3 [m/s^2], 3 [rad/s^2], in the world."""
    speed = wanted
    speed[:] = 0.0
    for j in range(JOINTS):
        for k in range(6):
            speed[k] += jacobian[j, k] * rate[j]
    goal, asked = vector_at(command, 0), axes_at(command[3:12], 0)
    away, angle = minus(goal, here), _angle(turn, asked)
    for k in range(3):
        wanted[k] = table[_KP + k] * away[k] - table[_KD + k] * speed[k]
        wanted[3 + k] = table[_KP + 3 + k] * angle[k] - table[_KD + 3 + k] * speed[3 + k]


def _angle(turn: Axes, asked: Axes) -> Vector:
    """Half the sum of the cross products of the columns of both rotations: the sine of the angle between them, along its axis."""
    a, b, c = turn
    d, e, f = asked
    return 0.5 * (dot(b, f) - dot(c, e)), 0.5 * (dot(c, d) - dot(a, f)), 0.5 * (dot(a, e) - dot(b, d))


def _mobility(inertia: Array, jacobian: Array, half: Array, mobility: Array) -> None:
    """``J M^-1 J^T`` (6, 6), of ``jacobian`` J^T (7, 6); ``inertia`` M becomes its factor, ``half`` (7, 6) is ``L^-1 J^T``."""
    _factorise(inertia, JOINTS)
    for k in range(6):
        for other in range(6):
            mobility[k, other] = 0.0
    for i in range(JOINTS):
        for k in range(6):
            total = jacobian[i, k]
            for j in range(i):
                total -= inertia[i, j] * half[j, k]
            half[i, k] = total * inertia[i, i]
        for k in range(6):
            for other in range(6):
                mobility[k, other] += half[i, k] * half[i, other]


def _factorise(matrix: Array, size: int) -> None:
    """Put the Cholesky factor of a symmetric matrix into its lower triangle, the reciprocals of its diagonal on the diagonal.

    A singular one becomes very stiff, not NaN.
    """
    for j in range(size):
        total = matrix[j, j]
        for k in range(j):
            total -= matrix[j, k] * matrix[j, k]
        matrix[j, j] = 1.0 / math.sqrt(max(total, 1e-18))
        for i in range(j + 1, size):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = total * matrix[j, j]


def _solve(matrix: Array, vector: Array) -> None:
    """Solve for a symmetric positive definite matrix (6, 6), in place of ``vector`` (6,)."""
    _factorise(matrix, 6)
    for i in range(6):
        for j in range(i):
            vector[i] -= matrix[i, j] * vector[j]
        vector[i] *= matrix[i, i]
    for i in range(5, -1, -1):
        for j in range(i + 1, 6):
            vector[i] -= matrix[j, i] * vector[j]
        vector[i] *= matrix[i, i]


def _uncoupled(mobility: Array, vector: Array, first: int) -> Vector:
    """Solve for the block (3, 3) of a symmetric matrix (6, 6) at ``first``, and that part of a vector, by Cramer's rule."""
    a, b, c = _columns(mobility, first)
    x = (vector[first], vector[first + 1], vector[first + 2])
    bc, ca, ab = cross(b, c), cross(c, a), cross(a, b)
    scale = 1.0 / max(dot(a, bc), 1e-18)
    return scale * dot(x, bc), scale * dot(x, ca), scale * dot(x, ab)


def _columns(matrix: Array, first: int) -> Axes:
    a, b, c = first, first + 1, first + 2
    return (
        (matrix[a, a], matrix[b, a], matrix[c, a]),
        (matrix[b, a], matrix[b, b], matrix[c, b]),
        (matrix[c, a], matrix[c, b], matrix[c, c]),
    )


for _helper in (_arm, _accelerate, _angle, _mobility, _factorise, _solve, _uncoupled, _columns):
    numba.extending.register_jitable(_helper)
