"""From targets of the tool to motion of the joints: a lag like the training simulation's servo, within every limit, tick by tick.

Policies learn on a servo that the tool follows as a first-order lag (``robolearn.sim.panda``). A stiff arm is given that lag here: each
tick, a step of it becomes joint velocities by damped least squares, these are brought within the limits, and the positions that they
lead to become a smooth trajectory (``robolearn.deploy.spline``) that ends at rest (``robolearn.deploy.envelope``). An arm that is
compliant, and lags by itself, is sent the pose that makes it follow the same motion: the target itself where no limit bit. That pose is
within the workspace, too: there the arm goes when the runner dies.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.envelope import Envelope
from robolearn.deploy.kinematics import Chain
from robolearn.deploy.limits import JointLimits, ToolLimits, Workspace
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.spline import Spline, ticks_averaged
from robolearn.deploy.target import Target, TargetReader
from robolearn.deploy.turning import rotated, rotvec_between
from robolearn.errors import UserError

Array = NDArray[np.float64]

SERVO_LAG = (4.86, 9.16)  # [1/s] of robolearn.sim.panda.ServoGains: rate, rotation_rate

_WEAK = 0.08  # singular values of the Jacobian below which a direction of the tool is damped
_DAMPING = 0.06
_POSTURE_RATE = 0.5  # [1/s] at which joints that do not move the tool go back to their posture
_POSTURE_SPEED = 0.3  # [rad/s] at most


class MotionGenerator:
    """Follows targets of the tool with an arm's joints.

    Latency: what is asked at a tick moves the joints ``latency`` seconds later, because the trajectory up to ``lead`` after a tick is
    what was promised before: a message that comes half a tick less than ``lead`` late, or a tick less still if the one before it was
    lost, joins what the robot does without a jump. The lag's time constant is shortened by as much, so that the tool is where the servo's
    would be.

    Args:
        chain: the arm and its tool.
        limits: of the joints, margins taken off.
        workspace: of the tool.
        rate_hz: ticks a second.
        tool: how fast the tool may be, and how far ahead of it a target.
        lag: rates [1/s] at which the tool follows its target, in translation and in rotation.
        robot_lag: rates [1/s] at which a compliant robot itself follows poses; None for one that follows trajectories stiffly.
        posture: ``(J,)`` [rad] to which joints go that do not move the tool; where it starts unless given.
        lead: [s] of trajectory that stays as promised, rounded up to ticks.
        response: [s] by which the robot follows its trajectory late.
        stands: the robot is promised nothing: where ticks are missed it stands where it was sent last, and motion begins anew from there.

    Raises:
        UserError: limits for another number of joints, or a latency as long as the lag's time constant.

    Attributes:
        clamps: how often each limit bit, by name.
        latency: [s] from a tick to the robot's response.
        missed: ticks that were not called in time.
    """

    def __init__(
        self,
        chain: Chain,
        limits: JointLimits,
        workspace: Workspace,
        rate_hz: float,
        *,
        tool: ToolLimits | None = None,
        lag: tuple[float, float] = SERVO_LAG,
        robot_lag: tuple[float, float] | None = None,
        posture: tuple[float, ...] | None = None,
        lead: float = 0.03,
        response: float = 0.0,
        stands: bool = False,
    ) -> None:
        if limits.size != chain.size or (posture is not None and len(posture) != chain.size):
            raise UserError(f"the arm has {chain.size} joints, its limits {limits.size}, its posture {len(posture or ()) or 'none'}")
        if not 10 <= rate_hz <= 1000 or min(lead, response) < 0:
            raise UserError(f"motion takes 10 to 1000 ticks a second and times of at least 0, got {rate_hz}, {lead}, {response}")
        self.chain, self.limits, self.workspace, self.dt = chain, limits, workspace, 1.0 / rate_hz
        self.tool = tool or ToolLimits()
        self.clamps: Counter[str] = Counter()
        self.missed, self._stands = 0, stands
        stiff, averaged = robot_lag is None, ticks_averaged(limits, self.dt)
        self._lead = math.ceil(lead / self.dt - 1e-9) if stiff else 0
        self.latency = (self._lead + averaged / 2) * self.dt + response if stiff else 0.0
        self._gains = tuple(self._gain(rate, self.latency) for rate in lag)
        self._robot_gains = None if robot_lag is None else tuple(self._gain(rate, 0.0) for rate in robot_lag)
        self._reader = TargetReader(workspace, self.tool)
        self._envelope = Envelope(chain, limits, workspace, self.tool, self.dt)
        self._spline = Spline(averaged, self._lead, self.dt)
        self._posture = None if posture is None else np.array(posture)
        self._lower, self._upper = np.array(limits.lower), np.array(limits.upper)
        self._fastest = np.array(limits.velocity)
        self._gain_a_tick = np.array(limits.acceleration) * self.dt
        self._loss_a_tick = np.array(limits.braking) * self.dt
        self._velocity = np.zeros(chain.size)
        self._stamp: int | None = None
        self._sent: Setpoint | None = None

    def _gain(self, rate: float, compensated: float) -> float:
        """Velocity for each metre of distance, so that ticks of constant velocity follow the lag exactly [1/s]."""
        constant = 1.0 / rate - compensated
        if not 0 < rate < math.inf or constant < 2 * self.dt:
            late = f"{1000 * compensated:.0f} ms of latency"
            raise UserError(f"a lag of {rate}/s has a time constant of {1000 / rate:.0f} ms, from which {late} cannot be taken: be faster")
        return (1.0 - math.exp(-self.dt / constant)) / self.dt

    def start(self, joints: NDArray[Any], stamp: int) -> None:
        """Begin at rest, at ``joints (J,)`` [rad], with the tick at ``stamp`` [ns].

        Raises:
            UserError: another number of joints, or one that is not finite.
        """
        at = np.asarray(joints, np.float64)
        if at.shape != (self.chain.size,) or not np.isfinite(at).all():
            raise UserError(f"motion starts from {self.chain.size} finite joint angles, got {joints}")
        self._spline.start(at)
        self._velocity = np.zeros(self.chain.size)
        self._rest = at if self._posture is None else self._posture
        self._reader.reset(*self.chain.forward(at))
        self._stamp, self._sent = stamp - round(1.5 * self.dt * 1e9), None

    def lean(self, joints: NDArray[Any]) -> None:
        """Let joints that do not move the tool go towards ``joints (J,)`` [rad]: where a compliant arm, free to choose, has them."""
        at = np.asarray(joints, np.float64)
        if np.isfinite(at).all():
            self._rest = np.clip(at, self._lower, self._upper)

    @property
    def resting(self) -> bool:
        """Whether no joint moves any more, nor will."""
        return not self._velocity.any() and self._spline.still

    @property
    def planned(self) -> tuple[Array, Array, Array]:
        """Joints ``(J,)`` and tool ``(3,), (3, 3)`` where the next tick begins."""
        joints = self._spline.newest.copy()
        return (joints, *self.chain.forward(joints))

    def follow(self, action: NDArray[Any], stamp: int, share: float = 1.0) -> Setpoint:
        """One tick towards a canonical action ``(10,)``; what cannot be read in it repeats what was read before.

        Args:
            action: absolute pose of the tool in the base frame: position 3 [m], rot6d 6, gripper 1, which is not used.
            stamp: [ns] now. Ticks missed since the last are made up for by what the robot was promised: braking. One that comes before
                its time, after one that came late, gives the last set point again.
            share: of its speed that the tool may have, 0 to 1: a beginning is ramped up.

        Raises:
            UserError: not started, or an action of another size.
        """
        if not self._catch_up(stamp) and self._sent is not None:
            return self._sent
        position, rotation, jacobian = self.chain.forward_jacobian(self._spline.newest)
        target = self._reader.read(action, position, rotation)
        reasons = list(target.reasons)
        wanted = self._joint_velocities(self._twist(target, share, reasons), jacobian, reasons)
        wanted = self._within_limits(wanted, reasons)
        return self._move(wanted, position, rotation, target, reasons)

    def decelerate(self, stamp: int) -> Setpoint:
        """One tick of coming to rest, and of staying there: what holding and faults send. Later targets start from there."""
        if not self._catch_up(stamp) and self._sent is not None:
            return self._sent
        position, rotation = self.chain.forward(self._spline.newest)
        self._reader.reset(position, rotation)
        return self._move(self._envelope.braked(self._velocity), position, rotation, None, [])

    def _catch_up(self, now: int) -> bool:
        """Let the ticks pass that nobody called; whether it is time for the next.

        The grid of ticks runs half a tick behind the calls, so that these may be early or late by as much.
        """
        if self._stamp is None:
            raise UserError("call start(joints, stamp) before the first tick")
        period = round(self.dt * 1e9)
        passed = (now - self._stamp) // period
        if passed < 0:  # the clock was put back
            self._stamp, passed = now - period - period // 2, 1
        if passed > 1 and self._stands and self._sent is not None:
            self._spline.start(self._sent.positions[0])
            self._velocity = np.zeros(self.chain.size)
        for _ in range(min(passed - 1, 10_000)):
            self._velocity = self._envelope.braked(self._velocity)
            self._spline.append(self._spline.newest + self._velocity * self.dt)
        self.missed += max(passed - 1, 0)
        self._stamp += passed * period
        return passed > 0

    def _twist(self, target: Target, share: float, reasons: list[str]) -> Array:
        """The lag's velocity ``(6,)``, linear and angular parts within the tool's speeds, directions kept."""
        twist: Array = np.concatenate([target.offset * (self._gains[0] * share), target.turn * (self._gains[1] * share)])
        if share < 1.0:
            reasons.append("ramp")
        for part, fastest, reason in ((twist[:3], self.tool.speed, "speed"), (twist[3:], self.tool.turning_speed, "turning speed")):
            speed = math.sqrt(part.dot(part))
            if speed > fastest:
                part *= fastest / speed
                reasons.append(reason)
        return twist

    def _joint_velocities(self, twist: Array, jacobian: Array, reasons: list[str]) -> Array:
        """Joint velocities ``(J,)`` of a twist by least squares, damped only where the arm is nearly singular (Maciejewski, Klein 1988)."""
        pull = np.minimum(np.maximum(_POSTURE_RATE * (self._rest - self._spline.newest), -_POSTURE_SPEED), _POSTURE_SPEED)
        squares, directions = np.linalg.eigh(jacobian.dot(jacobian.T))
        weakness = 1.0 - np.sqrt(np.maximum(squares, 0.0)) / _WEAK
        if weakness[0] > 0:
            squares = squares + np.square(_DAMPING * np.maximum(weakness, 0.0))
            reasons.append("singularity")
        parts = directions.T.dot(twist - jacobian.dot(pull)) / np.maximum(squares, 1e-12)
        wanted: Array = pull + jacobian.T.dot(directions.dot(parts))
        return wanted

    def _within_limits(self, wanted: Array, reasons: list[str]) -> Array:
        """Velocities and their change scaled as a whole, then each joint's so that it can stop before its end."""
        share = float((np.abs(wanted) / self._fastest).max())
        if share > 1.0:
            wanted = wanted / share
            reasons.append("joint velocity")
        change = wanted - self._velocity
        share = float((np.abs(change) / self._gain_a_tick).max())
        if share > 1.0:
            wanted = self._velocity + change / share
            reasons.append("joint acceleration")
        at, loss = self._spline.newest, self._loss_a_tick
        up = np.sqrt(loss * (loss / 4 + np.maximum(self._upper - at, 0.0) * (2 / self.dt))) - loss / 2
        down = np.sqrt(loss * (loss / 4 + np.maximum(at - self._lower, 0.0) * (2 / self.dt))) - loss / 2
        kept = np.minimum(np.maximum(wanted, -down), up)
        if (kept != wanted).any():
            kept = np.minimum(np.maximum(kept, self._velocity - self._gain_a_tick), self._velocity + self._gain_a_tick)
            reasons.append("joint position")
        return kept

    def _move(self, wanted: Array, position: Array, rotation: Array, target: Target | None, reasons: list[str]) -> Setpoint:
        """Take a step, as near to ``wanted`` as the way to rest behind it allows."""
        assert self._stamp is not None
        at = self._spline.newest
        if target is not None:
            wanted, trouble = self._envelope.step(at, self._velocity, wanted, position, rotation)
            reasons += [trouble] if trouble and trouble not in reasons else []
        self._velocity = wanted
        joints = at + wanted * self.dt
        self._spline.append(joints)
        self.clamps.update(reasons)
        end = self.chain.forward(joints)
        offset, turn = end[0] - position, rotvec_between(end[1], rotation)
        points = self._spline.points(wanted, max(self._envelope.ticks_to_rest(wanted), 1))
        exact = target if target is not None and not reasons and self._robot_gains == self._gains else None
        goal, facing = self._equilibrium(position, rotation, offset, turn, end) if exact is None else (exact.position, exact.rotation)
        twist = np.concatenate([offset, turn]) / self.dt
        self._sent = Setpoint(self._stamp, *points, goal, facing, twist, tuple(reasons))
        return self._sent

    def _equilibrium(self, position: Array, rotation: Array, offset: Array, turn: Array, end: tuple[Array, Array]) -> tuple[Array, Array]:
        """The pose to send to a tool that follows with the robot's own lag, so that this tick moves it by ``offset`` and ``turn``."""
        if self._robot_gains is None:
            return end
        linear, angular = (1.0 / (gain * self.dt) for gain in self._robot_gains)
        facing = rotated(turn * angular, rotation)
        return self._envelope.inside(position + offset * linear, facing, end), facing
