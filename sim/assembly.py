"""Any assembly task as a Gymnasium vector environment: N worlds in one native batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive, nearest
from robolearn.seeding import split_seeds
from robolearn.sim.catalog import find_task
from robolearn.sim.controllers import control_from_action
from robolearn.sim.engine import Engine
from robolearn.sim.engines import make_engine
from robolearn.sim.extras import Extras
from robolearn.sim.pushes import Pushes
from robolearn.sim.scene import build_mjcf, build_model
from robolearn.sim.screw import Screws
from robolearn.sim.starts import draw_starts
from robolearn.sim.task import Task
from robolearn.sim.view import View, settled_state

if TYPE_CHECKING:
    from robolearn.sim.render import SceneRenderer

AUTORESET = {"disabled": AutoresetMode.DISABLED, "same_step": AutoresetMode.SAME_STEP}
# Why a row is lost, by its code in `Assembly._lost`.
REASONS = np.array(["", "a part left the table", "the simulation diverged", "the action was not finite", "nobody looks at it"])
_AWAY, _DIVERGED, _NO_ACTION, _UNWATCHED = 1, 2, 3, 4
_HALVINGS = 4
_FAR = 1.2  # [m] from the robot's base: beyond the table

Observation = dict[str, NDArray[np.float32]]
Step = tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class Assembly(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N worlds of an assembly task.

    Observation, in the robot's base frame: ``tcp_pos 3, tcp_rot6d 6, tcp_linvel 3, tcp_angvel 3, gripper_width 1`` of each arm,
    ``parts_poses`` (position and rot6d of each part and fixture). Action: the canonical absolute TCP target of each arm, its
    position clipped to the spec's limits. Reward: 1 for each pair of parts on the step at which it is first assembled; all
    pairs assembled is success and ends the episode. ``info["lost"] (N,)`` says which rows are over without a result, and
    ``info["reason"] (N,)`` why: a part that left the table terminates, physics that failed or an action that is not finite
    truncates. A lost row stands still, at no cost, until it is reset; the others are unharmed.

    Args:
        task: its name, see :mod:`robolearn.sim.catalog`, or a task.
        num_envs: rows N.
        randomness: a level of the task's, such as ``low``.
        max_episode_steps: time limit, the task's own where None; reaching it truncates.
        threads: native threads, 0 for every core.
        autoreset: ``disabled`` (the caller resets rows by mask) or ``same_step`` (ended rows restart within the step that
            ended them, their last observation in ``info["final_obs"]``).
        thread: whether screws hold; without it a pushed part seats unturned.
        push_force: [N] of random pushes on the parts, see :class:`robolearn.sim.pushes.Pushes`; 0 for none.
        extras: further observations, see :class:`robolearn.sim.extras.Extras`.
        engine: ``mujoco``, or ``warp`` for a GPU; see :func:`robolearn.sim.engines.make_engine`.

    Raises:
        UserError: no such task, randomness, autoreset mode, observation or engine.
    """

    def __init__(
        self,
        task: str | Task,
        num_envs: int,
        *,
        randomness: str = "low",
        max_episode_steps: int | None = None,
        threads: int = 0,
        autoreset: str = "disabled",
        thread: bool = True,
        push_force: float = 0.0,
        extras: Sequence[str] = (),
        engine: str = "mujoco",
    ) -> None:
        if autoreset not in AUTORESET:
            raise UserError(f"no autoreset mode {autoreset!r}; there are {', '.join(AUTORESET)}{nearest(autoreset, AUTORESET)}")
        self.task = find_task(task)
        self.task.check_level(randomness)
        self.max_episode_steps = self.task.horizon if max_episode_steps is None else max_episode_steps
        check_positive(max_episode_steps=self.max_episode_steps)
        self.num_envs = num_envs
        self.autoreset_mode = AUTORESET[autoreset]
        self._randomness = randomness
        touch = "finger_force" in extras
        model = build_model(self.task, touch=touch)
        self._engine = make_engine(engine, model, lambda: build_mjcf(self.task, touch=touch), num_envs, threads)
        self._view = View(self._engine, self.task)
        self._extras = Extras(extras, self._engine, self._view)
        self.env_spec = replace(self.task.spec(), observation={**self.task.spec().observation, **self._extras.specs})
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_fps": round(self.env_spec.control_hz)}
        self._goals = self.task.goals()
        sockets = self.task.sockets()
        self._screws = Screws(self._engine, sockets) if thread and sockets else None
        self._pushes = Pushes(self._engine, self.task.parts, push_force) if push_force else None
        self._ctrl = self._engine.view("ctrl")
        self._make_spaces()
        self._settled = settled_state(Engine(model, 1, 1), self.task, randomness)
        self._heights = self._view.heights_in(self._settled)
        self._steps = np.zeros(num_envs, np.int64)
        self._seeds = split_seeds("train", num_envs) - num_envs  # so the first reset without a seed starts the training seeds
        self._stages = np.zeros((num_envs, len(self.env_spec.stages)), bool)
        self._assembled = np.zeros((num_envs, len(self._goals)), bool)  # at some time in the episode
        self._held = np.zeros(num_envs, np.int64)  # steps since all goals are reached
        self._lost = np.zeros(num_envs, np.int64)  # code of REASONS; not reset since
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
        """Start every row from recorded poses, ``{name: (N, ...)}``: the arms by inverse kinematics, the parts where they were seen."""
        mask = np.ones(self.num_envs, bool)
        self._engine.load(mask, self._settled)
        self._view.place_as_observed(observation, lowest=self._heights)
        self._engine.forward(mask)
        self._begin(mask, np.zeros(self.num_envs, np.int64) if seeds is None else seeds)
        return self.observation(), self._progress()

    def _start_rows(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self._engine.load(mask, self._settled)
        start = draw_starts(self.task, seeds[rows], self._randomness)
        self._view.place(rows, start, self._heights)
        self._engine.forward(mask)
        for _ in range(_HALVINGS):  # joints bent so that a hand is among the parts are bent half as much
            low = mask & (self._view.lowest_tool() < self.task.clear_height)
            if not low.any():
                break
            start.joints[low[rows]] *= 0.5
            self._view.bend(low, start.joints[low[rows]])
            self._engine.forward(low)
        self._begin(mask, seeds)

    def _begin(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        self._view.hold(mask)
        self._seeds[mask] = seeds[mask]
        for memory in (self._steps, self._stages, self._assembled, self._held, self._lost):
            memory[mask] = 0

    def step(self, actions: NDArray[Any]) -> Step:
        """Hold each row's command for a control step: ``(N, A)``. See :class:`robolearn.protocols.Environment` for ``info``."""
        finite = self._command(np.asarray(actions))
        if self._pushes is not None:
            self._pushes.apply(self._seeds, self._steps)
        self._engine.step(self.task.physics.substeps, self._lost == 0)
        self._park(self._engine.diverged(), _DIVERGED)
        if self._screws is not None:
            self._screws.update(self._view.pairs(self._screws.pairs))
        self._steps += 1
        reward = self._advance()
        observation, info = self.observation(), self._progress()
        self._park(self._left_table(), _AWAY)
        self._park(~finite, _NO_ACTION)
        terminated = info["success"] | (self._lost == _AWAY)
        truncated = ~terminated & ((self._steps >= self.max_episode_steps) | (self._lost > 0))
        if self._lost.any():
            info["lost"], info["reason"] = self._lost > 0, REASONS[self._lost]
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"], info["_final_obs"] = observation, ended
            self._start_rows(ended, self._seeds + self.num_envs)
            observation = self.observation()
        return observation, reward, terminated, truncated, info

    def _command(self, actions: NDArray[Any]) -> NDArray[np.bool_]:
        """Set the controls; a row whose action is not finite keeps those it has. Which rows were finite, ``(N,)``.

        Raises:
            UserError: actions of another shape.
        """
        if actions.shape != (self.num_envs, self.env_spec.action.size):
            raise UserError(f"{self.num_envs} rows of {self.task.name} take actions {self.action_space.shape}; got {actions.shape}")
        finite: NDArray[np.bool_] = np.isfinite(actions).all(1)
        if finite.all():
            self._ctrl[:] = control_from_action(actions, self.env_spec.action)
        else:
            self._ctrl[finite] = control_from_action(actions[finite], self.env_spec.action)
        return finite

    def _advance(self) -> NDArray[np.float64]:
        """Bring goals and stages up to date; the reward, ``(N,)``."""
        now = np.stack([goal.reached(self._view.relative(goal.child, goal.parent)) for goal in self._goals], 1)  # (N, G)
        if self.task.ordered:
            now &= np.concatenate([np.ones((self.num_envs, 1), bool), np.logical_and.accumulate(self._assembled, 1)[:, :-1]], 1)
        self._held = np.where(now.all(1), self._held + 1, 0)
        done = self._held > self.task.hold_steps
        if self.task.hold_steps:  # a pair counts alone, the last of them when all have stayed
            now &= ~now.all(1, keepdims=True) | done[:, None]
        reward: NDArray[np.float64] = (now & ~self._assembled).sum(1).astype(np.float64)
        self._assembled |= now
        reached = np.ones(self.num_envs, bool)
        for index, condition in enumerate(self.task.stages(self._view, self._screws)):
            self._stages[:, index] |= condition & reached
            reached = self._stages[:, index]
        self._stages[:, -1] = done
        return reward

    def _progress(self) -> dict[str, Any]:
        return {"success": self._stages[:, -1].copy(), "stages": self._stages.copy()}

    def _left_table(self) -> NDArray[np.bool_]:
        """Rows in which a part has left the table: nothing can be assembled any more."""
        away: NDArray[np.bool_] = ~(np.abs(self._view.parts[..., :3]) < _FAR).all((1, 2))
        return away

    def _park(self, lost: NDArray[np.bool_], reason: int) -> None:
        """Put lost rows into the settled scene, where they wait for their reset: they are not stepped, so they neither warn nor cost."""
        new = lost & (self._lost == 0)
        self._engine.load(new, self._settled)
        self._engine.forward(new)
        self._lost[new] = reason

    def park(self, rows: NDArray[np.bool_]) -> None:
        """Let ``rows (N,)`` stand still, at no cost, until they are reset: nobody looks at what they do."""
        self._park(rows, _UNWATCHED)

    def observation(self) -> Observation:
        """What the rows show now, without stepping."""
        return {**self._view.observation(), **self._extras.observation()}

    def _memory(self) -> list[NDArray[Any]]:
        """What the world keeps behind the simulator's state, as columns ``(N, ...)``; see :attr:`robolearn.sim.task.Task.memory`."""
        memory: list[NDArray[Any]] = [self._steps[:, None], self._seeds[:, None], self._stages]
        if len(self._goals) > 1:
            memory.append(self._assembled)
        if self.task.hold_steps:
            memory.append(self._held[:, None])
        return memory

    def get_state(self) -> NDArray[np.float64]:
        """Integration state and the world's own memory of every row: ``(N, S)``."""
        return np.concatenate([self._engine.state, *self._memory()], 1)

    def set_state(self, state: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> None:
        """Restore rows from :meth:`get_state`'s output."""
        mask = np.ones(self.num_envs, bool) if rows is None else rows
        at = self._engine.state.shape[1]
        self._engine.load(mask, state[mask, :at])
        self._engine.forward(mask)
        for memory in self._memory():
            width = memory.shape[1]
            memory[mask] = state[mask, at : at + width].astype(memory.dtype)
            at += width
        if len(self._goals) == 1:
            self._assembled[mask] = self._stages[mask, -1:]
        self._lost[mask] = 0

    def render(self, row: int = 0) -> NDArray[np.uint8]:  # type: ignore[override]
        """A picture of one row, ``(240, 320, 3)``; needs EGL or OSMesa."""
        if self._renderer is None:
            from robolearn.sim.render import SceneRenderer

            self._renderer = SceneRenderer(build_model(self.task, visual=True))
        return self._renderer.draw(self._view.qpos[row], self._view.mocap_position[row], self._view.mocap_quaternion[row])

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
