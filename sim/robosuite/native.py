"""How compiled callbacks read MuJoCo's structures and the table that a model carries for them.

The table is the model's first ``numeric`` field: ``MARK``, how many arms, bodies that the air drags and degrees of freedom there are,
then the rows that :mod:`robolearn.sim.robosuite.osc` and :mod:`robolearn.sim.robosuite.drag` made of arms and bodies. A model without
it is left alone.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numba
import numba.extending
import numpy as np
from numba.core import cgutils
from numpy.typing import NDArray

from robolearn.sim.headless import mujoco

Array = NDArray[np.float64]

SOURCES = ("native", "vectors", "osc", "drag", "apart")  # what is compiled


def mark_of(folder: Path) -> float:
    """A number that differs between versions of the sources in a folder, and of MuJoCo, whose numbers for kinds of geoms are compiled too.

    Numba takes kept machine code for current while the file of the outermost function and what that encloses are the same; functions and
    constants of other files may have changed. So every ``make`` encloses this number.
    """
    digest = hashlib.sha256(mujoco.__version__.encode())
    for name in SOURCES:
        digest.update((folder / f"{name}.py").read_bytes())
    return float(int.from_bytes(digest.digest()[:6], "little"))


MARK = mark_of(Path(__file__).parent)  # first number of a table; no other model's numeric field begins so
ARMS, DRAGGED, DOFS, HEAD = 1, 2, 3, 4  # places of the counts, and where the rows begin
ROOM = 220  # numbers that :func:`room` gives


def _reading(kind: Any) -> Any:
    """A function of compiled code that takes an address to be that of numbers of a kind."""

    def definition(context: Any, address: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return numba.types.CPointer(kind)(numba.types.intp), build

    return numba.extending.intrinsic(definition)


def _stack_definition(context: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once(builder, context.get_value_type(numba.types.float64), size=ROOM)

    return numba.types.CPointer(numba.types.float64)(), build


room = numba.extending.intrinsic(_stack_definition)  # for ``ROOM`` numbers, given back when the function that asks returns
_MANY = 1 << 30  # nominal length: compiled code does not look at it
_floats_at, _words_at, _integers_at = (_reading(kind) for kind in (numba.types.float64, numba.types.int64, numba.types.int32))


def numbers(address: int) -> Array:
    """The numbers at an address."""
    found: Array = numba.carray(_floats_at(address), (_MANY,))
    return found


def integers(address: int) -> NDArray[np.int32]:
    """The integers at an address."""
    found: NDArray[np.int32] = numba.carray(_integers_at(address), (_MANY,))
    return found


def word(address: int) -> int:
    """The whole number, or address, at an address."""
    found: int = numba.carray(_words_at(address), (1,))[0]
    return found


def has_table(model: int, numeric: int, count: int, mark: float) -> bool:
    """Whether a model, with its numeric fields and their number at these places, was made for callbacks of ``mark``."""
    ours: bool = word(model + count) >= HEAD and numbers(word(model + numeric))[0] == mark
    return ours


for _helper in (numbers, integers, word, has_table):
    numba.extending.register_jitable(_helper)
