"""Drills of the policy: actions that are none, or lead where the arm must not go; a server that is slow, dead, or talks nonsense."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from robolearn.deploy.drills.drill import Drill
from robolearn.deploy.drills.rig import Rig
from robolearn.deploy.safety import State

GROUP = "policy and inference"


def _chunk(change: Callable[[Any], Any], early: bool = False) -> Callable[[Rig], None]:
    def inject(rig: Rig) -> None:
        rig.policy.spoil = change

    return inject


def _numbers(index: Any, value: float) -> Callable[[Rig], None]:
    def change(chunk: Any) -> Any:
        chunk[:, index] = value
        return chunk

    return _chunk(change)


def _some_nan(chunk: Any) -> Any:
    chunk[3, 4] = np.nan
    return chunk


def _parallel(chunk: Any) -> Any:
    chunk[:, 6:9] = chunk[:, 3:6]
    return chunk


def _takes(seconds: float | None, then: float | None = None) -> Callable[[Rig], None]:
    def inject(rig: Rig) -> None:
        rig.policy.takes = seconds
        if then is not None:
            rig.play(then)
            rig.policy.takes = 0.03

    return inject


def _dead_server(rig: Rig) -> None:
    rig.policy.fails = "the connection was lost"


def _server_again(rig: Rig) -> None:
    _dead_server(rig)
    rig.play(0.6)
    rig.policy.fails = ""


def _late_residual(rig: Rig) -> None:
    rig.policy.refines = 0.3


def _nan_residual(rig: Rig) -> None:
    rig.policy.spoil_refined = lambda action: action * np.nan


def _target(value: Any) -> Callable[[Rig], None]:
    """What comes to the command loop past all that looks at chunks."""

    def inject(rig: Rig) -> None:
        def act() -> None:
            rig.autonomy.target = value

        rig.every_tick.append(act)

    return inject


def _drill(name: str, fault: str, inject: Callable[[Rig], None], **rest: Any) -> Drill:
    return Drill(name, GROUP, fault, inject, **rest)


ON: dict[str, Any] = {"ends": State.RUNNING, "within": None}
REFINED = {"residual": True}
SLOW: dict[str, Any] = {"within": 2.5, "seconds": 5.0}  # what was planned is played to its end first
DRILLS = [
    _drill("nan", "NaN in every chunk", _chunk(_some_nan), says="not finite", **SLOW),
    _drill("infinite", "infinite actions", _numbers(0, np.inf), says="not finite", **SLOW),
    _drill("huge", "targets 1e30 m away", _numbers(slice(0, 3), 1e30), **ON),
    _drill("shape", "chunks of another shape", _chunk(lambda chunk: chunk[:, :7]), says="shape", **SLOW),
    _drill("garbage", "the server answers text", _chunk(lambda chunk: np.array(["no", "chunk"])), says="shape", **SLOW),
    _drill("no_rotation", "rot6d of parallel rows", _chunk(_parallel), says="no rotation", **SLOW),
    _drill("below_table", "targets 0.5 m below the table", _numbers(2, -0.5), **ON),
    _drill("outside", "targets outside of the workspace", _numbers(1, 3.0), ends=State.RUNNING, within=2.0),
    _drill("first_far", "first action 0.6 m from the tool", _numbers(2, 0.9), says="first action", early=True, within=0.5),
    _drill("target_nan", "a NaN target past every check of chunks", _target(np.full(10, np.nan)), says="finite"),
    _drill("target_shape", "a target of 7 numbers past them", _target(np.zeros(7)), says="finite"),
    _drill("killed", "inference killed", _dead_server, **SLOW),
    _drill("killed_back", "inference gone for 0.6 s", _server_again, **ON),
    _drill("hung", "inference hangs for 5 s", _takes(None), says="no action", **SLOW),
    _drill("late_critic", "one chunk 500 ms late", _takes(0.5, 0.5), **ON),
    _drill("late_residual", "residual 300 ms late", _late_residual, options=REFINED, **ON),
    _drill("nan_residual", "residual NaN", _nan_residual, options=REFINED, **ON),
]
