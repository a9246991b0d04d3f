"""Skills that experts are made of: where a tool should go next, given what the rows that use the skill see, and when that is done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rotvec, rotvec_from_matrix
from robolearn.sim.pose import Pose

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

# The hand pointing down, its fingers opening along the base's y axis.
_DOWN = np.diag([1.0, -1.0, -1.0])
# What the wrist can turn through with the hand pointing down [rad].
HAND_YAW = (np.radians(-100.0), np.radians(190.0))


def hand_rotation(yaw: Array | float, tilt: Array | float, rows: int) -> Array:
    """Hand rotations ``(n, 3, 3)``: pointing down, leaned by ``tilt`` about the base's y axis, then turned by ``yaw`` about z."""
    zero = np.zeros(rows)
    lean = matrix_from_rotvec(np.stack([zero, zero + tilt, zero], -1))
    turn = matrix_from_rotvec(np.stack([zero, zero, zero + yaw], -1))
    rotation: Array = turn @ lean @ _DOWN
    return rotation


def yaw_of(rotation: Array) -> Array:
    """Yaw of a hand that points down, in (-pi, pi]: ``(n, 3, 3) -> (n,)``."""
    yaw: Array = np.arctan2(rotation[:, 1, 0], rotation[:, 0, 0])
    return yaw


@dataclass
class Scene:
    """What some rows show to one of their arms: poses in the base frame, and the memory of those rows."""

    tcp: Array  # (n, 3)
    hand: Array  # (n, 3, 3)
    width: Array  # (n,) between the fingers
    poses: Mapping[str, Pose]  # of every part and fixture
    steps: Array  # (n,) in this phase
    yaw: Array  # (n,) unwrapped hand yaw
    variation: Array  # (n, 4) in (-1, 1), the same for an episode: what a person does otherwise each time; 0 where nothing varies

    def position(self, part: str) -> Array:
        """Origin of a part, ``(n, 3)``."""
        return self.poses[part].position

    def rotation(self, part: str) -> Array:
        """Orientation of a part, ``(n, 3, 3)``."""
        return self.poses[part].rotation

    def relative(self, child: str, parent: str) -> Pose:
        """One part, seen from another."""
        return self.poses[child].seen_from(self.poses[parent])


@dataclass(frozen=True)
class Goal:
    """Where the tool should go, and which rows have finished the phase."""

    position: Array
    rotation: Array
    done: Mask
    yaw: Array | None = None  # unwrapped target, where the way round matters


Skill = Callable[[Scene], Goal]
Grip = Callable[[Scene], tuple[Array, Array]]  # where the tool holds something: position (n, 3), rotation (n, 3, 3)


def near(scene: Scene, position: Array, rotation: Array, distance: float, angle: float = 0.12) -> Mask:
    """Whether the tool is within ``distance`` [m] and ``angle`` [rad] of a pose, ``(n,)``."""
    turned = np.linalg.norm(rotvec_from_matrix(rotation @ scene.hand.transpose(0, 2, 1)), axis=1)
    arrived: Mask = (np.linalg.norm(position - scene.tcp, axis=1) < distance) & (turned < angle)
    return arrived


def hold(scene: Scene) -> Goal:
    """Stay where the tool is."""
    return Goal(scene.tcp, scene.hand, np.ones(len(scene.tcp), bool))


def retreat(height: float) -> Skill:
    """Straight up to a height above the table [m]."""

    def goal(scene: Scene) -> Goal:
        position = scene.tcp.copy()
        position[:, 2] = height
        return Goal(position, scene.hand, scene.tcp[:, 2] > height - 0.02)

    return goal


def along(part: str, tilt: float, offset: Array | tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grip:
    """A grip on a lying part, at an offset in its frame: fingers close across its y axis, the hand leaned back by ``tilt`` [rad]."""

    def grip(scene: Scene) -> tuple[Array, Array]:
        axis = scene.rotation(part)[:, :, 1]
        rotation = hand_rotation(np.arctan2(axis[:, 1], axis[:, 0]), tilt, len(scene.tcp))
        position = scene.position(part)
        if np.any(offset):
            position = position + scene.rotation(part) @ np.asarray(offset)
        return position, rotation

    return grip


def reach(grip: Grip, away: float, distance: float) -> Skill:
    """To a grip, or ``away`` [m] from it along the approach and 2 cm above that."""

    def goal(scene: Scene) -> Goal:
        position, rotation = grip(scene)
        position = position - away * rotation[:, :, 2]
        if away:
            position[:, 2] += 0.02
        return Goal(position, rotation, near(scene, position, rotation, distance))

    return goal


@dataclass(frozen=True)
class Seat:
    """Where a child belongs in its parent: ``position`` [m], and ``rotation (3, 3)``; both in the parent's frame.

    ``free``: it may come turned about its y axis by any angle.
    """

    child: str
    parent: str
    position: Array
    rotation: Array
    free: bool = False

    def raised(self, height: float) -> Array:
        """The child's origin ``height`` [m] above the seat along the child's y axis, in the parent's frame."""
        raised: Array = self.position + height * self.rotation[:, 1]
        return raised

    def left(self, scene: Scene) -> Array:
        """What is still between the child and its seat, along the seat's axes, ``(n, 3)`` [m]: y is the height."""
        left: Array = (scene.relative(self.child, self.parent).position - self.position) @ self.rotation
        return left


def carry(seat: Seat, height: float, distance: float, lift: float = 0.06) -> Skill:
    """Bring the held child over its seat, ``height`` [m] above it along the child's y axis, correcting for how it lies in the hand.

    Far from there it is ``lift`` [m] higher.
    """

    def goal(scene: Scene) -> Goal:
        parent, child = scene.poses[seat.parent], scene.poses[seat.child]
        in_hand = scene.hand.transpose(0, 2, 1) @ child.rotation
        offset = (scene.hand.transpose(0, 2, 1) @ (child.position - scene.tcp)[..., None])[..., 0]
        wanted = parent.rotation @ seat.rotation
        if seat.free:
            wanted = _righted(child.rotation, wanted[:, :, 1])
        rotation = wanted @ in_hand.transpose(0, 2, 1)
        above = seat.raised(height)
        target = parent.position + (parent.rotation @ above[:, None])[..., 0]
        position = target - (rotation @ offset[..., None])[..., 0]
        # The way there leads high over the other parts.
        far = np.linalg.norm((target - child.position)[:, :2], axis=1)
        position[:, 2] += np.clip(far - 0.03, 0.0, lift)
        left = np.abs(scene.relative(seat.child, seat.parent).position - above)
        upright = (child.rotation[:, :, 1] * wanted[:, :, 1]).sum(1) > 0.995
        return Goal(position, rotation, (left < distance).all(1) & upright)

    return goal


def firmly(skill: Skill, gain: float = 2.5) -> Skill:
    """A skill whose target lies as much further: of a way that is short, the servo covers 0.385 in 0.1 s, or nearly all of it."""

    def goal(scene: Scene) -> Goal:
        aim = skill(scene)
        return replace(aim, position=scene.tcp + gain * (aim.position - scene.tcp))

    return goal


def _righted(rotation: Array, axis: Array) -> Array:
    """Rotations ``(n, 3, 3)``, turned by the least angle that brings their y axis to ``axis (n, 3)``."""
    across = np.cross(rotation[:, :, 1], axis)
    sine = np.linalg.norm(across, axis=1, keepdims=True)
    angle = np.arctan2(sine, (rotation[:, :, 1] * axis).sum(1, keepdims=True))
    righted: Array = matrix_from_rotvec(across / np.maximum(sine, 1e-9) * angle) @ rotation
    return righted


def insert(seat: Seat, until: float, most: float = 0.025) -> Skill:
    """Lower the child until its origin is ``until`` [m] above the seat, the target never more than ``most`` [m] under the tool."""
    straight = carry(seat, 0.0, 0.01)

    def goal(scene: Scene) -> Goal:
        aim = straight(scene)
        position = aim.position.copy()
        position[:, 2] = np.maximum(position[:, 2], scene.tcp[:, 2] - most)
        return Goal(position, aim.rotation, seat.left(scene)[:, 1] < until)

    return goal


def back_off(part: str, height: float = 0.075) -> Skill:
    """Leave a standing part along the hand's approach, to ``height`` [m] above its origin."""

    def goal(scene: Scene) -> Goal:
        position = scene.position(part) + np.array([0.0, 0.0, height])
        return Goal(position, scene.hand, near(scene, position, scene.hand, 0.03, 4.0))

    return goal


@dataclass(frozen=True)
class Wrench:
    """How a standing part is turned: quarter by quarter, from above.

    Args:
        child: the part.
        parent: what it is screwed into.
        above: height of the grip above the child's origin [m].
        faces: how many sides the fingers may close on: 4 of a square bar, 0 of a round one.
        twist: of the child in the parent at which its faces are square to the base's axes [rad].
        width: the fingers have closed on it below this [m].
    """

    child: str
    parent: str
    above: float = 0.014
    faces: int = 4
    twist: float = np.pi / 2
    width: float = 0.034

    def yaw(self, scene: Scene) -> Array:
        """The largest hand yaw in reach at which the fingers meet two faces: the longest stroke, ``(n,)``."""
        if not self.faces:
            return np.full(len(scene.tcp), HAND_YAW[1])
        side = 2 * np.pi / self.faces
        turned = scene.relative(self.child, self.parent).twist % (2 * np.pi)
        leg_yaw = (turned - self.twist) % side
        yaw: Array = np.floor((HAND_YAW[1] - leg_yaw) / side) * side + leg_yaw
        return yaw

    def grip(self, scene: Scene, height: float = 0.0) -> Array:
        """Where the tool grips, or ``height`` [m] above it: ``(n, 3)``."""
        position: Array = scene.position(self.child) + np.array([0.0, 0.0, self.above + height])
        return position


def regrasp(wrench: Wrench, height: float, distance: float) -> Skill:
    """Over the standing part, hand down, at the yaw that leaves the longest stroke."""

    def goal(scene: Scene) -> Goal:
        position, yaw = wrench.grip(scene, height), wrench.yaw(scene)
        rotation = hand_rotation(yaw, 0.0, len(scene.tcp))
        done = near(scene, position, rotation, distance) & (np.abs(yaw - scene.yaw) < 0.1)
        return Goal(position, rotation, done, yaw)

    return goal


def squeeze(wrench: Wrench) -> Skill:
    """Stay over the standing part until the fingers have closed on it."""
    return lambda scene: Goal(wrench.grip(scene), scene.hand, scene.width < wrench.width)


def screw(wrench: Wrench) -> Skill:
    """Turn the held part clockwise to the end of the wrist's range, pressing lightly."""

    def goal(scene: Scene) -> Goal:
        position = wrench.grip(scene, -0.002)
        position[:, :2] = 0.5 * (scene.position(wrench.child) + scene.tcp)[:, :2]
        yaw = np.maximum(scene.yaw - 0.5, HAND_YAW[0])
        return Goal(position, scene.hand, scene.yaw < HAND_YAW[0] + 0.1, yaw)

    return goal
