"""What sensors a robot has: topics, what is in their messages, how late they measure, and when they count as dead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from robolearn.errors import UserError, check_positive, check_share
from robolearn.spec import ArraySpec

JOINT_STATE = "sensor_msgs/msg/JointState"
POSE_ARRAY, POSE_STAMPED = "geometry_msgs/msg/PoseArray", "geometry_msgs/msg/PoseStamped"
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
POSE_SIZE = 9  # position 3 [m], rot6d 6


@dataclass(frozen=True)
class Source:
    """One topic that tells something.

    Args:
        topic: its ROS name.
        latency: [s] from the measurement to the message's stamp, or to its arrival where it has none.
        max_age: [s] beyond which the newest measurement is stale.
        stamped: whether the header's stamps are by our clock; if not, measurements are of the time at which they arrive.
    """

    topic: str
    latency: float = field(default=0.0, kw_only=True)
    max_age: float = field(default=0.5, kw_only=True)
    stamped: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        check_positive(max_age=self.max_age)
        check_share(high=10.0, latency=self.latency)
        if not self.topic:
            raise UserError(f"a {type(self).__name__} needs the name of a topic")


@dataclass(frozen=True)
class JointSource(Source):
    """Joints of an arm, found by name in a ``sensor_msgs/msg/JointState``, whatever their order there.

    Args:
        joints: names in the policy's order.
    """

    joints: tuple[str, ...] = ()
    max_age: float = field(default=0.2, kw_only=True)

    type = JOINT_STATE

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "joints", tuple(self.joints))
        if not self.joints or len(set(self.joints)) < len(self.joints):
            raise UserError(f"{self.topic}: give each joint's name once, in the policy's order; got {list(self.joints)}")


@dataclass(frozen=True)
class GripperSource(JointSource):
    """The opening of a gripper: ``offset + scale * sum of its joints``.

    Args:
        joints: of the fingers, as the driver names them.
        scale: [m] of opening for one unit of their sum.
        offset: [m] of opening where they are 0.
    """

    scale: float = 1.0
    offset: float = 0.0
    max_age: float = field(default=0.5, kw_only=True)

    @property
    def spec(self) -> ArraySpec:
        """What a policy gets."""
        return ArraySpec((1,), units="m")


@dataclass(frozen=True)
class ArraySource(Source):
    """Numbers: of a ``Float64MultiArray`` or of any field of any message.

    Args:
        shape: of one reading.
        type: of the message.
        field: that holds the numbers; dots lead into nested messages, and all numbers of a nested message count.
    """

    shape: tuple[int, ...] = ()
    type: str = "std_msgs/msg/Float64MultiArray"
    field: str = "data"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", tuple(self.shape))

    @property
    def spec(self) -> ArraySpec:
        """What a policy gets."""
        return ArraySpec(self.shape)


@dataclass(frozen=True)
class PoseSource(Source):
    """Poses of bodies, 9 numbers each (position [m], rot6d): of a ``PoseArray`` in this order, or of one ``PoseStamped``.

    Args:
        bodies: their names, for messages about them; as many as poses.
        type: ``geometry_msgs/msg/PoseArray`` or ``geometry_msgs/msg/PoseStamped``.
        frame: the ``frame_id`` that is expected; any where empty.
        base_from_frame: where that frame stands in the robot's base frame: x, y, z [m], quaternion w, x, y, z; None: poses are in the
            base frame.
    """

    bodies: tuple[str, ...] = ("body",)
    type: str = POSE_ARRAY
    frame: str = ""
    base_from_frame: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "bodies", tuple(self.bodies))
        if self.type not in (POSE_ARRAY, POSE_STAMPED):
            raise UserError(f"{self.topic}: poses come as {POSE_ARRAY} or {POSE_STAMPED}, not {self.type}")
        if not self.bodies or (self.type == POSE_STAMPED and len(self.bodies) != 1):
            raise UserError(f"{self.topic}: name the bodies of a PoseArray, or the one of a PoseStamped; got {list(self.bodies)}")
        if self.base_from_frame is not None:
            object.__setattr__(self, "base_from_frame", tuple(self.base_from_frame))
            if len(self.base_from_frame) != 7 or not 0.99 < sum(q * q for q in self.base_from_frame[3:]) < 1.01:
                raise UserError(f"{self.topic}: base_from_frame is x, y, z and a unit quaternion w, x, y, z; got {self.base_from_frame}")

    @property
    def spec(self) -> ArraySpec:
        """What a policy gets."""
        return ArraySpec((POSE_SIZE * len(self.bodies),), units="m, rot6d", frame="base")


@dataclass(frozen=True)
class CameraSource(Source):
    """Pictures, cut and shrunk to the size that a policy sees.

    Args:
        shape: ``(height, width, 3)``, or 1 for grey.
        type: ``sensor_msgs/msg/Image`` (rgb8, bgr8, mono8, rgba8, bgra8) or ``sensor_msgs/msg/CompressedImage`` (JPEG, PNG).
        crop: left, top, width and height [pixels] of what is kept; None: as much of the middle as has the policy's proportions.
        frozen_after: [s] for which pictures may be the same to the byte before the camera counts as frozen; None: for ever.
    """

    shape: tuple[int, ...] = (84, 84, 3)
    type: str = IMAGE
    crop: tuple[int, ...] | None = None
    frozen_after: float | None = 2.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "shape", tuple(self.shape))
        check_positive(frozen_after=self.frozen_after)
        if len(self.shape) != 3 or min(self.shape) < 1 or self.shape[2] not in (1, 3):
            raise UserError(f"{self.topic}: a picture's shape is height, width and 3 (or 1 for grey); got {list(self.shape)}")
        if self.type not in (IMAGE, COMPRESSED):
            raise UserError(f"{self.topic}: pictures come as {IMAGE} or {COMPRESSED}, not {self.type}")
        if self.crop is not None:
            object.__setattr__(self, "crop", tuple(self.crop))
            if len(self.crop) != 4 or min(self.crop) < 0 or min(self.crop[2:]) < 1:
                raise UserError(f"{self.topic}: crop is left, top, width and height in pixels; got {list(self.crop)}")

    @property
    def spec(self) -> ArraySpec:
        """What a policy gets."""
        return ArraySpec(self.shape, "uint8")


@dataclass(frozen=True)
class StackedSource:
    """Several sources behind each other as one observation, such as the poses of parts that are tracked one by one.

    Args:
        sources: in order.
    """

    sources: tuple[ArraySource | PoseSource, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "sources", tuple(self.sources))
        if not self.sources:
            raise UserError("a StackedSource needs at least one source")

    @property
    def spec(self) -> ArraySpec:
        """What a policy gets."""
        first = self.sources[0].spec
        return ArraySpec((sum(_size(source.spec.shape) for source in self.sources),), units=first.units, frame=first.frame)


AnySource = JointSource | ArraySource | PoseSource | CameraSource


def as_sources(name: str, given: Any) -> tuple[AnySource, ...]:
    """What feeds an observation: a source, those of a stack, or what describes one by the same words (``topic, shape, type ...``).

    Raises:
        UserError: it describes none.
    """
    if isinstance(given, StackedSource):
        return given.sources
    if isinstance(given, Source):
        return (given,)  # type: ignore[return-value]
    words = {word: getattr(given, word) for word in SOURCE_WORDS if hasattr(given, word)}
    if "topic" not in words or "shape" not in words:
        raise UserError(f"sensor {name!r} is no source: it needs a topic and a shape, got {given!r}")
    kind = words.get("type", "")
    if kind in (IMAGE, COMPRESSED):
        return (CameraSource(**{word: value for word, value in words.items() if word != "field"}),)
    if kind in (POSE_ARRAY, POSE_STAMPED):
        words = {word: value for word, value in words.items() if word not in ("shape", "field")}
        return (PoseSource(bodies=_bodies(name, given.shape), **words),)
    return (ArraySource(**words),)


SOURCE_WORDS = ("topic", "shape", "type", "field", "latency", "max_age", "stamped", "crop", "frozen_after", "frame", "base_from_frame")


def _bodies(name: str, shape: Sequence[int]) -> tuple[str, ...]:
    if _size(shape) % POSE_SIZE:
        raise UserError(f"sensor {name!r}: poses are {POSE_SIZE} numbers each (position, rot6d), so a shape of {list(shape)} is none")
    return tuple(f"{name}[{place}]" for place in range(_size(shape) // POSE_SIZE))


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
