"""What a robot's motion has to stay within: its joints, its tool, its surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.errors import UserError, check_share

_KINDS = ("lower", "upper", "velocity", "acceleration", "jerk", "braking")


@dataclass(frozen=True)
class JointLimits:
    """Limits of J joints, margins taken off.

    Args:
        lower: smallest angles [rad].
        upper: largest angles [rad].
        velocity: [rad/s].
        acceleration: [rad/s^2].
        jerk: [rad/s^3].
        braking: [rad/s^2] with which the ends are approached: at a distance of d a joint turns no faster than sqrt(2 d braking); half
            of the accelerations unless given.

    Raises:
        UserError: lengths that differ, a rate that is not positive, lower limits above upper ones.
    """

    lower: tuple[float, ...]
    upper: tuple[float, ...]
    velocity: tuple[float, ...]
    acceleration: tuple[float, ...]
    jerk: tuple[float, ...]
    braking: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.braking:
            object.__setattr__(self, "braking", tuple(value / 2 for value in self.acceleration))
        for name in _KINDS:
            object.__setattr__(self, name, tuple(float(value) for value in getattr(self, name)))
        sizes = {name: len(getattr(self, name)) for name in _KINDS}
        if len(set(sizes.values())) != 1:
            raise UserError(f"joint limits take as many values of each kind, got {', '.join(f'{n} {name}' for name, n in sizes.items())}")
        if not all(low < high for low, high in zip(self.lower, self.upper, strict=True)):
            raise UserError(f"lower joint limits must be below the upper ones, got {self.lower} and {self.upper}")
        if any(brake > most for brake, most in zip(self.braking, self.acceleration, strict=True)):
            raise UserError(f"joints cannot brake more than they accelerate, got {self.braking} and {self.acceleration}")
        for name in _KINDS[2:]:
            if not all(0 < value < np.inf for value in getattr(self, name)):
                raise UserError(f"joint limits: every {name} must be above 0 and finite, got {getattr(self, name)}")

    @property
    def size(self) -> int:
        """Number of joints J."""
        return len(self.lower)

    def scaled(self, velocity: float = 1.0, acceleration: float = 1.0, jerk: float = 1.0, inset: float = 0.0) -> JointLimits:
        """A share of each rate; angles ``inset`` [rad] within.

        Raises:
            UserError: angles beyond the ends.
        """
        check_share(high=float("inf"), inset=inset)
        return JointLimits(
            tuple(value + inset for value in self.lower),
            tuple(value - inset for value in self.upper),
            tuple(value * velocity for value in self.velocity),
            tuple(value * acceleration for value in self.acceleration),
            tuple(value * jerk for value in self.jerk),
            tuple(value * acceleration for value in self.braking),
        )


@dataclass(frozen=True)
class Workspace:
    """Where the tool may be, in the base frame [m].

    Args:
        low: smallest coordinates of the tool centre point.
        high: largest ones.
        table_height: of a plane that no point of the tool goes below; None where there is none.
        tool_points: ``(K, 3)`` points of the tool in its own frame that are held above the table, such as the ends of the fingers.

    Raises:
        UserError: a box without room, points that are not three numbers.
    """

    low: tuple[float, float, float]
    high: tuple[float, float, float]
    table_height: float | None = None
    tool_points: Sequence[Sequence[float]] = ((0.0, 0.0, 0.0),)

    def __post_init__(self) -> None:
        if len(self.low) != 3 or len(self.high) != 3 or not all(low < high for low, high in zip(self.low, self.high, strict=True)):
            raise UserError(f"a workspace needs low x, y, z below high x, y, z [m], got {tuple(self.low)} and {tuple(self.high)}")
        if self.table_height is not None and not self.table_height < self.high[2]:
            raise UserError(f"a table at {self.table_height} m leaves no room in a workspace up to {self.high[2]} m")
        if not self.tool_points or any(len(point) != 3 for point in self.tool_points):
            raise UserError(f"the tool's points take three numbers each [m], got {self.tool_points}")


@dataclass(frozen=True)
class ToolLimits:
    """How fast the tool may be, and how far ahead of it a target.

    Args:
        speed: [m/s].
        turning_speed: [rad/s].
        step: a target further from the tool is brought so near [m].
        turn: a target turned further is turned so far [rad].
    """

    speed: float = 0.5
    turning_speed: float = 1.5
    step: float = 0.25
    turn: float = 1.2

    def __post_init__(self) -> None:
        for name in ("speed", "turning_speed", "step", "turn"):
            if not 0 < getattr(self, name) < np.inf:
                raise UserError(f"the tool's {name} must be above 0 and finite, got {getattr(self, name)}")
