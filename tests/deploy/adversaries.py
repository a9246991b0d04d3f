"""Targets that a policy should never send, and what to hold an arm's motion to whatever is sent."""

import numpy as np

from robolearn.deploy.setpoint import Setpoint
from robolearn.rotation import matrix_from_rotvec, rot6d_from_matrix


class Adversary:
    """An endless stream of hostile canonical actions, whose manner changes every few ticks."""

    def __init__(self, seed, low, high):
        self._random = np.random.default_rng(seed)
        self._low, self._high = np.asarray(low), np.asarray(high)
        self._manners = [getattr(self, name) for name in sorted(dir(self)) if name.startswith("m_")]
        self._left, self._manner, self._tick = 0, None, 0

    def action(self):
        if self._left == 0:
            self._left, self._manner = int(self._random.integers(1, 120)), self._random.choice(len(self._manners))
        self._left -= 1
        self._tick += 1
        return np.asarray(self._manners[self._manner](), float)

    def _pose(self, position, rotvec=None):
        turn = self._random.normal(size=3) * 2 if rotvec is None else np.asarray(rotvec, float)
        return np.concatenate([position, rot6d_from_matrix(matrix_from_rotvec(turn)), [self._random.choice([-1.0, 1.0])]])

    def _anywhere(self):
        return self._random.uniform(self._low, self._high)

    def m_anywhere(self):
        return self._pose(self._anywhere())

    def m_corners_in_turn(self):
        return self._pose(np.where(self._random.random(3) < 0.5, self._low, self._high), (np.pi, 0, 0))

    def m_corner_to_opposite_corner(self):
        return self._pose(self._low if self._tick % 2 else self._high, (np.pi * (1 - 2 * (self._tick % 2)), 0.01, 0))

    def m_far_outside(self):
        return self._pose(self._random.normal(size=3) * 10 ** self._random.uniform(0, 8))

    def m_below_the_table(self):
        return self._pose((*self._anywhere()[:2], self._random.uniform(-1, 0.01)), (np.pi, self._random.normal() * 0.3, 0))

    def m_behind_the_base(self):
        return self._pose((self._random.uniform(-0.6, 0.1), self._random.uniform(-0.2, 0.2), self._random.uniform(0, 0.6)))

    def m_tiny_jitter(self):
        return self._pose(self._low * 0.5 + self._high * 0.5 + self._random.normal(size=3) * 1e-9, (np.pi, 0, 1e-9 * self._random.normal()))

    def m_stays(self):
        return self._pose(self._low * 0.7 + self._high * 0.3, (np.pi, 0, 0.3))

    def m_half_a_turn_each_way(self):
        return self._pose(self._anywhere(), (0, 0, np.pi * (1 - 2 * (self._tick % 2))))

    def m_spins(self):
        return self._pose(self._low * 0.5 + self._high * 0.5, (0, 0, 0.5 * self._tick))

    def m_nan(self):
        return np.where(self._random.random(10) < 0.3, np.nan, self.m_anywhere())

    def m_infinite(self):
        return np.where(self._random.random(10) < 0.3, self._random.choice([np.inf, -np.inf]), self.m_anywhere())

    def m_huge(self):
        return self._random.normal(size=10) * 10 ** self._random.uniform(0, 307)

    def m_nothing(self):
        return np.zeros(10)

    def m_parallel_rows(self):
        row = self._random.normal(size=3)
        return np.concatenate([self._anywhere(), row, row * (1 + 1e-6 * self._random.normal()), [0.0]])

    def m_denormal(self):
        return self._random.normal(size=10) * 1e-310

    def m_one_axis_at_a_time(self):
        return self._pose(np.where(np.arange(3) == self._tick // 7 % 3, self._high, self._low), (np.pi, 0, 0))


class Held:
    """Holds a stream of set points to limits and to what was promised before; counts what broke, by name."""

    def __init__(self, generator, lead_ticks):
        self._generator, self._lead = generator, lead_ticks
        self._chain, limits, workspace = generator.chain, generator.limits, generator.workspace
        self._limits = [np.array(getattr(limits, name)) for name in ("lower", "upper", "velocity", "acceleration", "jerk")]
        self._low, self._high = np.array(workspace.low) - 1e-3, np.array(workspace.high) + 1e-3
        self._table, self._points = workspace.table_height, np.array(workspace.tool_points)
        self._before: Setpoint | None = None
        self.broken: dict[str, int] = {}
        self.fastest = 0.0

    def _count(self, name, wrong):
        if wrong:
            self.broken[name] = self.broken.get(name, 0) + 1

    def check(self, point):
        lower, upper, velocity, acceleration, jerk = self._limits
        tiny = 1e-9
        finite = all(
            np.isfinite(values).all() for values in (point.positions, point.velocities, point.accelerations, point.position, point.rotation)
        )
        self._count("not finite", not finite)
        self._count("position", ((point.positions > upper + tiny) | (point.positions < lower - tiny)).any())
        self._count("velocity", (np.abs(point.velocities) > velocity + 1e-7).any())
        self._count("acceleration", (np.abs(point.accelerations) > acceleration + 1e-5).any())
        jerks = np.diff(point.accelerations, axis=0) / np.diff(point.times)[:, None]
        self._count("jerk", (np.abs(jerks) > jerk * (1 + 1e-6)).any())
        self._count("times", (np.diff(point.times) <= 0).any() or point.times[0] != 0)
        self._count("not at rest", point.velocities[-1].any() or np.abs(point.accelerations[-1]).max() > 1e-6)
        tool, turned = self._chain.forward(point.positions)
        self._count("workspace", ((tool < self._low) | (tool > self._high)).any())
        if self._table is not None:
            self._count("table", (tool[:, 2:] + turned[:, 2] @ self._points.T).min() < self._table - 1e-3)
        self._keeps_promises(point)
        self._before = point

    def _keeps_promises(self, point):
        """Where the robot is now, and for the lead to come, is what the message before said."""
        if self._before is None:
            return
        ahead = (point.stamp - self._before.stamp) * 1e-9
        for knot in range(self._lead + 1):
            promised = sample(self._before, point.times[knot] + ahead)
            given = (point.positions[knot], point.velocities[knot], point.accelerations[knot])
            gaps = [np.abs(a - b).max() for a, b in zip(promised, given, strict=True)]
            self._count("promise", gaps[0] > 1e-9 or gaps[1] > 1e-7 or gaps[2] > 1e-5)


def sample(point, time):
    """What a controller that was sent a set point makes of it at ``time`` [s]: position, velocity, acceleration ``(J,)``; cubic pieces."""
    if time >= point.times[-1] - 1e-9:
        return point.positions[-1], np.zeros_like(point.positions[-1]), np.zeros_like(point.positions[-1])
    at = max(int(np.searchsorted(point.times, time + 1e-9, side="right")) - 1, 0)
    width = point.times[at + 1] - point.times[at]
    share = (time - point.times[at]) / width
    p0, p1, v0, v1 = point.positions[at], point.positions[at + 1], point.velocities[at] * width, point.velocities[at + 1] * width
    a, b = 2 * (p0 - p1) + v0 + v1, 3 * (p1 - p0) - 2 * v0 - v1
    position = ((a * share + b) * share + v0) * share + p0
    return position, ((3 * a * share + 2 * b) * share + v0) / width, (6 * a * share + 2 * b) / width**2
