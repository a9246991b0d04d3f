"""What a batch of robosuite worlds shows: poses, contacts and the arms, as arrays over rows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, quaternion_from_matrix, rot6d_from_matrix
from robolearn.sim.engine import Engine
from robolearn.sim.robosuite.actions import Frames, Goals
from robolearn.sim.robosuite.osc import GRIP, POSITION, POSTURE, ROTATION, USERDATA
from robolearn.sim.robosuite.scene import Contacts, Robot
from robolearn.tasks_robosuite import arm_prefixes

Array = NDArray[np.float64]
GRIPPER_SPEED = 0.2  # of the whole way from open to closed being 2, a control step


class View:
    """Reads and commands N rows of a model made by :func:`robolearn.sim.robosuite.scene.build_model`.

    Args:
        engine: the rows.
        robots: their arms.
        contacts: those that the model was made with, in order.
    """

    def __init__(self, engine: Engine, robots: tuple[Robot, ...], contacts: Contacts) -> None:
        self.robots, self.num_envs = robots, engine.num_envs
        self.frames = Frames(np.array([robot.base_position for robot in robots]), np.array([robot.base_rotation for robot in robots]))
        model = self._model = engine.model
        self.qpos, self.qvel = engine.view("qpos"), engine.view("qvel")
        self._ctrl = engine.view("ctrl")
        self.commands = engine.view("userdata").reshape(engine.num_envs, len(robots), USERDATA)
        self._body_position, self._body_quaternion = engine.view("xpos"), engine.view("xquat")
        self._site_position, self._site_matrix = engine.view("site_xpos"), engine.view("site_xmat")
        self._geom_position, self._geom_matrix = engine.view("geom_xpos"), engine.view("geom_xmat")
        self._anchors, self._axes = engine.view("xanchor"), engine.view("xaxis")
        self._sensors = engine.view("sensordata")
        ends = np.cumsum([len(pairs) for pairs in contacts.values()])
        self._touching = {name: slice(end - len(contacts[name]), end) for name, end in zip(contacts, ends, strict=True)}
        joints = [[model.joint(name) for name in robot.osc.joints] for robot in robots]
        self._arm_joint = np.array([[joint.id for joint in arm] for arm in joints])
        self.arm_qpos = np.array([[joint.qposadr[0] for joint in arm] for arm in joints])
        self.arm_dof = np.array([[joint.dofadr[0] for joint in arm] for arm in joints])
        fingers = [[model.joint(name) for name in robot.fingers] for robot in robots]
        self.finger_qpos = np.array([[joint.qposadr[0] for joint in arm] for arm in fingers])
        self._finger_actuator = np.array([[model.actuator(name).id for name in robot.finger_actuators] for robot in robots])
        limits = model.actuator_ctrlrange[self._finger_actuator]  # (A, 2, 2)
        self._finger_middle, self._finger_half = limits.mean(-1), 0.5 * (limits[..., 1] - limits[..., 0])
        self._sites = np.array([model.site(robot.osc.site).id for robot in robots])
        self._hands = np.array([model.body(robot.hand).id for robot in robots])

    def body(self, name: str) -> tuple[Array, Array]:
        """Position ``(N, 3)`` [m] and quaternion ``(N, 4)`` (wxyz) of a body in the world."""
        index = self._model.body(name).id
        return self._body_position[:, index], self._body_quaternion[:, index]

    def site(self, name: str) -> Array:
        """Position of a site in the world, ``(N, 3)`` [m]."""
        position: Array = self._site_position[:, self._model.site(name).id]
        return position

    def site_quaternion(self, name: str) -> Array:
        """Its orientation, ``(N, 4)`` (wxyz)."""
        return quaternion_from_matrix(self._site_matrix[:, self._model.site(name).id].reshape(-1, 3, 3))

    def geom(self, name: str) -> Array:
        """Position of a geom in the world, ``(N, 3)`` [m]."""
        position: Array = self._geom_position[:, self._model.geom(name).id]
        return position

    def geom_quaternion(self, name: str) -> Array:
        """Its orientation, ``(N, 4)`` (wxyz)."""
        return quaternion_from_matrix(self._geom_matrix[:, self._model.geom(name).id].reshape(-1, 3, 3))

    def touching(self, name: str) -> NDArray[np.bool_]:
        """Whether any pair of a named contact touches, ``(N,)``."""
        touching: NDArray[np.bool_] = (self._sensors[:, self._touching[name]] > 0).any(1)
        return touching

    def tool(self, arm: int = 0) -> Array:
        """Position of a tool in the world, ``(N, 3)`` [m]."""
        position: Array = self._site_position[:, self._sites[arm]]
        return position

    def hand_quaternion(self, arm: int = 0) -> Array:
        """Orientation of the hand that robosuite observes, ``(N, 4)`` (wxyz)."""
        quaternion: Array = self._body_quaternion[:, self._hands[arm]]
        return quaternion

    def here(self) -> Goals:
        """Where the tools are, with the grippers' commands as they stand."""
        rotation = self._site_matrix[:, self._sites].reshape(self.num_envs, -1, 3, 3)
        return Goals(self._site_position[:, self._sites], rotation, self.commands[..., GRIP])

    def command(self, goals: Goals, rows: NDArray[np.bool_]) -> None:
        """Set the goals of ``rows (N,)``; a gripper moves on by a step of robosuite's speed, the way its command's sign says."""
        self.commands[rows, :, POSITION] = goals.position[rows]
        self.commands[rows, :, ROTATION] = goals.rotation[rows].reshape(-1, self.commands.shape[1], 9)
        grip = self.commands[rows, :, GRIP] + GRIPPER_SPEED * np.sign(goals.gripper[rows])
        self.commands[rows, :, GRIP] = np.clip(grip, -1.0, 1.0)
        closing = self.commands[..., GRIP, None] * (-1.0, 1.0)  # (N, A, 2): the fingers' servos have opposite signs
        self._ctrl[:, self._finger_actuator] = self._finger_middle + self._finger_half * closing

    def begin(self, rows: NDArray[np.bool_]) -> None:
        """Fresh episodes of ``rows (N,)``: hold the tools where they are, and this posture; the fingers at half their way."""
        here = self.here()
        self.commands[rows, :, POSTURE] = self.qpos[:, self.arm_qpos][rows]
        self.commands[rows, :, GRIP] = 0.0
        self.command(Goals(here.position, here.rotation, np.zeros_like(here.gripper)), rows)

    def tool_velocity(self) -> tuple[Array, Array]:
        """Linear ``(N, A, 3)`` [m/s] and angular [rad/s] velocity of the tools in the world."""
        axes, rates = self._axes[:, self._arm_joint], self.qvel[:, self.arm_dof][..., None]  # (N, A, 7, 3), (N, A, 7, 1)
        lever = self._site_position[:, self._sites, None] - self._anchors[:, self._arm_joint]
        return (rates * np.cross(axes, lever)).sum(2), (rates * axes).sum(2)

    def proprioception(self) -> dict[str, Array]:
        """The project's words for each arm, in its own base frame; and robosuite's, in the world."""
        here = self.here()
        position, rotation = self.frames.from_world(here.position, here.rotation)
        linear, angular = (self.frames.turn_back(velocity) for velocity in self.tool_velocity())
        fingers = self.qpos[:, self.finger_qpos]  # (N, A, 2)
        shown: dict[str, Array] = {}
        for arm, (robot, prefix) in enumerate(zip(self.robots, arm_prefixes(len(self.robots)), strict=True)):
            shown |= {
                f"{prefix}tcp_pos": position[:, arm],
                f"{prefix}tcp_rot6d": rot6d_from_matrix(rotation[:, arm]),
                f"{prefix}tcp_linvel": linear[:, arm],
                f"{prefix}tcp_angvel": angular[:, arm],
                f"{prefix}gripper_width": fingers[:, arm, :1] - fingers[:, arm, 1:],
                f"{prefix}joint_pos": self.qpos[:, self.arm_qpos[arm]],
                f"{robot.prefix}eef_pos": here.position[:, arm],
                f"{robot.prefix}eef_quat": xyzw(self.hand_quaternion(arm)),
                f"{robot.prefix}gripper_qpos": fingers[:, arm],
            }
        return shown

    def poses(self, bodies: Mapping[str, str]) -> Array:
        """Position 3 [m] and rot6d 6 of each body in the first robot's base frame, ``(N, 9 * P)``."""
        index = [self._model.body(name).id for name in bodies.values()]
        position, rotation = self._body_position[:, index], matrix_from_quaternion(self._body_quaternion[:, index])
        frame = self.frames.rotation[0]
        turned = np.concatenate([(position - self.frames.position[0]) @ frame, rot6d_from_matrix(frame.T @ rotation)], -1)
        poses: Array = turned.reshape(self.num_envs, -1)
        return poses


def xyzw(quaternion: Array) -> Array:
    """In robosuite's order: ``(..., 4)`` wxyz to xyzw."""
    return quaternion[..., [1, 2, 3, 0]]
