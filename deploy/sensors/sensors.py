"""All sensors of a robot as one observation at one instant, exactly as a policy's spec words it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sensors.cameras import CameraFeed, Darkroom
from robolearn.deploy.sensors.feeds import Feed, NumberFeed, SensorProblem
from robolearn.deploy.sensors.ring import Row
from robolearn.deploy.sensors.sources import AnySource, CameraSource, GripperSource, JointSource, as_sources
from robolearn.deploy.transport.base import READ, Callback, QoS, Received, Subscription, Transport
from robolearn.deploy.transport.reasons import Reasons
from robolearn.errors import nearest
from robolearn.rotation import rot6d_from_matrix
from robolearn.spec import ArraySpec, EnvSpec, SpecError

JOINTS, GRIPPER = "joint states", "gripper states"  # feeds that every robot has, and that those with fingers have
_OF_TOOL = ("tcp_pos", "tcp_rot6d", "tcp_linvel", "tcp_angvel")
_OF_JOINTS = (*_OF_TOOL, "joint_pos", "joint_vel")
_PICTURES = QoS(depth=2)  # of pictures the newest counts; a backlog would be old


class Sensors:
    """Hears what a robot tells, keeps it in time, and says what was observed when.

    Args:
        robot: has ``name``, ``joints``, ``chain`` (with ``forward(q) -> (3,), (3, 3)`` and ``jacobian(q) -> (6, J)``), ``joint_states``
            (a topic or a :class:`JointSource`), ``fingers`` with ``gripper_states, finger_scale, finger_offset``, and ``cameras`` and
            ``sensors``, each the name of an observation to a source (see :func:`as_sources`).
        transport: carries the topics.
        spec: of the policy.
        keys: the observations that are wanted; all of the spec unless given. Only their topics are heard, and the joints'.
        tap: is given every message that is heard, once; a recorder's.

    Raises:
        SpecError: the robot does not give what is wanted, or in another shape; both sides are named.
    """

    def __init__(
        self,
        robot: Any,
        transport: Transport,
        spec: EnvSpec,
        keys: Sequence[str] | None = None,
        tap: Callable[[Received], None] | None = None,
    ) -> None:
        self._chain, self._size, self._tap = robot.chain, len(robot.joints), tap
        self._given = sources_of(robot)
        self.specs = {name: _wanted(spec, name) for name in (keys if keys is not None else spec.observation)}
        self._check(robot.name)
        self._darkroom = Darkroom()
        self._feeds: dict[str, Feed] = {}
        self._parts: dict[str, tuple[str, ...]] = {}  # name of an observation to those of its feeds
        for name in dict.fromkeys((JOINTS, *(self._feed_of(name) for name in self.specs))):
            sources = self._given[name]
            self._parts[name] = (name,) if len(sources) == 1 else tuple(f"{name}[{place}]" for place in range(len(sources)))
            self._feeds |= {part: self._open(part, source) for part, source in zip(self._parts[name], sources, strict=True)}
        self._subscriptions, self._reasons = self._subscribe(transport), Reasons(transport)

    def observation(self, at: int) -> dict[str, NDArray[Any]]:
        """What was observed at ``at`` [ns]: ``{name: (...)}`` in the spec's shapes and dtypes.

        Numbers are interpolated between measurements (rotations about one axis); before the oldest and after the newest they are
        that one. Pictures are the newest not taken after ``at``, read-only.

        Raises:
            SensorError: a sensor has not told anything yet.
        """
        told = self._of_joints(at)
        return {name: self._shown(name, spec, told, at) for name, spec in self.specs.items()}

    def joints(self) -> tuple[int, Row, Row] | None:
        """The newest joints: when they were measured [ns], positions and velocities ``(J,)``; None before the first."""
        feed = self._numbers(JOINTS)
        if feed.newest is None:
            return None
        stamp, row = feed.latest()
        return stamp, row[: self._size], row[self._size :]

    @property
    def joints_stamped(self) -> bool:
        """Whether the time of the newest joints is that of their stamp."""
        return self._feeds[JOINTS].stamped

    def newest(self) -> int | None:
        """The newest time for which every sensor of numbers has a measurement [ns], None while one has none."""
        times = [feed.newest for feed in self._feeds.values() if isinstance(feed, NumberFeed)]
        return None if None in times else min(time for time in times if time is not None)

    def problems(self, now: int) -> list[SensorProblem]:
        """What is wrong with the sensors at ``now`` [ns]; before each has told something that is ``missing``."""
        return [self._explained(problem) for feed in self._feeds.values() for problem in feed.problems(now)]

    def counts(self) -> dict[str, dict[str, int]]:
        """What happened to each sensor's messages, by name; those that could not be deserialised are ``undecodable``."""
        counts = {name: feed.counts for name, feed in self._feeds.items()}
        for name, feed in self._feeds.items():
            spoiled = self._subscriptions[feed.source.topic].malformed
            counts[name] |= {"undecodable": spoiled} if spoiled else {}
        return counts

    def settle(self, timeout: float = 5.0) -> bool:
        """Wait until all pictures that came are decoded, at most ``timeout`` [s]; whether they are."""
        return self._darkroom.settle(timeout)

    def close(self) -> None:
        """End the thread that decodes pictures; the transport is the caller's."""
        self._darkroom.close()

    def __enter__(self) -> Sensors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, robot: str) -> None:
        given = {name: ArraySpec(_shape(sources)) for name, sources in self._given.items() if name not in (JOINTS, GRIPPER)}
        given |= _own_specs(self._size, GRIPPER in self._given)
        for name, wanted in self.specs.items():
            if name not in given:
                raise SpecError(f"the policy reads {name!r}, robot {robot!r} gives {', '.join(sorted(given))}{nearest(name, given)}")
            if given[name].shape != wanted.shape:
                raise SpecError(f"the policy reads {name!r} with shape {wanted.shape}, robot {robot!r} gives {given[name].shape}")
            if wanted.is_image != any(isinstance(source, CameraSource) for source in self._given.get(name, ())):
                kinds = ("a picture", "numbers") if wanted.is_image else ("numbers", "a picture")
                raise SpecError(f"the policy reads {name!r} as {kinds[0]}, robot {robot!r} gives {kinds[1]}")

    def _explained(self, problem: SensorProblem) -> SensorProblem:
        """With what the transport says of its topic, where nothing came yet."""
        why = self._reasons.why(self._feeds[problem.sensor].source.topic) if problem.kind == "missing" else ""
        return replace(problem, words=f"{problem.words}; {why}") if why else problem

    def _open(self, name: str, source: Any) -> Feed:
        if not isinstance(source, CameraSource):
            return NumberFeed(name, source)
        feed = CameraFeed(name, source, self._darkroom)
        self._darkroom.add(feed)
        return feed

    def _subscribe(self, transport: Transport) -> dict[str, Subscription]:
        """One subscription a topic, whatever many sensors it feeds."""
        heard: dict[str, list[Feed]] = {}
        for feed in self._feeds.values():
            heard.setdefault(feed.source.topic, []).append(feed)
        subscriptions = {}
        for topic, feeds in heard.items():
            types = {feed.source.type for feed in feeds}
            if len(types) > 1:
                raise SpecError(f"topic {topic} cannot be {' and '.join(sorted(types))} at once")
            pictures = any(isinstance(feed, CameraFeed) for feed in feeds)
            subscriptions[topic] = transport.subscribe(topic, types.pop(), self._listener(feeds), _PICTURES if pictures else READ)
        return subscriptions

    def _listener(self, feeds: list[Feed]) -> Callback:
        def hear(received: Received) -> None:
            for feed in feeds:
                feed.hear(received)
            if self._tap is not None:
                self._tap(received)

        return hear

    def _feed_of(self, name: str) -> str:
        if name in _OF_JOINTS:
            return JOINTS
        return GRIPPER if name == "gripper_width" and GRIPPER in self._given else name

    def _numbers(self, name: str) -> NumberFeed:
        feed = self._feeds[name]
        assert isinstance(feed, NumberFeed)
        return feed

    def _of_joints(self, at: int) -> Mapping[str, Row]:
        """All that the joints tell about a time, as far as it is wanted."""
        if not set(_OF_JOINTS) & set(self.specs):
            return {}
        row = self._numbers(JOINTS).at(at)
        position, velocity = row[: self._size], row[self._size :]
        told = {"joint_pos": position, "joint_vel": velocity}
        if not set(_OF_TOOL) & set(self.specs):
            return told
        tool, rotation = self._chain.forward(position)
        twist = self._chain.jacobian(position) @ velocity
        return told | {"tcp_pos": tool, "tcp_rot6d": rot6d_from_matrix(rotation), "tcp_linvel": twist[:3], "tcp_angvel": twist[3:]}

    def _shown(self, name: str, spec: ArraySpec, told: Mapping[str, Row], at: int) -> NDArray[Any]:
        if name in told:
            return told[name].astype(spec.dtype)
        feeds = [self._feeds[part] for part in self._parts[self._feed_of(name)]]
        if isinstance(feeds[0], CameraFeed):
            return feeds[0].picture(at)
        rows = [feed.shown(at) for feed in feeds if isinstance(feed, NumberFeed)]
        return np.concatenate(rows).reshape(spec.shape).astype(spec.dtype)


def sources_of(robot: Any) -> dict[str, tuple[AnySource, ...]]:
    """What feeds each of a robot's observations; see :class:`Sensors`.

    Raises:
        UserError: a description that is none.
    """
    joints = robot.joint_states
    if not isinstance(joints, JointSource):
        joints = JointSource(joints, tuple(robot.joints))
    given: dict[str, tuple[AnySource, ...]] = {JOINTS: (joints,)}
    if robot.fingers:
        given[GRIPPER] = (GripperSource(robot.gripper_states, tuple(robot.fingers), robot.finger_scale, robot.finger_offset),)
    for kind in (robot.cameras, robot.sensors):
        given |= {name: as_sources(name, source) for name, source in kind.items()}
    return given


def _own_specs(joints: int, gripper: bool) -> dict[str, ArraySpec]:
    sizes = dict(zip(_OF_JOINTS, (3, 6, 3, 3, joints, joints), strict=True)) | ({"gripper_width": 1} if gripper else {})
    return {name: ArraySpec((size,)) for name, size in sizes.items()}


def _shape(sources: tuple[Any, ...]) -> tuple[int, ...]:
    """Of one observation: its source's, or that of several behind each other."""
    if len(sources) == 1:
        shape: tuple[int, ...] = sources[0].spec.shape
        return shape
    return (sum(int(np.prod(source.spec.shape)) for source in sources),)


def _wanted(spec: EnvSpec, name: str) -> ArraySpec:
    if name not in spec.observation:
        raise SpecError(f"{name!r} is wanted, which the policy's spec does not name (it names {', '.join(sorted(spec.observation))})")
    return spec.observation[name]
