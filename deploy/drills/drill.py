"""One drill: a fault, injected while the arm moves at speed, what is expected of the robot, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from robolearn.deploy.drills.rig import Rig
from robolearn.deploy.drills.track import FAST
from robolearn.deploy.safety import State


@dataclass(frozen=True)
class Row:
    """What a drill showed.

    Args:
        group: of faults.
        fault: in words.
        did: what the robot did, in the runner's own words.
        standstill_s: from the fault until the arm stood [s]; None where it went on, had not begun to move, or is not heard of any more.
        moved_m: that the tool went after the fault until it stood, or until the drill ended [m].
        state: of the runner at the end, or how its process ended.
        guard_faults: that libfranka's checks found: discontinuities, and limits of what was commanded.
        limit_violations: ticks in which tool or joints were outside of their limits.
        committed: episodes that were committed before the fault and are there after it, of how many; None where none were at stake.
        ok: whether that is what is expected.
    """

    group: str
    fault: str
    did: str
    standstill_s: float | None
    moved_m: float
    state: str
    guard_faults: int
    limit_violations: int
    committed: tuple[int, int] | None
    ok: bool

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, rounded."""
        numbers = {"moved_m": round(self.moved_m, 3), "standstill_s": None if self.standstill_s is None else round(self.standstill_s, 2)}
        return {**asdict(self), **numbers}


@dataclass(frozen=True)
class Drill:
    """A fault, and what has to come of it.

    Args:
        name: short.
        group: of faults.
        fault: in words.
        inject: has it happen.
        ends: state of the runner at the end.
        says: what the runner's log, or its refusal, has to say after the fault; nothing where empty.
        within: [s] in which the arm has to stand; None: it goes on.
        seconds: to play after the fault.
        options: of the :class:`Rig`.
        early: the fault is there before the run begins.
        again: once it has stood, the arm has to move at speed by the end.
    """

    name: str
    group: str
    fault: str
    inject: Callable[[Rig], None]
    ends: State = State.FAULT
    says: str = ""
    within: float | None = 0.6
    seconds: float = 3.0
    options: Mapping[str, Any] = field(default_factory=dict)
    early: bool = False
    again: bool = False

    def run(self) -> Row:
        """Do it."""
        rig = Rig(**self.options)
        try:
            if self.early:
                self.inject(rig)
                rig.play(0.1)
                rig.track.mark()
                since = 0
            else:
                rig.begin()
                rig.track.mark()
                since = len(rig.supervisor.log)
                self.inject(rig)
            rig.play(self.seconds)
            return self._row(rig, since)
        finally:
            rig.close()

    def _row(self, rig: Rig, since: int) -> Row:
        told = [f"{entry.after.value} ({entry.why})" for entry in rig.supervisor.log[since:]]
        told += list(dict.fromkeys(words for event, words in getattr(rig.journal, "marks", ()) if event == "not re-armed"))
        told += [f"refused: {rig.refused}"] if rig.refused else []
        alone = "nobody sends any more; the arm comes to rest at the end of what it was promised"
        did = "; ".join(told) or ("went on" if rig.runner_runs else alone)
        stood, guard, outside = rig.track.standstill(), sum(rig.track.guard.values()), rig.track.outside
        soon = self.within is None or (stood is not None and stood <= self.within)
        goes_on = self.within is not None or stood is None
        goes_on = goes_on and (not self.again or rig.track.fastest(1.0) > FAST)
        sound = rig.state is self.ends and self.says in did and soon and goes_on and guard == outside == 0
        return Row(self.group, self.fault, did, stood, rig.track.moved(), rig.state.value, guard, outside, None, sound)
