"""What one sensor has told lately: its measurements in time, what was dropped and why, and what is wrong with it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass

import numpy as np

from robolearn.deploy.sensors.readings import Refused, reading_of
from robolearn.deploy.sensors.ring import Ring, Row
from robolearn.deploy.sensors.sources import AnySource, ArraySource, JointSource, PoseSource
from robolearn.deploy.sensors.timeline import NANO, Timeline
from robolearn.deploy.transport.base import Received
from robolearn.errors import UserError

CAPACITY = 1024  # measurements kept: a second at a kilohertz
_LARGE = 1e6  # a number beyond it is in no unit that a robot's sensor has
_SLOPE = NANO // 50  # [ns] over which velocities are taken from positions
_WHATEVER = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)  # what reading a strange message may raise


class SensorError(UserError):
    """A sensor has not told anything yet."""


@dataclass(frozen=True)
class SensorProblem:
    """Something that is wrong with a sensor now.

    Args:
        sensor: its name.
        kind: ``missing`` (nothing came yet), ``stale``, ``frozen``, ``clock`` or ``names``.
        words: for people, with the figures.
        age: of the newest measurement [s], infinite before the first.
    """

    sensor: str
    kind: str
    words: str
    age: float


class Feed:
    """What all sensors have in common; :meth:`hear` is called by the transport's thread, everything else by any.

    Args:
        name: of the sensor.
        source: what it is.

    Attributes:
        counts: messages ``heard``, ``taken``, of ``other`` things, and dropped ones by reason: ``not finite``, ``malformed``, ``names``,
            ``duplicate``, ``reordered``, ``skipped`` (a newer picture came before this one was decoded); and ``clock jumps``.
    """

    def __init__(self, name: str, source: AnySource) -> None:
        self.name, self.source = name, source
        self._timeline = Timeline(round(source.latency * 1e9), source.stamped)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._refused: tuple[str, str] | None = None  # kind and words of the last message, where it was refused
        self._heard: int | None = None  # when the last message came [ns]

    def hear(self, received: Received) -> None:
        """Take a message; never raises for what is in it, and takes less than 50 us."""
        with self._lock:
            self._counts["heard"] += 1
            self._heard = received.received
            try:
                taken = self._take(received)
                self._counts["taken" if taken else "other"] += taken is not False
            except Refused as refused:
                self._refuse(refused.kind, str(refused))
            except _WHATEVER as error:
                self._refuse("malformed", f"{type(error).__name__}: {error}"[:200])

    def _take(self, received: Received) -> bool | None:
        """Whether a message was taken: False if it was dropped for its time, None if it is about something else."""
        raise NotImplementedError

    def _forget(self) -> None:
        raise NotImplementedError

    def _measured(self, received: Received) -> int | None:
        """When a message was measured [ns], None where it is to be dropped."""
        if self._timeline.rewind(received.received):
            self._forget()
        stamp = getattr(getattr(received.message, "header", None), "stamp", None)
        nanoseconds = 0 if stamp is None else int(stamp.sec) * NANO + int(stamp.nanosec)
        return self._timeline.place(nanoseconds, received.received)

    def _refuse(self, kind: str, words: str) -> None:
        self._counts[kind] += 1
        self._refused = (kind, words)

    @property
    def counts(self) -> dict[str, int]:
        """What happened to messages, by name."""
        with self._lock:
            return {name: count for name, count in {**self._counts, **self._timeline.counts}.items() if count}

    @property
    def newest(self) -> int | None:
        """Time of the newest measurement [ns]."""
        with self._lock:
            return self._kept()

    @property
    def stamped(self) -> bool:
        """Whether the time of the newest measurement is that of its stamp."""
        return self._timeline.believed

    def problems(self, now: int) -> list[SensorProblem]:
        """What is wrong at ``now`` [ns]."""
        with self._lock:
            newest = self._kept()
            age = float("inf") if newest is None else (now - newest) / NANO
            found = [("clock", self._timeline.trouble(now)), ("frozen", self._frozen())]
            if self._refused is not None and self._refused[0] == "names":
                found.append(("names", self._refused[1]))
            elif newest is None or age > self.source.max_age:
                found.append(self._silence(now, age))
        return [SensorProblem(self.name, kind, f"{self.name}: {words}", age) for kind, words in found if words]

    def _silence(self, now: int, age: float) -> tuple[str, str]:
        """In which way nothing new comes: nothing at all, nothing usable, or the same stamp again and again."""
        coming = self._heard is not None and (now - self._heard) / NANO <= self.source.max_age
        why = f" (the last message was dropped: {self._refused[0]}: {self._refused[1]})" if self._refused is not None else ""
        if age == float("inf"):
            other = "; messages about something else come" if coming and not why else ""
            return "missing", f"nothing came yet on {self.source.topic}{why or other}"
        words = f"the newest measurement on {self.source.topic} is {age:.2f} s old, {self.source.max_age:g} s are allowed"
        if coming and not why and self._timeline.standing:
            return "frozen", f"messages come, but their stamps stand still; {words}"
        return "stale", words + why

    def _frozen(self) -> str:
        """Words where the content stands still though time goes on."""
        return ""

    def _kept(self) -> int | None:
        """Time of the newest measurement that can be used [ns]."""
        return self._timeline.newest


class NumberFeed(Feed):
    """A sensor whose measurements are numbers.

    Args:
        name: of the sensor.
        source: what it is.
    """

    def __init__(self, name: str, source: JointSource | ArraySource | PoseSource) -> None:
        super().__init__(name, source)
        self._reading = reading_of(source)
        self._ring = Ring(CAPACITY, self._reading.width, self._reading.between)
        self._moves = type(source) is JointSource

    def at(self, time: int) -> Row:
        """What was measured at ``time`` [ns], interpolated; before the oldest and after the newest, that one.

        Raises:
            SensorError: nothing came yet.
        """
        with self._lock:
            self._check_heard()
            return self._ring.at(time)

    def shown(self, time: int) -> Row:
        """The same as a policy sees it, flat."""
        return self._reading.shown(self.at(time))

    def latest(self) -> tuple[int, Row]:
        """The newest measurement, with its time [ns].

        Raises:
            SensorError: nothing came yet.
        """
        with self._lock:
            self._check_heard()
            return self._ring.before(self._timeline.newest or 0)

    def _check_heard(self) -> None:
        if not len(self._ring):
            raise SensorError(f"sensor {self.name!r} has not told anything yet on {self.source.topic}")

    def _take(self, received: Received) -> bool | None:
        row = self._reading.read(received.message)
        if row is None:
            return None
        if (np.abs(row) > _LARGE).any():
            raise Refused("malformed", f"numbers beyond {_LARGE:g}")
        measured = self._measured(received)
        if measured is None:
            return False
        if self._moves:
            self._fill_velocities(measured, row)
        self._ring.push(measured, row)
        self._refused = None
        return True

    def _fill_velocities(self, measured: int, row: Row) -> None:
        """Where a driver does not say velocities, or not all, those of positions over the last moment."""
        size = len(row) // 2
        unsaid = ~np.isfinite(row[size:])
        if not unsaid.any():
            return
        row[size:][unsaid] = 0.0
        if len(self._ring):
            before, earlier = self._ring.before(measured - _SLOPE)
            row[size:][unsaid] = ((row[:size] - earlier[:size]) * NANO / (measured - before))[unsaid]

    def _forget(self) -> None:
        self._ring.clear()
