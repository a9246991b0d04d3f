"""FurnitureBench's one_leg as a Gymnasium vector environment: push the top into the corner, screw leg 4 in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, matrix_from_rot6d, quaternion_from_matrix, rot6d_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.controllers import control_from_action
from robolearn.sim.engine import Engine
from robolearn.sim.furniture import HOLES, LEG_HALF, SEATED, TOP_HALF
from robolearn.sim.kinematics import solve_ik
from robolearn.sim.panda import FINGER_OPEN, HOME
from robolearn.sim.randomness import draw_starts
from robolearn.sim.scene import LEGS, REQUIRED_LEG, SUBSTEPS, SceneConfig, build_model
from robolearn.sim.thread import RelativePose, Thread
from robolearn.tasks import one_leg_spec

PARTS = ("top", *LEGS)
_LEG = PARTS.index(REQUIRED_LEG)
_HOLES = np.array(HOLES)
# Lying parts: the top's normal up, a leg's long axis along +x; yaw turns them about the vertical.
_TOP_LYING = np.array([[0.0, 0.0, -1.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
_LEG_LYING = np.array([[0.0, 1.0, 0.0], [0.0, 0.0, -1.0], [-1.0, 0.0, 0.0]])
_FENCE_HEIGHT = 0.015
_FAR = 1.2  # [m] from the robot's base: beyond the table


class OneLeg(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N one_leg worlds in one native batch.

    Observation: ``tcp_pos 3, tcp_rot6d 6, tcp_linvel 3, tcp_angvel 3, gripper_width 1, parts_poses 54`` (top, legs 1-4, fence:
    position and rot6d), 70 numbers in the robot's base frame. Action: the canonical absolute TCP target at 10 Hz.
    Reward: 1 on the step at which the leg reaches a goal pose (5 mm an axis, axis cosines >= 0.94), which ends the episode;
    a part that leaves the table ends it too, without reward.

    Args:
        num_envs: rows N.
        randomness: ``low`` or ``med``, see :mod:`robolearn.sim.randomness`.
        max_episode_steps: time limit; reaching it truncates.
        threads: native threads, 0 for every core.
        autoreset: ``disabled`` (the caller resets rows by mask) or ``same_step`` (ended rows restart within the step that
            ended them, their last observation in ``info["final_obs"]``).
        thread: whether the pin's screw law holds; without it a pushed leg seats unturned.
        scene: physics settings.
    """

    def __init__(
        self,
        num_envs: int,
        *,
        randomness: str = "low",
        max_episode_steps: int = 600,
        threads: int = 0,
        autoreset: str = "disabled",
        thread: bool = True,
        scene: SceneConfig | None = None,
    ) -> None:
        self.env_spec = one_leg_spec()
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AutoresetMode.SAME_STEP if autoreset == "same_step" else AutoresetMode.DISABLED
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_fps": 10}
        self._randomness = randomness
        self._scene = scene or SceneConfig()
        draw_starts(np.zeros(1, np.int64), randomness)  # an unknown level is an error now, not at the first reset
        self._model = build_model(self._scene)
        self._engine = Engine(self._model, num_envs, threads)
        self._thread = Thread(self._engine, self._scene.fit) if thread else None
        self._bind()
        self._make_spaces()
        self._settled = self._settle()
        self._steps = np.zeros(num_envs, np.int64)
        self._seeds = np.zeros(num_envs, np.int64)
        self._stages = np.zeros((num_envs, len(self.env_spec.stages)), bool)
        self._renderer: Any = None

    def _bind(self) -> None:
        model, engine = self._model, self._engine
        self._qpos, self._qvel, self._ctrl = engine.view("qpos"), engine.view("qvel"), engine.view("ctrl")
        self._fence_pos, self._fence_quat = engine.view("mocap_pos")[:, 0], engine.view("mocap_quat")[:, 0]
        self._site_xpos, self._site_xmat, self._sensors = engine.view("site_xpos"), engine.view("site_xmat"), engine.view("sensordata")
        self._tcp = model.site("tcp").id
        address = np.array([model.jnt_qposadr[model.joint(name).id] for name in PARTS])
        self._part_q = address[:, None] + np.arange(7)  # (5, 7)
        self._fingers = np.array([model.jnt_qposadr[model.joint(name).id] for name in ("finger_joint1", "finger_joint2")])

    def _make_spaces(self) -> None:
        spec = self.env_spec
        box = gymnasium.spaces.Box
        self.single_observation_space = gymnasium.spaces.Dict(
            {name: box(-np.inf, np.inf, entry.shape, np.float32) for name, entry in spec.observation.items()}
        )
        self.single_action_space = box(np.array(spec.action.low, np.float32), np.array(spec.action.high, np.float32))
        batch = gymnasium.vector.utils.batch_space
        self.observation_space = batch(self.single_observation_space, self.num_envs)
        self.action_space = batch(self.single_action_space, self.num_envs)

    def _settle(self) -> NDArray[np.float64]:
        """One integration state with every part at rest on the table and the arm at home: ``(S,)``."""
        single = Engine(self._model, 1, 1)
        qpos, ctrl = single.view("qpos"), single.view("ctrl")
        start = draw_starts(np.zeros(1, np.int64), self._randomness)
        self._place_parts(qpos, single.view("mocap_pos")[:, 0], start.xy, start.yaw, height=np.array([0.017, *(0.0155,) * 4]))
        qpos[:, :7] = HOME
        qpos[:, self._fingers] = (FINGER_OPEN, -FINGER_OPEN)
        single.forward(np.ones(1, bool))
        self._hold(ctrl, single.view("site_xpos"), single.view("site_xmat"), np.ones(1, bool))
        single.step(400)
        single.view("qvel")[:] = 0.0
        single.view("time")[:] = 0.0
        return single.state[0].copy()

    def _place_parts(
        self, qpos: NDArray[Any], fence: NDArray[Any], xy: NDArray[Any], yaw: NDArray[Any], height: NDArray[Any], rows: Any = slice(None)
    ) -> None:
        cos, sin, zero = np.cos(yaw), np.sin(yaw), np.zeros_like(yaw)
        turn = np.stack([np.stack([cos, -sin, zero], -1), np.stack([sin, cos, zero], -1), np.stack([zero, zero, zero + 1], -1)], -2)
        lying = np.stack([_TOP_LYING, *(_LEG_LYING,) * len(LEGS)])
        pose = np.concatenate([xy[:, :5], np.broadcast_to(height, xy[:, :5, 0].shape)[..., None], quaternion_from_matrix(turn @ lying)], -1)
        qpos[rows, self._part_q[0, 0] : self._part_q[0, 0] + 7] = pose[:, 0]
        for index in range(1, len(PARTS)):
            qpos[rows, self._part_q[index, 0] : self._part_q[index, 0] + 7] = pose[:, index]
        fence[rows] = np.concatenate([xy[:, 5], np.full((len(xy), 1), _FENCE_HEIGHT)], 1)

    def _hold(self, ctrl: NDArray[Any], site_xpos: NDArray[Any], site_xmat: NDArray[Any], rows: NDArray[np.bool_]) -> None:
        """Command the pose the tool has now, fingers open."""
        ctrl[rows, :3] = site_xpos[rows, self._tcp]
        ctrl[rows, 3:7] = quaternion_from_matrix(site_xmat[rows, self._tcp].reshape(-1, 3, 3))
        ctrl[rows, 7:9] = (FINGER_OPEN, -FINGER_OPEN)

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start episodes: ``seed`` one per row (an int counts up from itself), ``options={"reset_mask": (N,) bool}`` for some rows."""
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        if seed is None:
            seeds = self._seeds + self.num_envs if self._seeds.any() else split_seeds("train", self.num_envs)
        else:
            seeds = seed + np.arange(self.num_envs) if isinstance(seed, (int, np.integer)) else np.asarray(seed, np.int64)
        self._start_rows(mask, np.asarray(seeds, np.int64))
        return self._observe(), {"success": self._stages[:, -1].copy(), "stages": self._stages.copy()}

    def _start_rows(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        start = draw_starts(seeds[rows], self._randomness)
        self._engine.load(mask, self._settled)
        height = self._settled_heights()
        self._place_parts(self._qpos, self._fence_pos, start.xy, start.yaw, height, rows)
        self._qpos[rows, :7] = HOME + start.joints
        self._begin(mask, seeds)

    def _settled_heights(self) -> NDArray[np.float64]:
        offset = self._engine.offset("qpos")
        heights: NDArray[np.float64] = self._settled[offset + self._part_q[:, 2]]
        return heights

    def _begin(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        self._engine.forward(mask)
        self._hold(self._ctrl, self._site_xpos, self._site_xmat, mask)
        self._steps[mask] = 0
        self._seeds[mask] = seeds[mask]
        self._stages[mask] = False

    def reset_to_observation(self, observation: dict[str, NDArray[Any]], seeds: NDArray[np.int64] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start every row from recorded poses, ``{name: (N, ...)}``: the arm by inverse kinematics, the parts where they were seen."""
        mask = np.ones(self.num_envs, bool)
        self._engine.load(mask, self._settled)
        poses = np.asarray(observation["parts_poses"], np.float64).reshape(self.num_envs, 6, 9)
        quaternion = quaternion_from_matrix(matrix_from_rot6d(poses[..., 3:]))
        for index in range(len(PARTS)):
            at = self._part_q[index]
            self._qpos[:, at[:3]] = poses[:, index, :3]
            self._qpos[:, at[3:]] = quaternion[:, index]
        self._qpos[:, self._part_q[:, 2]] = np.maximum(self._qpos[:, self._part_q[:, 2]], self._settled_heights())
        self._fence_pos[:], self._fence_quat[:] = poses[:, 5, :3], quaternion[:, 5]
        rotation = matrix_from_rot6d(np.asarray(observation["tcp_rot6d"], np.float64))
        self._qpos[:, :7] = solve_ik(self._model, np.asarray(observation["tcp_pos"], np.float64), rotation)
        width = np.clip(np.asarray(observation["gripper_width"], np.float64)[:, 0] / 2, 0.0035, FINGER_OPEN)
        self._qpos[:, self._fingers] = np.stack([width, -width], 1)
        self._begin(mask, np.zeros(self.num_envs, np.int64) if seeds is None else seeds)
        return self._observe(), {"success": self._stages[:, -1].copy(), "stages": self._stages.copy()}

    def step(self, actions: NDArray[Any]) -> tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """Hold each row's command for 0.1 s: ``(N, 10)``. See :class:`robolearn.protocols.Environment` for ``info``."""
        self._ctrl[:] = control_from_action(actions, self.env_spec.action)
        self._engine.step(SUBSTEPS)
        pose = self._leg_in_top()
        if self._thread is not None:
            self._thread.update(pose)
        self._steps += 1
        self._advance_stages(pose)
        success = self._stages[:, -1].copy()
        lost = self._lost()
        terminated = success | lost
        reward = success.astype(np.float64)
        truncated = ~terminated & (self._steps >= self.max_episode_steps)
        info: dict[str, Any] = {"success": success, "stages": self._stages.copy()}
        observation = self._observe()
        if lost.any():
            info["lost"] = lost
            observation = {name: np.nan_to_num(value, nan=0.0, posinf=_FAR, neginf=-_FAR) for name, value in observation.items()}
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"], info["_final_obs"] = observation, ended
            self._start_rows(ended, self._seeds + self.num_envs)
            observation = self._observe()
        return observation, reward, terminated, truncated, info

    def _lost(self) -> NDArray[np.bool_]:
        """Rows in which a part has left the table, or the physics has failed: nothing can be assembled any more."""
        position = self._qpos[:, self._part_q[:, :3]]
        lost: NDArray[np.bool_] = ~(np.abs(position) < _FAR).all((1, 2)) | self._engine.diverged()
        return lost

    def _leg_in_top(self) -> RelativePose:
        top, leg = self._qpos[:, self._part_q[0]], self._qpos[:, self._part_q[_LEG]]
        turned = matrix_from_quaternion(np.stack([top[:, 3:], leg[:, 3:]], 1))  # (N, 2, 3, 3)
        inverse = turned[:, 0].transpose(0, 2, 1)
        position = (inverse @ (leg[:, :3] - top[:, :3])[..., None])[..., 0]
        return RelativePose(position, inverse @ turned[:, 1])

    def _advance_stages(self, pose: RelativePose) -> None:
        """Latch each stage once it and all before it have been reached; success is the goal pose alone, whatever led to it."""
        top, leg = self._qpos[:, self._part_q[0]], self._qpos[:, self._part_q[_LEG]]
        gap = self._fence_pos[:, :2] + np.array([-0.01, 0.165]) - TOP_HALF[0] - top[:, :2]
        width = self._gripper_width()
        held = (width > 0.02) & (width < 0.045) & (np.linalg.norm(leg[:, :3] - self._site_xpos[:, self._tcp], axis=1) < 0.06)
        at_hole = (np.abs(pose.pin_end[:, None, [0, 2]] - _HOLES).max(2) < 0.006).any(1)
        upright = pose.rotation[:, 1, 1]
        height = self._thread.height() if self._thread is not None else pose.position[:, 1] - SEATED
        now = (
            (gap[:, 0] < 0.015) & (gap[:, 1] < 0.03),
            held & (leg[:, 2] > 2 * LEG_HALF[0]),
            upright > 0.9,
            at_hole & (pose.pin_end[:, 1] < TOP_HALF[1] - 0.010),
            at_hole & (height < 0.0035),
        )
        reached = np.ones(self.num_envs, bool)
        for index, condition in enumerate(now):
            self._stages[:, index] |= condition & reached
            reached = self._stages[:, index]
        self._stages[:, -1] = self._at_goal(pose)

    @staticmethod
    def _at_goal(pose: RelativePose) -> NDArray[np.bool_]:
        goals = np.stack([_HOLES[:, 0], np.full(len(HOLES), SEATED), _HOLES[:, 1]], 1)
        near = (np.abs(pose.position[:, None] - goals) <= 0.005).all(2).any(1)
        aligned: NDArray[np.bool_] = (np.diagonal(pose.rotation, axis1=1, axis2=2) >= 0.94).all(1)
        return near & aligned

    def _gripper_width(self) -> NDArray[np.float64]:
        width: NDArray[np.float64] = self._qpos[:, self._fingers[0]] - self._qpos[:, self._fingers[1]]
        return width

    def _observe(self) -> dict[str, NDArray[np.float32]]:
        rows = self.num_envs
        parts = self._qpos[:, self._part_q]  # (N, 5, 7)
        quaternion = np.concatenate([parts[..., 3:], self._fence_quat[:, None]], 1)
        position = np.concatenate([parts[..., :3], self._fence_pos[:, None]], 1)
        poses = np.concatenate([position, rot6d_from_matrix(matrix_from_quaternion(quaternion))], -1)  # (N, 6, 9)
        values = {
            "tcp_pos": self._site_xpos[:, self._tcp],
            "tcp_rot6d": self._site_xmat[:, self._tcp].reshape(rows, 9)[:, :6],
            "tcp_linvel": self._sensors[:, :3],
            "tcp_angvel": self._sensors[:, 3:6],
            "gripper_width": self._gripper_width()[:, None],
            "parts_poses": poses.reshape(rows, 54),
        }
        return {name: value.astype(np.float32) for name, value in values.items()}

    def get_state(self) -> NDArray[np.float64]:
        """Integration state, steps taken, seed and stages of every row: ``(N, S)``."""
        return np.concatenate([self._engine.state, self._steps[:, None], self._seeds[:, None], self._stages], 1)

    def set_state(self, state: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> None:
        """Restore rows from :meth:`get_state`'s output."""
        mask = np.ones(self.num_envs, bool) if rows is None else rows
        size = self._engine.state.shape[1]
        self._engine.load(mask, state[mask, :size])
        self._engine.forward(mask)
        self._steps[mask] = state[mask, size].astype(np.int64)
        self._seeds[mask] = state[mask, size + 1].astype(np.int64)
        self._stages[mask] = state[mask, size + 2 :] > 0

    def observation(self) -> dict[str, NDArray[np.float32]]:
        """What the rows show now, without stepping."""
        return self._observe()

    def render(self, row: int = 0) -> NDArray[np.uint8]:  # type: ignore[override]
        """A picture of one row, ``(480, 640, 3)``; needs EGL or OSMesa."""
        if self._renderer is None:
            from robolearn.sim.render import SceneRenderer

            self._renderer = SceneRenderer(build_model(self._scene, visual=True))
        picture: NDArray[np.uint8] = self._renderer.draw(self._qpos[row], self._fence_pos[row], self._fence_quat[row])
        return picture

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

