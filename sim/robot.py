"""One robot in a task's world in steps of the physics, commanded by poses of its tool or by set points of its joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.protocols import RobotState, RobotVerdict
from robolearn.rotation import quaternion_from_matrix
from robolearn.sim.assembly import Assembly
from robolearn.sim.catalog import find_task
from robolearn.sim.engine import Engine
from robolearn.sim.engines import step_soundly
from robolearn.sim.episodes import AWAY, DIVERGED, REASONS
from robolearn.sim.looks import cameras_of
from robolearn.sim.panda import ARM_JOINTS, FINGER_CLOSED, FINGER_JOINTS, FINGER_OPEN, JOINT_GROUP, TOOL_GROUP, JointGains
from robolearn.sim.randomize import Randomization, find_ranges
from robolearn.sim.robot_pictures import RobotPictures, Scene
from robolearn.sim.task import Task
from robolearn.sim.view import View, settled_state

_OFF = {"pose": 1 << JOINT_GROUP, "joints": 1 << TOOL_GROUP}  # groups of actuators that are off, by the servo in use
_TOOL, _FINGERS, _JOINTS = slice(0, 7), slice(7, 9), slice(9, 16)  # of the control vector


class SteppedAssembly(Assembly):
    """One row of an assembly task whose control steps are taken a physics step at a time.

    The same controls, held for a control step, lead to the same state as :meth:`step` does, to the bit. A row that is
    lost is not put away: its robot stays a robot. ``reason`` says why, a code of :data:`robolearn.sim.episodes.REASONS`.
    """

    reason = 0
    succeeded = False
    _substep = 0

    def begin(self, seed: int, level: str | None) -> None:
        """Start the episode of a seed at a level of randomness, the last one's unless given.

        Raises:
            UserError: no such level or seed.
        """
        if level is not None and level != self._randomness:
            self.task.check_level(level)
            self._randomness = level
            self._settled = settled_state(Engine(self._engine.model, 1, 1), self.task, level)
            self._heights = self._view.heights_in(self._settled)
        self.reset(seed=[seed])
        self._substep, self.reason, self.succeeded = 0, 0, False

    def advance(self) -> None:
        """Take one physics step; what a control step does at its beginning and its end is done with its first and its last."""
        if self.reason == DIVERGED:
            return
        if self._pushes is not None and self._substep == 0:
            self._pushes.apply(self._episodes.seeds, self._episodes.steps)
        if step_soundly(self._engine, 1, np.ones(1, bool)).any():
            self.reason = self.reason or DIVERGED
            return
        self._substep = (self._substep + 1) % self.task.physics.substeps
        if self._substep == 0:
            self._brake.apply()
            self._episodes.steps += 1
            if not self.reason:
                self._judge()
                self.succeeded |= bool(self._stages[0, -1])
                self.reason = AWAY if self._away()[0] and not self._stages[0, -1] else 0

    @property
    def engine(self) -> Any:
        """Its row, see :class:`robolearn.sim.engines.PhysicsEngine`."""
        return self._engine

    @property
    def view(self) -> View:
        """The row's quantities by name."""
        return self._view

    def verdict(self) -> RobotVerdict:
        """How the episode goes."""
        reached = dict(zip(self.env_spec.stages, self._stages[0].tolist(), strict=True))
        steps, seed = int(self._episodes.steps[0]), int(self._episodes.seeds[0])
        return RobotVerdict(seed, self._randomness, steps, reached, self.succeeded, str(REASONS[self.reason]))


class TaskRobot:
    """A :class:`robolearn.protocols.RobotWorld` of an assembly task with one arm.

    Args:
        task: its name, see :mod:`robolearn.sim.catalog`, or a task.
        randomness: a level of the task's, such as ``low``.
        joints: gains of the servo of the joints; the tool's are the task's.
        cameras: that may be drawn: ``front``, ``wrist``, ``overview``.
        image_size: width and height of their pictures [pixels].
        image_quality: ``fast``, or ``fine`` as films are.
        thread: whether screws hold.
        push_force: [N] of random pushes on the parts.
        randomize: what else differs between episodes, apart from latency.
        max_episode_steps: of no account, as a robot goes on; a task's configuration names it.
        threads: likewise.

    Raises:
        UserError: the task has more arms than one, a level, camera or range that is none, or latency, which a robot has itself.
    """

    def __init__(
        self,
        task: str | Task,
        *,
        randomness: str = "low",
        joints: JointGains | None = None,
        cameras: Sequence[str] = (),
        image_size: Sequence[int] = (84, 84),
        image_quality: str = "fast",
        thread: bool = True,
        push_force: float = 0.0,
        randomize: str | Mapping[str, Any] | Randomization | None = None,
        max_episode_steps: int | None = None,
        threads: int = 0,
    ) -> None:
        found = find_task(task)
        if len(found.arms) != 1:
            raise UserError(f"a simulated robot has one arm; task {found.name!r} has {len(found.arms)}")
        ranges = find_ranges(randomize)
        if tuple(ranges.dynamics.latency) != (0, 0):
            raise UserError(f"a robot's commands take their own time: leave latency={ranges.dynamics.latency} out of randomize")
        for camera in cameras:
            if camera not in cameras_of(found.arms):
                known = cameras_of(found.arms)
                raise UserError(f"{found.name} has no camera {camera!r}; there are {', '.join(known)}{nearest(camera, known)}")
        gains = replace(found.gains, joints=joints or JointGains())
        options: dict[str, Any] = {"randomness": randomness, "thread": thread, "push_force": push_force, "randomize": ranges}
        self._world = SteppedAssembly(replace(found, gains=gains), 1, threads=1, **options)
        self.env_spec, self.timestep, self.cameras = self._world.env_spec, found.physics.timestep, tuple(cameras)
        self._pictures = RobotPictures(found, image_size, image_quality, ranges.looks)
        self._bind(joints or JointGains())
        self.use("joints")
        self.reset(0)

    def _bind(self, gains: JointGains) -> None:
        engine, view = self._world.engine, self._world.view
        model = engine.model
        self._q, self._v = view.arm.joints, np.array([int(model.joint(name).dofadr[0]) for name in ARM_JOINTS])
        self._finger_v = np.array([int(model.joint(name).dofadr[0]) for name in FINGER_JOINTS])
        self._ctrl, self._qpos, self._qvel = engine.view("ctrl")[0], engine.view("qpos")[0], engine.view("qvel")[0]
        self._effort = engine.view("qfrc_actuator")[0]
        self._off = engine.expand("opt.disableactuator")
        self._lead = np.array(gains.damping) / np.array(gains.stiffness)  # [s] a set point ahead by its velocity times it moves the damper

    def reset(self, seed: int, level: str | None = None) -> None:
        """Begin the episode of a seed: the start that :class:`robolearn.sim.assembly.Assembly` gives it.

        Raises:
            UserError: no such level or seed.
        """
        self._world.begin(seed, level)
        self.hold()

    def use(self, servo: Literal["pose", "joints"]) -> None:
        """Let the arm follow poses, or joints, from now on; it holds where it is."""
        if servo not in _OFF:
            raise UserError(f"no servo {servo!r}; there are {', '.join(_OFF)}{nearest(servo, _OFF)}")
        self._off[...] = _OFF[servo]
        self.hold()

    def command_pose(self, position: NDArray[np.float64], quaternion: NDArray[np.float64]) -> None:
        """Set the tool's equilibrium: ``(3,)`` [m], ``(4,)`` wxyz, in the base frame."""
        self._ctrl[_TOOL] = np.concatenate([position, quaternion])

    def command_joints(self, position: NDArray[np.float64], velocity: NDArray[np.float64]) -> None:
        """Set the joints' set points and their velocities: ``(7,)`` [rad], ``(7,)`` [rad/s]."""
        self._ctrl[_JOINTS] = position + self._lead * velocity

    def command_fingers(self, width: float) -> None:
        """Set how far apart the fingers should be [m], as far as they go."""
        way = min(max(width / 2, FINGER_CLOSED), FINGER_OPEN)
        self._ctrl[_FINGERS] = way, -way

    def hold(self) -> None:
        """Brake: stay where the arm is now; the fingers go on as they were told."""
        arm = self._world.view.arm
        self.command_pose(arm.tcp_position[0], quaternion_from_matrix(arm.tcp_rotation)[0])
        self.command_joints(self._qpos[self._q], np.zeros(len(self._q)))

    def step(self) -> None:
        """Let ``timestep`` pass; a world that has diverged stands still."""
        self._world.advance()

    def state(self) -> RobotState:
        """Where everything is; copies."""
        view = self._world.view
        arm, qpos = view.arm, self._qpos
        fixtures = np.concatenate([view.mocap_position, view.mocap_quaternion], -1)[:, view.fixtures]
        return RobotState(
            position=qpos[self._q].copy(),
            velocity=self._qvel[self._v].copy(),
            effort=self._effort[self._v].copy(),
            fingers=np.abs(qpos[arm.fingers]),
            finger_velocity=self._qvel[self._finger_v] * (1.0, -1.0),
            tool_position=arm.tcp_position[0].copy(),
            tool_quaternion=quaternion_from_matrix(arm.tcp_rotation)[0],
            tool_twist=arm.tcp_twist[0],
            parts=np.concatenate([view.parts, fixtures], 1)[0],
        )

    def observation(self) -> dict[str, NDArray[Any]]:
        """What an environment of the task would show now, ``{name: (1, ...)}``: to compare with."""
        return self._world.observation()

    def verdict(self) -> RobotVerdict:
        """How the episode goes."""
        return self._world.verdict()

    def scene(self) -> Scene:
        """What :meth:`draw` needs to know of this instant; a copy."""
        view, seed = self._world.view, self._world.verdict().seed
        return Scene(view.qpos[0].copy(), view.mocap_position[0].copy(), view.mocap_quaternion[0].copy(), seed)

    def draw(self, scene: Scene, camera: str) -> NDArray[np.uint8]:
        """A picture of a scene, ``(H, W, 3)``; always from the same thread.

        Raises:
            UserError: this machine draws no pictures.
        """
        return self._pictures.draw(scene, camera)

    def close(self) -> None:
        """Free the renderer."""
        self._pictures.close()
        self._world.close()
