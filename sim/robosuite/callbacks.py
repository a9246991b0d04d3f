"""What MuJoCo calls in every physics step of a robosuite world, as machine code: controller, drag of the air, filter of contacts.

MuJoCo has one callback of each kind a process: they are one function for every model, which reads what it needs of a model there.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import numba
import numpy as np

from robolearn.sim.counted import Counted
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import apart, drag, osc
from robolearn.sim.robosuite.native import HEAD, MARK

NUMERIC = "robosuite_callbacks"


def table_size(arms: int, bodies: int) -> int:
    """Numbers in the table of a model with so many arms and bodies."""
    return HEAD + arms * osc.TABLE + bodies * drag.ROW


def write_table(model: mujoco.MjModel, arms: tuple[osc.Arm, ...]) -> None:
    """Tell the callbacks about a compiled model, and MuJoCo that there is no air.

    Raises:
        ValueError: its first numeric field does not have ``table_size`` numbers, or it has too little userdata.
    """
    numeric = model.numeric(NUMERIC)
    expected = table_size(len(arms), model.nbody)
    if int(numeric.adr[0]) or int(numeric.size[0]) < expected or model.nuserdata < osc.USERDATA * len(arms):
        raise ValueError("the model was not made for the compiled callbacks: see scene.py")
    dragged = drag.rows_of(model)
    rows = np.concatenate([*(osc.row_of(model, arm) for arm in arms), *dragged])
    model.numeric_data[:HEAD] = MARK, len(arms), len(dragged), model.nv
    model.numeric_data[HEAD : HEAD + len(rows)] = rows
    model.opt.density = model.opt.viscosity = 0.0


@contextmanager
def installed() -> Iterator[None]:
    """Install the callbacks, which are the process's, for as long as anyone is inside; then put back what was there.

    Meanwhile MuJoCo's stopwatches stand still: reading the clock thirty times a physics step costs a thirtieth of it.
    """
    with _installed.on():
        yield


def _switch() -> tuple[Any, ...]:
    before = tuple(getattr(mujoco, f"get_mjcb_{name}")() for name in _NAMES)
    _install(_callbacks())
    return before


def _install(callbacks: tuple[Any, ...]) -> None:
    for name, callback in zip(_NAMES, callbacks, strict=True):
        getattr(mujoco, f"set_mjcb_{name}")(callback)


_installed = Counted(_switch, _install)


@cache
def _callbacks() -> tuple[Any, ...]:
    """Those of ``_NAMES`` as MuJoCo takes them; compiled once, and kept beside their files for later processes."""
    word, index = numba.intp, numba.int32
    made = (
        (numba.void(word, word), osc.make(), ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)),
        (numba.void(word, word), drag.make(), ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)),
        (index(word, word, index, index), apart.make(), ctypes.CFUNCTYPE(ctypes.c_int, *(ctypes.c_void_p,) * 2, *(ctypes.c_int,) * 2)),
        (numba.float64(), _no_time, ctypes.CFUNCTYPE(ctypes.c_double)),
    )
    compiled = [numba.cfunc(signature, cache=True, error_model="numpy")(function) for signature, function, _ in made]
    _compiled.extend(compiled)
    return tuple(kind(code.address) for code, (_, _, kind) in zip(compiled, made, strict=True))


_NAMES = ("control", "passive", "contactfilter", "time")
_compiled: list[Any] = []  # machine code lives as long as its owner


def _no_time() -> float:
    return 0.0
