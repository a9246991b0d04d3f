"""What a store may hold and rarely should: actions beyond their limits, frozen cameras, dead sensors, clocks that do not tick."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.findings import Findings, Watcher, episodes_in
from robolearn.datasets.layout import ACTION, REWARD, SIM_STATE

if TYPE_CHECKING:
    from robolearn.datasets.reader import StoreReader

# An action channel may leave its limits by this share of the range: converters round.
_LIMIT_SLACK = 1e-3
_FROZEN_S = 0.5  # a camera that shows the same picture for longer
_FROZEN_STEPS = 5  # and for at least so many steps
_STILL_STEPS = 20  # shorter episodes say nothing about a sensor that does not move
_MOVING_SHARE = 0.8  # a sensor that moves in so many of the others should move in this one
_RATE_SLACK = 0.1  # of the control period, for the median step of a clock
_GAP = 2.0  # control periods between two stamps
TIME_NAMES = ("timestamp", "timestamps", "time", "stamp")


def suspicions(store: StoreReader) -> list[Watcher]:
    """The watchers that apply to a store."""
    return [_Limits(store), _Frozen(store), _Still(store), *(_Clock(store, name) for name in clocks(store))]


def clocks(store: StoreReader) -> list[str]:
    """Observations that are time stamps: called so, one number in seconds."""
    return [
        name
        for name, entry in store.env_spec.observation.items()
        if name.rsplit(".", 1)[-1] in TIME_NAMES and entry.shape in ((), (1,)) and entry.units in ("", "s")
    ]


class _Limits:
    """Actions that leave the limits of the spec."""

    def __init__(self, store: StoreReader) -> None:
        self._ends = store.ends
        self._action = store.env_spec.action
        self._low, self._high = np.asarray(self._action.low), np.asarray(self._action.high)
        self._found: dict[tuple[int, int], tuple[int, float, float]] = {}  # (episode, channel): steps, least, largest

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        if name != ACTION or rows.shape[1:] != self._low.shape:
            return
        slack = _LIMIT_SLACK * (self._high - self._low)
        outside = (rows < self._low - slack) | (rows > self._high + slack)
        if not outside.any():
            return
        for episode, first, part in episodes_in(self._ends, start, outside):
            values = rows[first - start : first - start + len(part)]
            for channel in np.flatnonzero(part.any(0)).tolist():
                steps, least, largest = self._found.get((episode, channel), (0, np.inf, -np.inf))
                column = values[:, channel]
                extent = min(least, float(column.min())), max(largest, float(column.max()))
                self._found[episode, channel] = (steps + int(part[:, channel].sum()), *extent)

    def findings(self, damaged: set[int]) -> Findings:
        lines = [
            f"episode {episode}: action {self._action.names[channel]!r} leaves its limits {self._low[channel]:g}..{self._high[channel]:g} "
            f"at {steps} steps, reaching {least:g}..{largest:g}"
            for (episode, channel), (steps, least, largest) in sorted(self._found.items())
            if episode not in damaged
        ]
        return Findings(warnings=lines)


class _Frozen:
    """Cameras that show one picture for long."""

    def __init__(self, store: StoreReader) -> None:
        self._starts, self._ends, self._hz = store.starts, store.ends, store.env_spec.control_hz
        self._cameras = {name for name, entry in store.env_spec.observation.items() if entry.dtype == "uint8" and len(entry.shape) >= 2}
        self._least = max(_FROZEN_STEPS, round(_FROZEN_S * self._hz))
        self._last: tuple[str, int, NDArray[Any]] | None = None  # camera, row, its picture
        self._begins: dict[str, int] = {}  # row at which the present picture was first seen
        self._longest: dict[tuple[int, str], tuple[int, int]] = {}  # (episode, camera): length of a run, its first row

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        if name not in self._cameras:
            return
        same = np.zeros(len(rows), bool)
        flat = rows.reshape(len(rows), -1)
        same[1:] = (flat[1:] == flat[:-1]).all(1)
        follows = self._last is not None and self._last[:2] == (name, start - 1)
        same[0] = follows and self._last is not None and bool(np.array_equal(self._last[2], rows[0]))
        same[self._starts[(self._starts >= start) & (self._starts < start + len(rows))] - start] = False
        changes = np.flatnonzero(~same) + start  # rows that show a new picture
        begins = np.concatenate([[self._begins.get(name, start)] if same[0] else np.zeros(0, np.int64), changes]).astype(np.int64)
        lengths = np.diff(begins, append=start + len(rows))
        for first, length in zip(begins[lengths >= self._least].tolist(), lengths[lengths >= self._least].tolist(), strict=True):
            episode = int(np.searchsorted(self._ends, first, side="right"))
            if length > self._longest.get((episode, name), (0, 0))[0]:
                self._longest[episode, name] = (length, first)
        self._begins[name] = int(begins[-1])
        self._last = (name, start + len(rows) - 1, rows[-1].copy())

    def findings(self, damaged: set[int]) -> Findings:
        return Findings(
            warnings=[
                f"episode {episode}: {name} shows one picture for {length} steps ({length / self._hz:.1f} s), "
                f"from step {first - int(self._starts[episode])} on"
                for (episode, name), (length, first) in sorted(self._longest.items())
                if episode not in damaged
            ]
        )


class _Still:
    """Sensors that never change: in the whole store, or in an episode although they do in most others."""

    def __init__(self, store: StoreReader) -> None:
        self._ends, self._lengths = store.ends, store.lengths
        self._first: dict[str, NDArray[Any]] = {}  # first value of the episode at hand, and of the store
        self._overall: dict[str, NDArray[Any]] = {}
        self._varies: dict[str, bool] = {}
        self._moves: dict[str, NDArray[np.bool_]] = {}
        self._episode: dict[str, int] = {}

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        if name in (REWARD, SIM_STATE):
            return
        moves = self._moves.setdefault(name, np.zeros(len(self._ends), bool))
        overall = self._overall.setdefault(name, rows[0].copy())
        if not self._varies.setdefault(name, False):
            self._varies[name] = bool((rows != overall).any())
        for episode, _, part in episodes_in(self._ends, start, rows):
            if self._episode.get(name) != episode:
                self._episode[name], self._first[name] = episode, part[0].copy()
            if not moves[episode]:
                moves[episode] = bool((part != self._first[name]).any())

    def findings(self, damaged: set[int]) -> Findings:
        lines = []
        long = self._lengths >= _STILL_STEPS
        for name, moves in self._moves.items():
            if not self._varies[name]:
                if self._lengths.sum() >= _STILL_STEPS:
                    lines.append(f"{name} is the same at every step of every episode")
            elif long.any() and moves[long].mean() >= _MOVING_SHARE:
                still = [int(index) for index in np.flatnonzero(long & ~moves) if index not in damaged]
                lines += [f"episode {index}: {name} never changes" for index in still]
        return Findings(warnings=lines)


class _Clock:
    """Time stamps that go back, stand still, leave gaps or run at another rate than the spec's."""

    def __init__(self, store: StoreReader, name: str) -> None:
        self._name, self._starts, self._ends, self._period = name, store.starts, store.ends, 1 / store.env_spec.control_hz
        self._stamps = np.full(store.num_steps, np.nan)

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        if name == self._name:
            self._stamps[start : start + len(rows)] = rows.reshape(len(rows), -1)[:, 0]

    def findings(self, damaged: set[int]) -> Findings:
        found = Findings()
        for episode, (start, stop) in enumerate(zip(self._starts.tolist(), self._ends.tolist(), strict=True)):
            steps = np.diff(self._stamps[start:stop])
            if episode in damaged or not len(steps) or not np.isfinite(steps).all():
                continue
            label, first = f"episode {episode}: {self._name}", int(np.argmax(steps <= 0)) + 1
            if (steps < 0).any():
                found.errors.append(f"{label} goes back at {int((steps < 0).sum())} steps, first at step {int(np.argmax(steps < 0)) + 1}")
                continue
            if (steps == 0).any():
                found.warnings.append(f"{label} stands still at {int((steps == 0).sum())} steps, first at step {first}")
            middle = float(np.median(steps))
            if abs(middle - self._period) > _RATE_SLACK * self._period:
                found.warnings.append(f"{label} advances by {middle:.4g} s a step, {self._period:.4g} s expected")
            elif (steps > _GAP * self._period).any():
                gap = int(np.argmax(steps)) + 1
                found.warnings.append(f"{label} has gaps, the largest of {steps.max():.4g} s before step {gap}")
        return found
