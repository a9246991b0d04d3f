"""Drills of an operator's page: its tab is closed or hangs in mid-drag, the device behind it hangs or breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robolearn.deploy.drills.drill import Drill
from robolearn.deploy.drills.rig import Rig
from robolearn.deploy.drills.robots import PEOPLE
from robolearn.deploy.safety import State

AWAY = 2.0  # [s] for which a page is gone


def _closed(rig: Rig) -> None:
    rig.page.close()
    rig.play(AWAY)
    rig.page.reopen()
    _goes_on(rig)


def _silent(rig: Rig) -> None:
    rig.page.answers = False
    rig.play(AWAY)
    rig.page.answers = True
    _goes_on(rig)


def _goes_on(rig: Rig) -> None:
    """The page is back; the arm moves when its operator resumes, and drags."""
    rig.play(0.5)
    rig.page.press("resume")


def _stays_away(rig: Rig) -> None:
    rig.page.close()


def _hangs(rig: Rig) -> None:
    rig.operator_asks = False
    rig.play(AWAY)
    rig.operator_asks = True


def _raises(rig: Rig) -> None:
    rig.page.device.fails = "unplugged"


def _drill(name: str, fault: str, inject: Callable[[Rig], None], kind: str, **rest: Any) -> Drill:
    return Drill(name, PEOPLE, fault, inject, **{"ends": State.RUNNING, "options": {"operator": kind}, **rest})


BACK: dict[str, Any] = {"says": "does not answer", "again": True}
DRILLS = [
    _drill("page_closed", "operator's page is closed in mid-drag, opened again, resumed", _closed, "alone", **BACK),
    _drill("page_silent", "operator's page does not answer for 2 s, then resumed", _silent, "alone", within=1.1, **BACK),
    _drill("page_closed_taken_over", "page of one who has taken over is closed, opened again, resumed", _closed, "taken_over", **BACK),
    _drill(
        "page_silent_taken_over",
        "page of one who has taken over does not answer for 2 s, then resumed",
        _silent,
        "taken_over",
        within=1.1,
        **BACK,
    ),
    _drill(
        "page_left",
        "the policy acts, the operator's page is closed",
        _stays_away,
        "beside",
        ends=State.HOLD,
        says="does not answer",
        seconds=4.0,
    ),
    _drill("device_hangs", "operator's device hangs for 2 s in mid-drag", _hangs, "alone", says="device hangs", within=1.1, again=True),
    _drill("device_fails", "operator's device raises in mid-drag", _raises, "alone", ends=State.HOLD, says="unplugged"),
]
