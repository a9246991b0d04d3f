"""What a robot did, tick by tick, in memory that is bounded however long the run: targets, commands, measured joints, limits that bit."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import check_positive

ROWS = 1 << 16  # 11 minutes at 100 Hz before every other row goes
ACTION = 10  # numbers of the canonical action
MOST_REASONS = 31


class Setpoint(Protocol):
    """What a tick sent; :class:`robolearn.deploy.motion.Setpoint` is one."""

    @property
    def positions(self) -> NDArray[Any]:
        """``(P, J)`` [rad], the first at the tick's time."""

    @property
    def position(self) -> NDArray[Any]:
        """``(3,)`` [m] of the tool."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Limits that bit."""


class Trace:
    """Rows of a run; when they are full, every other one goes and from then on half as many are kept: the whole run, ever coarser.

    What is true for a moment (a limit bit, the operator acted) is true of the row that the moment falls into.

    Args:
        joints: their names, J of them.
        rows: most that are kept, an even number.
    """

    def __init__(self, joints: tuple[str, ...], rows: int = ROWS) -> None:
        check_positive(rows=rows // 2)
        self.joints, self._size = joints, rows // 2 * 2
        self._start = 0
        self._stride, self._seen, self._rows = 1, 0, 0
        self._states: list[str] = []
        self._reasons: list[str] = []
        blank = {"measured": len(joints), "commanded": len(joints), "target": ACTION, "tool": 3}
        self._floats = {name: np.full((self._size, width), np.nan, np.float32) for name, width in blank.items()}
        self._times = np.zeros(self._size)
        self._state = np.zeros(self._size, np.uint8)
        self._clamped = np.zeros(self._size, np.uint32)
        self._intervention = np.zeros(self._size, bool)

    def add(
        self,
        time: int,
        state: str,
        *,
        measured: NDArray[Any] | None = None,
        target: NDArray[Any] | None = None,
        setpoint: Setpoint | None = None,
        intervention: bool = False,
    ) -> None:
        """Note a tick.

        Args:
            time: [ns].
            state: of the robot, in a word.
            measured: joints ``(J,)`` [rad].
            target: canonical action ``(10,)`` that was followed.
            setpoint: what was sent.
            intervention: the operator acted.
        """
        if not self._seen:
            self._start = time
        place, fresh = divmod(self._seen, self._stride)
        if place == self._size:
            self._halve()
            place, fresh = divmod(self._seen, self._stride)
        self._seen += 1
        self._rows = place + 1
        self._times[place] = (time - self._start) * 1e-9
        self._state[place] = _number(state, self._states, 255)
        clamped = np.uint32(self._bits(setpoint.reasons)) if setpoint is not None and setpoint.reasons else np.uint32(0)
        self._clamped[place] = clamped if fresh == 0 else self._clamped[place] | clamped
        self._intervention[place] = intervention or (fresh != 0 and bool(self._intervention[place]))
        floats = self._floats
        floats["measured"][place] = np.nan if measured is None else measured
        floats["target"][place] = np.nan if target is None else target
        floats["commanded"][place] = np.nan if setpoint is None else setpoint.positions[0]
        floats["tool"][place] = np.nan if setpoint is None else setpoint.position

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What ``trace.npz`` holds.

        ``time (N,)`` [s] since ``began_ns``, ``measured`` and ``commanded (N, J)`` [rad], ``target (N, 10)``, ``tool (N, 3)`` [m] as sent,
        NaN where there was none; ``state (N,)`` into ``states``; ``clamped (N,)`` bits of ``clamps``; ``intervention (N,)``; ``joints``.
        """
        rows = slice(self._rows)
        named: dict[str, NDArray[Any]] = {name: values[rows] for name, values in self._floats.items()}
        named |= {"time": self._times[rows], "state": self._state[rows]}
        named |= {"clamped": self._clamped[rows], "intervention": self._intervention[rows]}
        words = {"joints": self.joints, "states": self._states, "clamps": self._reasons}
        named |= {name: np.array(list(values), dtype=np.str_) for name, values in words.items()}
        return {**named, "began_ns": np.array(self._start, np.int64)}

    def _bits(self, reasons: tuple[str, ...]) -> int:
        bits = 0
        for reason in reasons:
            bits |= 1 << _number(reason, self._reasons, MOST_REASONS)
        return bits

    def _halve(self) -> None:
        half = self._size // 2
        plain: list[NDArray[Any]] = [self._times, self._state, *self._floats.values()]
        for array in plain:
            array[:half] = array[1::2]
        self._clamped[:half] = self._clamped[::2] | self._clamped[1::2]
        self._intervention[:half] = self._intervention[::2] | self._intervention[1::2]
        self._stride *= 2


def _number(word: str, words: list[str], most: int) -> int:
    """Its place among the words; one too many counts as the last."""
    try:
        return words.index(word)
    except ValueError:
        if len(words) < most:
            words.append(word)
        return len(words) - 1
