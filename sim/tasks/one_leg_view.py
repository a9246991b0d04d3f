"""one_leg's quantities as named, live views of a batch: where the parts, the tool and the fence are, and how to put them there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, matrix_from_rot6d, quaternion_from_matrix, rot6d_from_matrix
from robolearn.sim.engine import Engine
from robolearn.sim.kinematics import solve_ik
from robolearn.sim.panda import FINGER_CLOSED, FINGER_JOINTS, FINGER_OPEN, HOME
from robolearn.sim.randomness import Start, draw_starts
from robolearn.sim.scene import LEGS, REQUIRED_LEG
from robolearn.sim.thread import RelativePose

PARTS = ("top", *LEGS)  # the free bodies; the fence is a mocap body
# Lying parts: the top's normal up, a leg's long axis along +x; yaw turns them about the vertical.
_LYING = np.array(
    [[[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]], *([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]],) * len(LEGS)]
)
_DROP_HEIGHTS = np.array([0.017, *(0.0155,) * len(LEGS)])  # [m] just above where the parts come to rest
_FENCE_HEIGHT = 0.015  # [m]
_SETTLING = 400  # substeps

Array = NDArray[np.float64]
Rows = NDArray[np.bool_] | NDArray[np.int64] | slice


class OneLegView:
    """Reads and places what the task speaks about, in all rows of a batch at once; poses in the robot's base frame [m].

    Args:
        engine: N rows of the one_leg scene.
    """

    def __init__(self, engine: Engine) -> None:
        model = engine.model
        self._qpos, self._ctrl = engine.view("qpos"), engine.view("ctrl")
        self.fence_position, self.fence_quaternion = engine.view("mocap_pos")[:, 0], engine.view("mocap_quat")[:, 0]
        self._site_xpos, self._site_xmat, self._sensors = engine.view("site_xpos"), engine.view("site_xmat"), engine.view("sensordata")
        self._tcp = model.site("tcp").id
        address = np.array([model.jnt_qposadr[model.joint(name).id] for name in PARTS])
        self._part_q = address[:, None] + np.arange(7)  # (5, 7)
        self._fingers = np.array([model.jnt_qposadr[model.joint(name).id] for name in FINGER_JOINTS])
        self._model, self._qpos_column = model, engine.offset("qpos")

    @property
    def qpos(self) -> Array:
        """Generalised positions, ``(N, nq)``."""
        return self._qpos

    @property
    def parts(self) -> Array:
        """Position and quaternion (wxyz) of the free parts, ``(N, 5, 7)``."""
        return self._qpos[:, self._part_q]

    @property
    def top(self) -> Array:
        """Pose of the table top, ``(N, 7)``."""
        return self._qpos[:, self._part_q[0]]

    @property
    def leg(self) -> Array:
        """Pose of the leg that is to be screwed in, ``(N, 7)``."""
        return self._qpos[:, self._part_q[PARTS.index(REQUIRED_LEG)]]

    @property
    def leg_in_top(self) -> RelativePose:
        """That leg in the top's frame."""
        top, leg = self.top, self.leg
        turned = matrix_from_quaternion(np.stack([top[:, 3:], leg[:, 3:]], 1))  # (N, 2, 3, 3)
        inverse = turned[:, 0].transpose(0, 2, 1)
        position = (inverse @ (leg[:, :3] - top[:, :3])[..., None])[..., 0]
        return RelativePose(position, inverse @ turned[:, 1])

    @property
    def tcp_position(self) -> Array:
        """The tool centre point, ``(N, 3)``."""
        return self._site_xpos[:, self._tcp]

    @property
    def gripper_width(self) -> Array:
        """Distance between the fingers, ``(N,)``."""
        width: Array = self._qpos[:, self._fingers[0]] - self._qpos[:, self._fingers[1]]
        return width

    def observation(self) -> dict[str, NDArray[np.float32]]:
        """What a policy sees, by the names of ``one_leg_spec()``: ``{name: (N, ...)}``."""
        rows, parts = len(self._qpos), self.parts
        quaternion = np.concatenate([parts[..., 3:], self.fence_quaternion[:, None]], 1)
        position = np.concatenate([parts[..., :3], self.fence_position[:, None]], 1)
        poses = np.concatenate([position, rot6d_from_matrix(matrix_from_quaternion(quaternion))], -1)  # (N, 6, 9)
        values = {
            "tcp_pos": self.tcp_position,
            "tcp_rot6d": self._site_xmat[:, self._tcp].reshape(rows, 9)[:, :6],
            "tcp_linvel": self._sensors[:, :3],
            "tcp_angvel": self._sensors[:, 3:6],
            "gripper_width": self.gripper_width[:, None],
            "parts_poses": poses.reshape(rows, 54),
        }
        return {name: value.astype(np.float32) for name, value in values.items()}

    def heights_in(self, state: Array) -> Array:
        """Heights of the free parts' origins in an integration state ``(S,)``: ``(5,)``."""
        heights: Array = state[self._qpos_column + self._part_q[:, 2]]
        return heights

    def place(self, rows: Rows, start: Start, heights: Array) -> None:
        """Lay the parts flat, set the fence and bend the arm as ``start`` says, for the n chosen rows; ``heights (5,)``."""
        cos, sin, zero = np.cos(start.yaw), np.sin(start.yaw), np.zeros_like(start.yaw)
        turn = np.stack([np.stack([cos, -sin, zero], -1), np.stack([sin, cos, zero], -1), np.stack([zero, zero, zero + 1], -1)], -2)
        upward = np.broadcast_to(heights, start.yaw.shape)[..., None]
        pose = np.concatenate([start.xy[:, :5], upward, quaternion_from_matrix(turn @ _LYING)], -1)  # (n, 5, 7)
        for index, at in enumerate(self._part_q):
            self._qpos[rows, at[0] : at[0] + 7] = pose[:, index]
        self.fence_position[rows] = np.concatenate([start.xy[:, 5], np.full((len(start.xy), 1), _FENCE_HEIGHT)], 1)
        self._qpos[rows, :7] = HOME + start.joints

    def place_as_observed(self, observation: dict[str, NDArray[Any]], lowest: Array) -> None:
        """Put every row where an observation ``{name: (N, ...)}`` saw it: the arm by inverse kinematics, no part below ``lowest (5,)``."""
        poses = np.asarray(observation["parts_poses"], np.float64).reshape(len(self._qpos), 6, 9)
        quaternion = quaternion_from_matrix(matrix_from_rot6d(poses[..., 3:]))
        for index, at in enumerate(self._part_q):
            self._qpos[:, at[:3]] = poses[:, index, :3]
            self._qpos[:, at[3:]] = quaternion[:, index]
        self._qpos[:, self._part_q[:, 2]] = np.maximum(self._qpos[:, self._part_q[:, 2]], lowest)
        self.fence_position[:], self.fence_quaternion[:] = poses[:, 5, :3], quaternion[:, 5]
        rotation = matrix_from_rot6d(np.asarray(observation["tcp_rot6d"], np.float64))
        self._qpos[:, :7] = solve_ik(self._model, np.asarray(observation["tcp_pos"], np.float64), rotation)
        width = np.clip(np.asarray(observation["gripper_width"], np.float64)[:, 0] / 2, FINGER_CLOSED, FINGER_OPEN)
        self._qpos[:, self._fingers] = np.stack([width, -width], 1)

    def hold(self, rows: Rows) -> None:
        """Command the pose the tool has now, fingers open; the outputs must be current."""
        self._ctrl[rows, :3] = self._site_xpos[rows, self._tcp]
        self._ctrl[rows, 3:7] = quaternion_from_matrix(self._site_xmat[rows, self._tcp].reshape(-1, 3, 3))
        self._ctrl[rows, 7:9] = (FINGER_OPEN, -FINGER_OPEN)

    def open_fingers(self) -> None:
        """Open the fingers of every row at once."""
        self._qpos[:, self._fingers] = (FINGER_OPEN, -FINGER_OPEN)


def settled_state(engine: Engine, randomness: str) -> Array:
    """The integration state ``(S,)`` with every part at rest on the table and the arm at home; ``engine`` has one row."""
    view, only = OneLegView(engine), np.ones(1, bool)
    start = draw_starts(np.zeros(1, np.int64), randomness)
    view.place(only, Start(start.xy, start.yaw, np.zeros_like(start.joints)), _DROP_HEIGHTS)
    view.open_fingers()
    engine.forward(only)
    view.hold(only)
    engine.step(_SETTLING)
    engine.view("qvel")[:] = 0.0
    engine.view("time")[...] = 0.0
    state: Array = engine.state[0].copy()
    return state
