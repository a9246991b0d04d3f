"""A task's quantities as named, live views of a batch: where tools, parts and fixtures are, and how to put them there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, matrix_from_rot6d, quaternion_from_matrix, rot6d_from_matrix
from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.kinematics import solve_ik
from robolearn.sim.panda import ARM_JOINTS, FINGER_CLOSED, FINGER_JOINTS, FINGER_OPEN, HOME, Arm
from robolearn.sim.pose import Pose
from robolearn.sim.starts import Start, draw_starts
from robolearn.sim.task import Task

_HELD = (0.02, 0.045)  # [m] between fingers that hold a part of furniture
_SETTLING = 400  # substeps

Array = NDArray[np.float64]
Rows = NDArray[np.bool_] | NDArray[np.int64] | slice


class ArmView:
    """One robot in every row: its tool, its fingers, its joints.

    Args:
        engine: N rows of a scene with this arm.
        arm: which.
        place: among the scene's arms, from 0.
    """

    def __init__(self, engine: PhysicsEngine, arm: Arm, place: int) -> None:
        model = engine.model
        self.arm = arm
        self._qpos, self._sensors = engine.view("qpos"), engine.view("sensordata")
        self._site_xpos, self._site_xmat = engine.view("site_xpos"), engine.view("site_xmat")
        self._tcp = model.site(f"{arm.prefix}tcp").id

        def addresses(joints: tuple[str, ...]) -> NDArray[np.int64]:
            return np.array([model.jnt_qposadr[model.joint(f"{arm.prefix}{name}").id] for name in joints])

        self.joints, self.fingers = addresses(ARM_JOINTS), addresses(FINGER_JOINTS)
        self.control = slice(9 * place, 9 * place + 9)
        self._linvel, self._angvel = (
            slice(at, at + 3) for at in (model.sensor(f"{arm.prefix}tcp_{name}").adr[0] for name in ("linvel", "angvel"))
        )

    @property
    def tcp_position(self) -> Array:
        """The tool centre point, ``(N, 3)``."""
        return self._site_xpos[:, self._tcp]

    @property
    def tcp_rotation(self) -> Array:
        """Its orientation, ``(N, 3, 3)``."""
        return self._site_xmat[:, self._tcp].reshape(-1, 3, 3)

    @property
    def tcp_twist(self) -> Array:
        """Its velocity and turning rate, ``(N, 6)`` [m/s, rad/s]."""
        return np.concatenate([self._sensors[:, self._linvel], self._sensors[:, self._angvel]], 1)

    @property
    def gripper_width(self) -> Array:
        """Distance between the fingers, ``(N,)``."""
        width: Array = self._qpos[:, self.fingers[0]] - self._qpos[:, self.fingers[1]]
        return width

    def observation(self) -> dict[str, Array]:
        """What a policy sees of it: ``{name: (N, ...)}``."""
        values = {
            "tcp_pos": self.tcp_position,
            "tcp_rot6d": self.tcp_rotation.reshape(-1, 9)[:, :6],
            "tcp_linvel": self._sensors[:, self._linvel],
            "tcp_angvel": self._sensors[:, self._angvel],
            "gripper_width": self.gripper_width[:, None],
        }
        return {f"{self.arm.prefix}{name}": value for name, value in values.items()}


class View:
    """Reads and places what a task speaks about, in all rows of a batch at once; poses in the robot's base frame [m].

    Args:
        engine: N rows of the task's scene.
        task: what stands there.
    """

    def __init__(self, engine: PhysicsEngine, task: Task) -> None:
        model = engine.model
        self.task = task
        self.arms = tuple(ArmView(engine, arm, place) for place, arm in enumerate(task.arms))
        self._qpos, self._ctrl = engine.view("qpos"), engine.view("ctrl")
        self.mocap_position, self.mocap_quaternion = engine.view("mocap_pos"), engine.view("mocap_quat")  # (N, F, 3), (N, F, 4)
        address = np.array([model.jnt_qposadr[model.joint(name).id] for name in task.parts])
        self._part_q = address[:, None] + np.arange(7)  # (P, 7)
        self._mocap = np.array([model.body(name).mocapid[0] for name in task.fixtures], np.int64)
        self._model, self._qpos_column = model, engine.offset("qpos")
        self._lying = np.array([rest.rotation for rest in task.layout])[: len(task.parts)]

    @property
    def qpos(self) -> Array:
        """Generalised positions, ``(N, nq)``."""
        return self._qpos

    @property
    def arm(self) -> ArmView:
        """The only robot, or the first."""
        return self.arms[0]

    @property
    def parts(self) -> Array:
        """Position and quaternion (wxyz) of the free parts, ``(N, P, 7)``."""
        return self._qpos[:, self._part_q]

    @property
    def fixtures(self) -> NDArray[np.int64]:
        """Places of the fixtures among the scene's mocap bodies, ``(F,)``."""
        return self._mocap

    def part(self, name: str) -> Array:
        """Position and quaternion (wxyz) of a free part, ``(N, 7)``."""
        return self._qpos[:, self._part_q[self.task.parts.index(name)]]

    def fixture(self, name: str) -> Array:
        """Position of a fixture, ``(N, 3)``."""
        return self.mocap_position[:, self._mocap[self.task.fixtures.index(name)]]

    def pose(self, name: str) -> Pose:
        """A part or a fixture in the base frame."""
        if name in self.task.parts:
            part = self.part(name)
            return Pose(part[:, :3], matrix_from_quaternion(part[:, 3:]))
        place = self._mocap[self.task.fixtures.index(name)]
        return Pose(self.mocap_position[:, place], matrix_from_quaternion(self.mocap_quaternion[:, place]))

    def relative(self, child: str, parent: str) -> Pose:
        """One part or fixture, seen from another."""
        return self.pose(child).seen_from(self.pose(parent))

    def pairs(self, pairs: tuple[tuple[str, str], ...]) -> Pose:
        """Each (parent, child) as the child seen from the parent: ``position (N, K, 3)``, ``rotation (N, K, 3, 3)``."""
        poses = {name: self.pose(name) for pair in pairs for name in pair}
        parent, child = (
            Pose(np.stack([poses[name].position for name in names], 1), np.stack([poses[name].rotation for name in names], 1))
            for names in zip(*pairs, strict=True)
        )
        return child.seen_from(parent)

    def holds(self, name: str, reach: float, arm: int = 0, width: tuple[float, float] = _HELD) -> NDArray[np.bool_]:
        """Whether an arm's fingers are as far apart as with a part between them, within ``reach`` [m] of the part's origin: ``(N,)``."""
        hand = self.arms[arm]
        apart = hand.gripper_width
        near = np.linalg.norm(self.part(name)[:, :3] - hand.tcp_position, axis=1) < reach
        held: NDArray[np.bool_] = (apart > width[0]) & (apart < width[1]) & near
        return held

    def observation(self) -> dict[str, NDArray[np.float32]]:
        """What a policy sees, by the names of the task's spec: ``{name: (N, ...)}``."""
        rows, parts = len(self._qpos), self.parts
        position = np.concatenate([parts[..., :3], self.mocap_position[:, self._mocap]], 1)
        quaternion = np.concatenate([parts[..., 3:], self.mocap_quaternion[:, self._mocap]], 1)
        poses = np.concatenate([position, rot6d_from_matrix(matrix_from_quaternion(quaternion))], -1)  # (N, P + F, 9)
        values = {name: value for arm in self.arms for name, value in arm.observation().items()}
        values["parts_poses"] = poses.reshape(rows, -1)
        return {name: value.astype(np.float32) for name, value in values.items()}

    def heights_in(self, state: Array) -> Array:
        """Heights of the free parts' origins in an integration state ``(S,)``: ``(P,)``."""
        heights: Array = state[self._qpos_column + self._part_q[:, 2]]
        return heights

    def place(self, rows: Rows, start: Start, heights: Array) -> None:
        """Lay the parts, set the fixtures and bend the arms as ``start`` says, for the n chosen rows; ``heights (P,)``."""
        cos, sin, zero = np.cos(start.yaw), np.sin(start.yaw), np.zeros_like(start.yaw)
        turn = np.stack([np.stack([cos, -sin, zero], -1), np.stack([sin, cos, zero], -1), np.stack([zero, zero, zero + 1], -1)], -2)
        upward, count = np.broadcast_to(heights, start.yaw.shape)[..., None], len(self.task.parts)
        pose = np.concatenate([start.xy[:, :count], upward, quaternion_from_matrix(turn @ self._lying)], -1)  # (n, P, 7)
        for index, at in enumerate(self._part_q):
            self._qpos[rows, at[0] : at[0] + 7] = pose[:, index]
        for index, place in enumerate(self._mocap):
            height = np.full((len(start.xy), 1), self.task.layout[count + index].height)
            self.mocap_position[rows, place] = np.concatenate([start.xy[:, count + index], height], 1)
        self.bend(rows, start.joints)

    def put(self, name: str, rows: Rows, pose: Pose) -> None:
        """Put a free part of the chosen rows elsewhere; its velocity stays."""
        at = self._part_q[self.task.parts.index(name), 0]
        self._qpos[rows, at : at + 7] = np.concatenate([pose.position, quaternion_from_matrix(pose.rotation)], 1)[rows]

    def reach(self, rows: Rows, pose: Pose) -> None:
        """Bend the first arm of the chosen rows, from where it is, so that its tool is elsewhere."""
        arm = slice(self.arm.joints[0], self.arm.joints[0] + 7)
        near = self._qpos[rows, arm]
        self._qpos[rows, arm] = solve_ik(self._model, pose.position[rows], pose.rotation[rows], self.arm.arm.prefix, near)

    def bend(self, rows: Rows, joints: Array) -> None:
        """Bend the arms of n rows ``(n, 7 arms)`` [rad] off home."""
        for index, arm in enumerate(self.arms):
            self._qpos[rows, arm.joints[0] : arm.joints[0] + 7] = HOME + joints[:, 7 * index : 7 * index + 7]

    def lowest_tool(self) -> Array:
        """Height of the lowest tool centre point, ``(N,)``; the outputs must be current."""
        lowest: Array = np.min([arm.tcp_position[:, 2] for arm in self.arms], 0)
        return lowest

    def place_as_observed(self, observation: dict[str, NDArray[Any]], lowest: Array) -> None:
        """Put every row where an observation ``{name: (N, ...)}`` saw it: arms by inverse kinematics, no part below ``lowest (P,)``."""
        count = len(self.task.parts)
        poses = np.asarray(observation["parts_poses"], np.float64).reshape(len(self._qpos), -1, 9)
        quaternion = quaternion_from_matrix(matrix_from_rot6d(poses[..., 3:]))
        for index, at in enumerate(self._part_q):
            self._qpos[:, at[:3]] = poses[:, index, :3]
            self._qpos[:, at[3:]] = quaternion[:, index]
        self._qpos[:, self._part_q[:, 2]] = np.maximum(self._qpos[:, self._part_q[:, 2]], lowest)
        self.mocap_position[:, self._mocap], self.mocap_quaternion[:, self._mocap] = poses[:, count:, :3], quaternion[:, count:]
        for arm in self.arms:
            prefix = arm.arm.prefix
            rotation = matrix_from_rot6d(np.asarray(observation[f"{prefix}tcp_rot6d"], np.float64))
            self._qpos[:, arm.joints] = solve_ik(self._model, np.asarray(observation[f"{prefix}tcp_pos"], np.float64), rotation, prefix)
            width = np.clip(np.asarray(observation[f"{prefix}gripper_width"], np.float64)[:, 0] / 2, FINGER_CLOSED, FINGER_OPEN)
            self._qpos[:, arm.fingers] = np.stack([width, -width], 1)

    def hold(self, rows: Rows) -> None:
        """Command the pose each tool has now, fingers open; the outputs must be current."""
        for arm in self.arms:
            pose = [arm.tcp_position[rows], quaternion_from_matrix(arm.tcp_rotation[rows])]
            fingers = np.tile((FINGER_OPEN, -FINGER_OPEN), (len(pose[0]), 1))
            self._ctrl[rows, arm.control] = np.concatenate([*pose, fingers], 1)

    def open_fingers(self) -> None:
        """Open the fingers of every row at once."""
        for arm in self.arms:
            self._qpos[:, arm.fingers] = (FINGER_OPEN, -FINGER_OPEN)


def settled_state(engine: PhysicsEngine, task: Task, randomness: str) -> Array:
    """The integration state ``(S,)`` with every part at rest on the table and the arms at home; ``engine`` has one row."""
    view, only = View(engine, task), np.ones(1, bool)
    start = draw_starts(task, np.zeros(1, np.int64), randomness)
    view.place(only, replace(start, joints=np.zeros_like(start.joints)), np.array([rest.height for rest in task.layout[: len(task.parts)]]))
    view.open_fingers()
    engine.forward(only)
    view.hold(only)
    engine.step(_SETTLING)
    engine.view("qvel")[:] = 0.0
    engine.view("time")[...] = 0.0
    state: Array = engine.state[0].copy()
    return state
