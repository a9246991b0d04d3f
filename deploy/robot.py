"""What a robot is: its joints and limits, where its sensors are heard and its commands sent; all of it says one YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.limits import JointLimits, ToolLimits, Workspace
from robolearn.deploy.motion import SERVO_LAG, MotionGenerator
from robolearn.deploy.sensors.sources import COMPRESSED, IMAGE, SOURCE_WORDS, CameraSource, as_sources
from robolearn.errors import UserError, check_positive, check_share, nearest
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec, SpecError, tool_pose_action


@dataclass(frozen=True)
class Robot:
    """One robot; a YAML of ``robolearn/conf/robot`` says which.

    Args:
        name: for people.
        joints: names of the arm's joints as the driver says them, in the order of ``chain``; the chain's if empty.
        chain: the arm and its tool centre point, from the frame that policies' poses are in.
        limits: of the joints, margins taken off.
        home: joint angles [rad] at which an episode starts.
        workspace: where the tool may be.
        arm: sends motion to the driver; see :mod:`robolearn.deploy.arms`.
        gripper: opens and closes; see :mod:`robolearn.deploy.grippers`. None where there is none.
        tool: how fast the tool may be, and how far ahead of it a target.
        rate_hz: commands a second.
        lag: rates [1/s], in translation and rotation, at which the tool follows policies' targets: those of the servo they learned on.
        robot_lag: rates [1/s] at which a compliant robot itself follows poses; null for a stiff one.
        lead: [s] of motion promised ahead, in which messages may be late or lost.
        deaf: [s] without a word of the arm's joints from which on nothing is sent. Where it is, with a tick and the ``way`` of a
            trajectory arm's messages, at most ``lead``, nothing is sent that could be a jump after a stall of the network.
        response: [s] by which the robot follows its commands late.
        gripper_response: [s] by which the gripper does; a policy's chunk tells it so much ahead of its time.
        joint_states: topic of the arm's joints.
        gripper_states: topic of the fingers' joints.
        fingers: names of the joints there whose positions add up to the opening.
        finger_scale: [m] of opening for one unit of their sum.
        finger_offset: [m] added to that.
        cameras: name of an observation to its :class:`robolearn.deploy.sensors.sources.CameraSource`, or to topic, shape and whatever else
            that takes.
        sensors: name of an observation to its :class:`robolearn.deploy.sensors.sources.ArraySource`, ``PoseSource`` or ``StackedSource``,
            or to topic, shape, type and whatever else that takes.
        base_frame: name of the frame that poses are sent in.
        recovery: brings it out of a fault, see :mod:`robolearn.deploy.recovery`; None where a person has to.
        estop: topic of ``std_msgs/msg/Bool`` that stops the robot while it is true; none if empty.

    Raises:
        UserError: names, sizes or limits that do not fit each other.
    """

    name: str
    joints: tuple[str, ...]
    chain: Chain
    limits: JointLimits
    home: tuple[float, ...]
    workspace: Workspace
    arm: Any
    gripper: Any = None
    tool: ToolLimits = field(default_factory=ToolLimits)
    rate_hz: float = 100.0
    lag: tuple[float, float] = SERVO_LAG
    robot_lag: tuple[float, float] | None = None
    lead: float = 0.03
    deaf: float = 0.15
    response: float = 0.0
    gripper_response: float = 0.0
    joint_states: str = "/joint_states"
    gripper_states: str = "/joint_states"
    fingers: tuple[str, ...] = ()
    finger_scale: float = 1.0
    finger_offset: float = 0.0
    cameras: Mapping[str, Any] = field(default_factory=dict)
    sensors: Mapping[str, Any] = field(default_factory=dict)
    base_frame: str = "base"
    recovery: Any = None
    estop: str = ""

    def __post_init__(self) -> None:
        for name in ("joints", "home", "fingers", "lag"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "joints", self.joints or self.chain.names)
        object.__setattr__(self, "robot_lag", None if self.robot_lag is None else tuple(self.robot_lag))
        object.__setattr__(self, "cameras", _sources("camera", self.cameras, type=IMAGE))
        object.__setattr__(self, "sensors", _sources("sensor", self.sensors))
        _check_pictures(self.cameras)
        self._check_joints()
        check_positive(rate_hz=self.rate_hz, deaf=self.deaf)
        self._check_parts()
        check_share(high=1.0, lead=self.lead, response=self.response, gripper_response=self.gripper_response)
        twice = set(self.own_observation) & {*self.cameras, *self.sensors} | set(self.cameras) & set(self.sensors)
        if twice:
            raise UserError(f"robot {self.name}: {', '.join(sorted(twice))} would be observed twice; give a camera or sensor another name")

    def _check_parts(self) -> None:
        if not hasattr(self.arm, "send"):
            raise UserError(f"robot {self.name} has arm={self.arm!r}; give one of robolearn.deploy.arms, such as JointTrajectoryArm")
        for name, rates in (("lag", self.lag), ("robot_lag", self.robot_lag)):
            if rates is not None and not (len(rates) == 2 and all(0 < rate < 1000 for rate in rates)):
                raise UserError(f"robot {self.name}: {name} is two rates above 0 [1/s], in translation and in rotation; got {list(rates)}")

    def _check_joints(self) -> None:
        sizes = {"joints": len(self.joints), "chain": self.chain.size, "limits": self.limits.size, "home": len(self.home)}
        if len(set(sizes.values())) != 1:
            raise UserError(f"robot {self.name}: {', '.join(f'{what} {size}' for what, size in sizes.items())}: they must be as many")
        if len(set(self.joints)) != len(self.joints):
            raise UserError(f"robot {self.name} names a joint twice: {', '.join(self.joints)}")
        outside = [
            f"{name} at {at:g} in [{low:g}, {high:g}]"
            for name, at, low, high in zip(self.joints, self.home, self.limits.lower, self.limits.upper, strict=True)
            if not low <= at <= high
        ]
        if outside:
            raise UserError(f"robot {self.name} has its home outside of its limits [rad]: {', '.join(outside)}")
        wild = [name for name, value in zip(self.joints, self.limits.upper, strict=True) if abs(value) > 7]
        if wild:
            raise UserError(f"robot {self.name}: limits of {', '.join(wild)} are beyond 7 rad; joint angles are radians, not degrees")

    @property
    def own_observation(self) -> dict[str, ArraySpec]:
        """What the joints tell of arm and gripper."""
        joints = (len(self.joints),)
        arm = {
            "tcp_pos": ArraySpec((3,), units="m", frame="base"),
            "tcp_rot6d": ArraySpec((6,), units="rot6d", frame="base"),
            "tcp_linvel": ArraySpec((3,), units="m/s", frame="base"),
            "tcp_angvel": ArraySpec((3,), units="rad/s", frame="base"),
            "joint_pos": ArraySpec(joints, units="rad"),
            "joint_vel": ArraySpec(joints, units="rad/s"),
        }
        return {**arm, "gripper_width": ArraySpec((1,), units="m")} if self.fingers else arm

    @property
    def observation(self) -> dict[str, ArraySpec]:
        """Everything that a policy may see here."""
        given = {name: source.spec for kind in (self.cameras, self.sensors) for name, source in kind.items()}
        return {**self.own_observation, **given}

    @property
    def action(self) -> ActionSpec:
        """The canonical action; targets are brought into the workspace."""
        low, high = ((float(x), float(y), float(z)) for x, y, z in (self.workspace.low, self.workspace.high))
        return tool_pose_action(low, high)

    def spec(self, task: str, control_hz: float) -> EnvSpec:
        """What is recorded here, as an environment's words."""
        return EnvSpec(task, self.observation, self.action, control_hz)

    def check_serves(self, wanted: EnvSpec, keys: tuple[str, ...] | None = None) -> None:
        """Refuse a policy made for ``wanted`` (reading ``keys``) that cannot act on this robot.

        Raises:
            SpecError: it acts on something else, reads what the robot does not give, or steps too often; both sides are named.
        """
        if wanted.action.names != self.action.names:
            raise SpecError(f"the policy acts on {wanted.action.names}, robot {self.name!r} takes {self.action.names}")
        given = self.observation
        for name in keys if keys is not None else tuple(wanted.observation):
            expected = wanted.observation[name].shape if name in wanted.observation else None
            if name not in given:
                kind = "camera" if expected is not None and wanted.observation[name].is_image else "sensor"
                mend = f"{nearest(name, given)}; add it with +robot.{kind}s.{name}={{topic: ..., shape: {list(expected or ())}}}"
                raise SpecError(f"the policy reads {name!r}, robot {self.name!r} gives {', '.join(sorted(given))}{mend}")
            if expected is not None and given[name].shape != expected:
                raise SpecError(f"the policy reads {name!r} with shape {expected}, robot {self.name!r} gives {given[name].shape}")
        if wanted.control_hz * 2 > self.rate_hz:
            rate = f"robot {self.name!r} takes commands at {self.rate_hz:g} Hz, and needs at least two a step"
            raise SpecError(f"the policy steps at {wanted.control_hz:g} Hz, {rate}")
        low, high = (np.reshape(limit, -1)[:3] for limit in (wanted.action.low, wanted.action.high))
        if (np.asarray(self.workspace.low) > high).any() or (np.asarray(self.workspace.high) < low).any():
            reach = f"from {list(self.workspace.low)} to {list(self.workspace.high)} m"
            raise SpecError(f"the policy's targets are from {low.tolist()} to {high.tolist()} m, robot {self.name!r} reaches {reach}")

    def motion(self) -> MotionGenerator:
        """What turns targets into this robot's motion."""
        return MotionGenerator(
            self.chain,
            self.limits,
            self.workspace,
            self.rate_hz,
            tool=self.tool,
            lag=self.lag,
            robot_lag=self.robot_lag,
            posture=self.home,
            lead=self.lead,
            response=self.response,
            stands=bool(getattr(self.arm, "stands", False)),
        )


def _sources(kind: str, given: Mapping[str, Any], **usual: Any) -> dict[str, Any]:
    """Sources of what ``camera``s or ``sensor``s give, made of their words where they are not made yet."""
    built = {}
    for name, values in given.items():
        if not isinstance(values, Mapping):
            as_sources(name, values)  # it describes one
            built[name] = values
            continue
        wrong = next((word for word in values if word not in SOURCE_WORDS), None)
        if wrong is not None:
            raise UserError(f"{kind} {name!r} takes no {wrong!r}; it takes {', '.join(SOURCE_WORDS)}{nearest(wrong, SOURCE_WORDS)}")
        built[name] = as_sources(name, SimpleNamespace(**{**usual, **values}))[0]
    return built


def _check_pictures(cameras: Mapping[str, Any]) -> None:
    for name, source in cameras.items():
        if not all(isinstance(source, CameraSource) for source in as_sources(name, source)):
            given = getattr(source, "type", type(source).__name__)
            raise UserError(f"camera {name!r} gives {given}, no pictures; cameras are {IMAGE} or {COMPRESSED}, all else belongs to sensors")
