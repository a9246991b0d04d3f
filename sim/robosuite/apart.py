"""Which geoms MuJoCo need not compare, as a compiled contact filter: a mesh or cylinder whose box is clear of the other's.

MuJoCo compares oriented boxes before such geoms only where it keeps a body's geoms in a tree; elsewhere it compares the spheres around
them, and a table's is so large that every mesh near it is searched for its deepest point, as are the cylinders of a hammer for the
walls of the bin that it lies in.
"""

from __future__ import annotations

from collections.abc import Callable

import numba
import numba.extending

from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite.native import MARK, Array, has_table, integers, numbers, word
from robolearn.sim.robosuite.structs import offsets
from robolearn.sim.robosuite.vectors import Axes, Vector, axes_at, dot, minus, transposed, turned, vector_at

_MESH, _CYLINDER, _HFIELD = (getattr(mujoco.mjtGeom, f"mjGEOM_{kind}").value for kind in ("MESH", "CYLINDER", "HFIELD"))
_ROUNDING = 1e-9  # [m] boxes that are closer are not clear of each other


def make() -> Callable[[int, int, int, int], int]:
    """What MuJoCo calls, for the structures of the MuJoCo that is loaded: 1 to leave a pair of geoms out."""
    at, mark = offsets(), MARK
    numeric, count, kinds, affine = at.model_numeric, at.model_numeric_count, at.geom_type, (at.geom_contype, at.geom_conaffinity)
    box, margin, place, turn = at.geom_aabb, at.geom_margin, at.geom_xpos, at.geom_xmat

    def apart(model: int, data: int, one: int, other: int) -> int:
        contype, conaffinity = integers(word(model + affine[0])), integers(word(model + affine[1]))
        if not (contype[one] & conaffinity[other] or contype[other] & conaffinity[one]):
            return 1  # MuJoCo leaves this to the filter too
        kind = integers(word(model + kinds))
        first, last = min(kind[one], kind[other]), max(kind[one], kind[other])
        searched = last == _MESH or first == _CYLINDER  # other pairs have formulas, as fast as what follows
        if not searched or first <= _HFIELD or not has_table(model, numeric, count, mark):
            return 0
        boxes, places, turns = numbers(word(model + box)), numbers(word(data + place)), numbers(word(data + turn))
        margins = numbers(word(model + margin))
        axes, others = axes_at(turns, one), axes_at(turns, other)
        between = minus(_middle(places, boxes, others, other), _middle(places, boxes, axes, one))
        sides, clear = (vector_at(boxes, 2 * one + 1), vector_at(boxes, 2 * other + 1)), margins[one] + margins[other] + _ROUNDING
        axes, others = transposed(axes), transposed(others)
        return _clear(axes, others, sides[0], sides[1], between, clear) or _clear(others, axes, sides[1], sides[0], between, clear)

    return apart


def _middle(places: Array, boxes: Array, axes: Axes, geom: int) -> Vector:
    """Of a geom's box, in the world."""
    place, offset = vector_at(places, geom), turned(axes, vector_at(boxes, 2 * geom))
    return place[0] + offset[0], place[1] + offset[1], place[2] + offset[2]


def _clear(axes: Axes, others: Axes, sides: Vector, other_sides: Vector, between: Vector, clear: float) -> bool:
    """Whether a face of the first of two boxes separates them: by their axes, half sides and the way from one's middle to the other's."""
    for face in range(3):
        reach = sides[face] + clear
        for side in range(3):
            reach += other_sides[side] * abs(dot(axes[face], others[side]))
        if abs(dot(axes[face], between)) > reach:
            return True
    return False


for _helper in (_middle, _clear):
    numba.extending.register_jitable(_helper)
