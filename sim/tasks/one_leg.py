"""FurnitureBench's one_leg as a Gymnasium vector environment: push the top into the corner, screw leg 4 in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive, nearest
from robolearn.seeding import split_seeds
from robolearn.sim.controllers import control_from_action
from robolearn.sim.engine import Engine
from robolearn.sim.engines import make_engine
from robolearn.sim.randomness import check_level, draw_starts
from robolearn.sim.scene import SUBSTEPS, SceneConfig, build_mjcf, build_model
from robolearn.sim.tasks.one_leg_stages import advance_stages
from robolearn.sim.tasks.one_leg_view import OneLegView, settled_state
from robolearn.sim.thread import Thread
from robolearn.tasks import one_leg_spec

if TYPE_CHECKING:
    from robolearn.sim.render import SceneRenderer

AUTORESET = {"disabled": AutoresetMode.DISABLED, "same_step": AutoresetMode.SAME_STEP}
_FAR = 1.2  # [m] from the robot's base: beyond the table

Observation = dict[str, NDArray[np.float32]]
Step = tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class OneLeg(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N one_leg worlds in one native batch.

    Observation: ``tcp_pos 3, tcp_rot6d 6, tcp_linvel 3, tcp_angvel 3, gripper_width 1, parts_poses 54`` (top, legs 1-4, fence:
    position and rot6d), 70 numbers in the robot's base frame. Action: the canonical absolute TCP target at 10 Hz.
    Reward: 1 on the step at which the leg reaches a goal pose (5 mm an axis, axis cosines >= 0.94), which ends the episode;
    a part that leaves the table, or physics that fails, ends it too, without reward: ``info["lost"] (N,)`` says where.
    A lost row stands still, at no cost, until it is reset.

    Args:
        num_envs: rows N.
        randomness: ``low`` or ``med``, see :mod:`robolearn.sim.randomness`.
        max_episode_steps: time limit; reaching it truncates.
        threads: native threads, 0 for every core.
        autoreset: ``disabled`` (the caller resets rows by mask) or ``same_step`` (ended rows restart within the step that
            ended them, their last observation in ``info["final_obs"]``).
        thread: whether the pin's screw law holds; without it a pushed leg seats unturned.
        scene: physics settings.
        engine: ``mujoco``, or ``warp`` for a GPU; see :func:`robolearn.sim.engines.make_engine`.

    Raises:
        UserError: no such randomness, autoreset mode or engine.
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
        engine: str = "mujoco",
    ) -> None:
        if autoreset not in AUTORESET:
            raise UserError(f"no autoreset mode {autoreset!r}; there are {', '.join(AUTORESET)}{nearest(autoreset, AUTORESET)}")
        check_level(randomness)
        check_positive(max_episode_steps=max_episode_steps)
        self.env_spec = one_leg_spec()
        self.num_envs = num_envs
        self.max_episode_steps = max_episode_steps
        self.autoreset_mode = AUTORESET[autoreset]
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_fps": 10}
        self._randomness = randomness
        self._scene = scene or SceneConfig()
        model = build_model(self._scene)
        self._engine = make_engine(engine, model, lambda: build_mjcf(self._scene), num_envs, threads)
        self._view = OneLegView(self._engine)
        self._thread = Thread(self._engine, self._scene.fit) if thread else None
        self._ctrl = self._engine.view("ctrl")
        self._make_spaces()
        self._settled = settled_state(Engine(model, 1, 1), randomness)
        self._steps = np.zeros(num_envs, np.int64)
        self._seeds = split_seeds("train", num_envs) - num_envs  # so the first reset without a seed starts the training seeds
        self._stages = np.zeros((num_envs, len(self.env_spec.stages)), bool)
        self._parked = np.zeros(num_envs, bool)  # lost, and not reset since
        self._renderer: SceneRenderer | None = None

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

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes: ``seed`` one per row, ``options={"reset_mask": (N,) bool}`` for some rows only.

        An int seeds the rows with itself, itself + 1, ...; without a seed each row goes on to its next episode.
        """
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, bool)), bool)
        if seed is None:
            seeds = self._seeds + self.num_envs
        else:
            seeds = seed + np.arange(self.num_envs) if isinstance(seed, (int, np.integer)) else np.asarray(seed, np.int64)
        if mask.shape != (self.num_envs,) or seeds.shape != (self.num_envs,):
            raise ValueError(f"reset of {self.num_envs} rows got a mask of shape {mask.shape} and seeds of shape {seeds.shape}")
        self._start_rows(mask, np.asarray(seeds, np.int64))
        return self.observation(), self._progress()

    def reset_to_observation(
        self, observation: dict[str, NDArray[Any]], seeds: NDArray[np.int64] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every row from recorded poses, ``{name: (N, ...)}``: the arm by inverse kinematics, the parts where they were seen."""
        mask = np.ones(self.num_envs, bool)
        self._engine.load(mask, self._settled)
        self._view.place_as_observed(observation, lowest=self._view.heights_in(self._settled))
        self._begin(mask, np.zeros(self.num_envs, np.int64) if seeds is None else seeds)
        return self.observation(), self._progress()

    def _start_rows(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self._engine.load(mask, self._settled)
        self._view.place(rows, draw_starts(seeds[rows], self._randomness), self._view.heights_in(self._settled))
        self._begin(mask, seeds)

    def _begin(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        self._engine.forward(mask)
        self._view.hold(mask)
        self._steps[mask] = 0
        self._seeds[mask] = seeds[mask]
        self._stages[mask] = False
        self._parked[mask] = False

    def step(self, actions: NDArray[Any]) -> Step:
        """Hold each row's command for 0.1 s: ``(N, 10)``. See :class:`robolearn.protocols.Environment` for ``info``."""
        self._ctrl[:] = control_from_action(actions, self.env_spec.action)
        self._engine.step(SUBSTEPS, ~self._parked)
        self._park(self._engine.diverged())
        pose = self._view.leg_in_top
        if self._thread is not None:
            self._thread.update(pose)
        self._steps += 1
        advance_stages(self._stages, self._view, pose, self._thread)
        away = self._left_table()
        info = self._progress()
        success = info["success"]
        terminated = success | away | self._parked
        truncated = ~terminated & (self._steps >= self.max_episode_steps)
        observation = self.observation()
        self._park(away)
        if self._parked.any():
            info["lost"] = self._parked.copy()
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"], info["_final_obs"] = observation, ended
            self._start_rows(ended, self._seeds + self.num_envs)
            observation = self.observation()
        return observation, success.astype(np.float64), terminated, truncated, info

    def _progress(self) -> dict[str, Any]:
        return {"success": self._stages[:, -1].copy(), "stages": self._stages.copy()}

    def _left_table(self) -> NDArray[np.bool_]:
        """Rows in which a part has left the table: nothing can be assembled any more."""
        away: NDArray[np.bool_] = ~(np.abs(self._view.parts[..., :3]) < _FAR).all((1, 2))
        return away

    def _park(self, lost: NDArray[np.bool_]) -> None:
        """Put lost rows into the settled scene, where they wait for their reset: they are not stepped, so they neither warn nor cost."""
        new = lost & ~self._parked
        self._engine.load(new, self._settled)
        self._engine.forward(new)
        self._parked |= new

    def park(self, rows: NDArray[np.bool_]) -> None:
        """Let ``rows (N,)`` stand still, at no cost, until they are reset: nobody looks at what they do."""
        self._park(rows)

    def observation(self) -> Observation:
        """What the rows show now, without stepping."""
        return self._view.observation()

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
        self._parked[mask] = False

    def render(self, row: int = 0) -> NDArray[np.uint8]:  # type: ignore[override]
        """A picture of one row, ``(240, 320, 3)``; needs EGL or OSMesa."""
        if self._renderer is None:
            from robolearn.sim.render import SceneRenderer

            self._renderer = SceneRenderer(build_model(self._scene, visual=True))
        return self._renderer.draw(self._view.qpos[row], self._view.fence_position[row], self._view.fence_quaternion[row])

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
