"""From a message to the numbers that a sensor is about, or to the words why there are none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sensors.ring import Between, Row, poses_between, straight
from robolearn.deploy.sensors.sources import POSE_ARRAY, ArraySource, GripperSource, JointSource, PoseSource
from robolearn.errors import nearest
from robolearn.rotation import matrix_from_quaternion, quaternion_from_matrix, rot6d_from_quaternion

_UNIT = 0.05  # by which the length of a quaternion may differ from 1


class Refused(Exception):
    """A message that says nothing usable; ``kind`` is ``names``, ``not finite`` or ``malformed``."""

    def __init__(self, kind: str, words: str) -> None:
        super().__init__(words)
        self.kind = kind


@dataclasses.dataclass(frozen=True)
class Reading:
    """How the messages of one source are read.

    Args:
        width: numbers in a row.
        read: a message's row ``(width,)``, or None where the message is about something else; raises :class:`Refused`.
        between: interpolates rows.
        shown: what a policy sees of a row, flat.
    """

    width: int
    read: Callable[[Any], Row | None]
    between: Between
    shown: Callable[[Row], Row]


def reading_of(source: JointSource | ArraySource | PoseSource) -> Reading:
    """How to read a source: joints as positions and velocities ``(2 J,)``, a gripper as its opening, poses as ``(7 n,)``."""
    if isinstance(source, GripperSource):
        return Reading(1, _Opening(source), straight, _as_is)
    if isinstance(source, JointSource):
        return Reading(2 * len(source.joints), _Joints(source.joints, source.topic), straight, _as_is)
    if isinstance(source, PoseSource):
        return Reading(7 * len(source.bodies), _Poses(source), poses_between, shown_poses)
    return Reading(int(np.prod(source.shape)), _Numbers(source), straight, _as_is)


def shown_poses(row: Row) -> Row:
    """Position and rot6d of each pose: ``(7 n,) -> (9 n,)``."""
    poses = row.reshape(-1, 7)
    shown: Row = np.concatenate([poses[:, :3], rot6d_from_quaternion(poses[:, 3:])], 1).reshape(-1)
    return shown


class _Joints:
    """Positions and velocities ``(2 J,)`` by name; velocities that are not said are NaN."""

    def __init__(self, joints: tuple[str, ...], topic: str) -> None:
        self._joints, self._topic = joints, topic
        self._names: list[str] = []  # as last seen
        self._places: NDArray[np.int64] | None = None  # of our joints among them

    def __call__(self, message: Any) -> Row | None:
        if self._places is None or message.name != self._names:
            self._find(list(message.name))
        if self._places is None:
            return None
        count = len(self._names)
        if len(message.position) != count:
            raise Refused("malformed", f"{count} joints and {len(message.position)} positions")
        row = np.full(2 * len(self._joints), np.nan)
        row[: len(self._joints)] = message.position[self._places]
        if len(message.velocity) == count:
            row[len(self._joints) :] = message.velocity[self._places]
        if not np.isfinite(row[: len(self._joints)]).all():
            raise Refused("not finite", f"positions {row[: len(self._joints)].tolist()}")
        return row

    def _find(self, names: list[str]) -> None:
        """Where our joints are among ``names``; nowhere, where it speaks of other joints altogether."""
        self._places = None
        missing = [name for name in self._joints if name not in names]
        if missing and len(missing) < len(self._joints):
            lacks = f"{', '.join(missing)} missing{nearest(missing[0], names)}"
            raise Refused("names", f"{self._topic} names {names}, the robot has {list(self._joints)}: {lacks}")
        self._names = names
        if not missing:
            self._places = np.array([names.index(name) for name in self._joints])


class _Opening:
    def __init__(self, source: GripperSource) -> None:
        self._joints, self._source = _Joints(source.joints, source.topic), source

    def __call__(self, message: Any) -> Row | None:
        row = self._joints(message)
        if row is None:
            return None
        return np.array([self._source.offset + self._source.scale * row[: len(row) // 2].sum()])


class _Numbers:
    def __init__(self, source: ArraySource) -> None:
        self._path, self._size, self._source = source.field.split("."), int(np.prod(source.shape)), source

    def __call__(self, message: Any) -> Row:
        value = message
        for word in self._path:
            value = getattr(value, word)
        row = flat_numbers(value)
        if row.size != self._size:
            raise Refused("malformed", f"{self._source.field} holds {row.size} numbers, the sensor has {self._size}")
        if not np.isfinite(row).all():
            raise Refused("not finite", f"{int((~np.isfinite(row)).sum())} of {row.size} numbers are not finite")
        return row


def flat_numbers(value: Any) -> Row:
    """All numbers of a message, in the order of its fields, ``(D,)``.

    Raises:
        Refused: there is something else than numbers in it.
    """
    if dataclasses.is_dataclass(value):
        names = [part.name for part in dataclasses.fields(value) if not part.name.startswith("__")]  # rosbags keeps the type as a field
        return np.concatenate([flat_numbers(getattr(value, name)) for name in names])
    numbers = np.asarray(value)
    if numbers.dtype.kind not in "biuf":
        raise Refused("malformed", f"{str(value)[:60]!r} where numbers are expected")
    return numbers.astype(np.float64).reshape(-1)


class _Poses:
    """Rows of position and quaternion wxyz in the base frame, ``(7 n,)``."""

    def __init__(self, source: PoseSource) -> None:
        self._source = source
        given = source.base_from_frame
        self._offset = None if given is None else np.array(given[:3])
        self._turn = None if given is None else matrix_from_quaternion(np.array(given[3:], np.float64))

    def __call__(self, message: Any) -> Row:
        source, frame = self._source, message.header.frame_id
        if source.frame and frame != source.frame:
            raise Refused("names", f"{source.topic} is in frame {frame!r}, the robot expects {source.frame!r}")
        poses = list(message.poses) if source.type == POSE_ARRAY else [message.pose]
        if len(poses) != len(source.bodies):
            expected = f"{len(source.bodies)}: {', '.join(source.bodies)}"
            raise Refused("names", f"{source.topic} holds {len(poses)} poses, the robot expects {expected}")
        rows = np.array([_numbers_of(pose) for pose in poses])  # (n, 7)
        if not np.isfinite(rows).all():
            lost = [name for name, row in zip(source.bodies, rows, strict=True) if not np.isfinite(row).all()]
            raise Refused("not finite", f"poses of {', '.join(lost)}")
        lengths = np.linalg.norm(rows[:, 3:], axis=1)
        if (np.abs(lengths - 1) > _UNIT).any():
            raise Refused("malformed", f"quaternions of length {np.round(lengths, 3).tolist()}, expected 1")
        rows[:, 3:] /= lengths[:, None]
        return self._in_base(rows).reshape(-1)

    def _in_base(self, rows: Row) -> Row:
        if self._turn is None or self._offset is None:
            return rows
        position = rows[:, :3] @ self._turn.T + self._offset
        rotation = self._turn @ matrix_from_quaternion(rows[:, 3:])
        return np.concatenate([position, quaternion_from_matrix(rotation)], 1)


def _numbers_of(pose: Any) -> tuple[float, ...]:
    at, turned = pose.position, pose.orientation
    return (at.x, at.y, at.z, turned.w, turned.x, turned.y, turned.z)


def _as_is(row: Row) -> Row:
    return row
