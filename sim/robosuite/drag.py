"""MuJoCo's drag of the air as a compiled callback: the same forces to the bit, along each body's own chain of joints only.

MuJoCo takes a body for the box of its inertia (its documentation has the formulas), and brings what the air does to the box to the
joints through a Jacobian of every degree of freedom, most of which is zero: that alone takes a tenth of a physics step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numba
import numba.extending
import numpy as np

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite.native import ARMS, DOFS, DRAGGED, HEAD, MARK, Array, has_table, numbers, word
from robolearn.sim.robosuite.osc import TABLE
from robolearn.sim.robosuite.structs import offsets
from robolearn.sim.robosuite.vectors import axes_at, cross, dot, minus, transposed, turned, vector_at

# row of one body: itself, its tree's root, coefficients of its turning and moving, linear 2, quadratic 3 + 3, and its degrees of
# freedom: two runs [first, end)
_BODY, _ROOT, _LINEAR, _TURNING, _MOVING, _RUNS, ROW = 0, 1, 2, 4, 7, 10, 14


def rows_of(model: mujoco.MjModel) -> Array:
    """The rows of a compiled model's bodies that move and weigh something, ``(B, ROW)``, for the air that it has.

    Raises:
        UserError: degrees of freedom that two runs do not hold, or a geom with an air of its own.
    """
    if model.geom_fluid.any():
        raise UserError("batched robosuite worlds have no geom with fluidshape: MuJoCo's drag is that of inertia boxes there")
    rows = []
    for body in range(1, model.nbody):
        runs = _runs(model, body)
        if runs and model.body_mass[body] >= mujoco.mjMINVAL:
            rows.append([body, model.body_rootid[body], *_coefficients(model, body), *runs[0], *(runs[1] if len(runs) > 1 else (0, 0))])
    return np.array(rows)


def _runs(model: mujoco.MjModel, body: int) -> list[list[int]]:
    """The degrees of freedom that move a body, as runs ``[first, end)``."""
    while body and not model.body_dofnum[body]:
        body = int(model.body_parentid[body])
    dof = int(model.body_dofadr[body] + model.body_dofnum[body]) - 1 if body else -1
    runs: list[list[int]] = []
    while dof >= 0:
        if runs and runs[0][0] == dof + 1:
            runs[0][0] = dof
        else:
            runs.insert(0, [dof, dof + 1])
        dof = int(model.dof_parentid[dof])
    if len(runs) > 2:
        raise UserError(f"body {model.body(body).name} is moved by {len(runs)} separate runs of joints: batches have at most 2")
    return runs


def _coefficients(model: mujoco.MjModel, body: int) -> list[float]:
    """Of the box of a body's inertia, in the order of a row; multiplied up in MuJoCo's order, as the last bit depends on it."""
    air, thinness, mass = model.opt.density, model.opt.viscosity, model.body_mass[body]
    x, y, z = model.body_inertia[body]
    a, b, c = (math.sqrt(max(mujoco.mjMINVAL, square) / mass * 6.0) for square in (y + z - x, x + z - y, x + y - z))
    size = (a + b + c) / 3.0
    a4, b4, c4 = (side * side * side * side for side in (a, b, c))
    linear = [-math.pi * size * size * size * thinness, -3.0 * math.pi * size * thinness]
    turning = [air * a * (b4 + c4), air * b * (a4 + c4), air * c * (a4 + b4)]
    return [*linear, *turning, 0.5 * air * b * c, 0.5 * air * a * c, 0.5 * air * a * b]


def make() -> Callable[[int, int], None]:
    """What MuJoCo calls, for the structures of the MuJoCo that is loaded."""
    at, mark = offsets(), MARK
    numeric, count, velocity, centre, place, turn = at.model_numeric, at.model_numeric_count, at.cvel, at.subtree_com, at.xipos, at.ximat
    motion, fluid, passive = at.cdof, at.qfrc_fluid, at.qfrc_passive

    def drag(model: int, data: int) -> None:
        if not has_table(model, numeric, count, mark):
            return
        table = numbers(word(model + numeric))
        force, total = numbers(word(data + fluid)), numbers(word(data + passive))
        begin, dofs = HEAD + int(table[ARMS]) * TABLE, int(table[DOFS])
        force[:dofs] = 0.0
        for index in range(int(table[DRAGGED])):
            _body(
                table[begin + ROW * index : begin + ROW * (index + 1)],
                numbers(word(data + velocity)),
                numbers(word(data + centre)),
                numbers(word(data + place)),
                numbers(word(data + turn)),
                numbers(word(data + motion)),
                force,
            )
        for dof in range(dofs):
            total[dof] += force[dof]

    return drag


def _body(row: Array, velocities: Array, centres: Array, places: Array, turns: Array, motions: Array, force: Array) -> None:
    """Add what the air does to one body to ``force`` (nv,)."""
    body = int(row[_BODY])
    axes, lever = axes_at(turns, body), minus(vector_at(places, body), vector_at(centres, int(row[_ROOT])))
    turning, moving = vector_at(velocities, 2 * body), vector_at(velocities, 2 * body + 1)
    seen = transposed(axes)
    w, v = turned(seen, turning), turned(seen, minus(moving, cross(lever, turning)))
    torque = turned(axes, (_resist(row, 0, 0, w[0], 64.0), _resist(row, 0, 1, w[1], 64.0), _resist(row, 0, 2, w[2], 64.0)))
    push = turned(axes, (_resist(row, 1, 3, v[0], 1.0), _resist(row, 1, 4, v[1], 1.0), _resist(row, 1, 5, v[2], 1.0)))
    for run in range(2):
        for dof in range(int(row[_RUNS + 2 * run]), int(row[_RUNS + 2 * run + 1])):
            axis, slide = vector_at(motions, 2 * dof), vector_at(motions, 2 * dof + 1)
            swing = cross(axis, lever)
            force[dof] += dot((slide[0] + swing[0], slide[1] + swing[1], slide[2] + swing[2]), push)
            force[dof] += dot(axis, torque)


def _resist(row: Array, linear: int, quadratic: int, speed: float, parts: float) -> float:
    """The air's answer to one component of the speed, which is an angular one for torques."""
    force: float = speed * row[_LINEAR + linear] - row[_TURNING + quadratic] * abs(speed) * speed / parts
    return force


for _helper in (_body, _resist):
    numba.extending.register_jitable(_helper)
