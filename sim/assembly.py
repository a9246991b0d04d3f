"""Any assembly task as a Gymnasium vector environment: N worlds in one native batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from robolearn.errors import check_share
from robolearn.sim.catalog import find_task
from robolearn.sim.controllers import control_from_action
from robolearn.sim.dynamics import Dynamics
from robolearn.sim.engine import Engine
from robolearn.sim.engines import make_engine, step_soundly
from robolearn.sim.episodes import AWAY, DIVERGED, NO_ACTION, UNWATCHED, Episodes, check_states, check_world, find_autoreset, restore
from robolearn.sim.extras import Extras, split_extras
from robolearn.sim.images import Images
from robolearn.sim.looks import cameras_of
from robolearn.sim.mover import Mover
from robolearn.sim.pushes import Pushes
from robolearn.sim.randomize import DynamicsRanges, Randomization, find_ranges
from robolearn.sim.scene import build_mjcf, build_model
from robolearn.sim.screw import Screws
from robolearn.sim.spaces import give_spaces
from robolearn.sim.spin import Brake
from robolearn.sim.starts import draw_starts
from robolearn.sim.task import Task
from robolearn.sim.view import View, settled_state

if TYPE_CHECKING:
    from robolearn.sim.render import SceneRenderer

_HALVINGS = 4
_FAR = 1.2  # [m] from the robot's base: beyond the table

Observation = dict[str, NDArray[Any]]
Step = tuple[Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]


class Assembly(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """N worlds of an assembly task.

    Observation, in the robot's base frame: ``tcp_pos 3, tcp_rot6d 6, tcp_linvel 3, tcp_angvel 3, gripper_width 1`` of each arm,
    ``parts_poses`` (position and rot6d of each part and fixture). Action: the canonical absolute TCP target of each arm, its
    position clipped to the spec's limits. Reward: 1 for each pair of parts on the step at which it is first assembled; all
    pairs assembled is success and ends the episode. ``info["lost"] (N,)`` says which rows are over without a result, and
    ``info["reason"] (N,)`` why: a part that left the table terminates, physics that failed or an action that is not finite
    truncates. The step that loses a row shows it as it last was, physics that failed as it was before; from then on it shows the
    settled scene, in which it stands still, at no cost, until it is reset. The others are unharmed.

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
        extras: further observations, see :class:`robolearn.sim.extras.Extras`, and cameras (``front``, ``wrist``) whose
            pictures are observed, ``(height, width, 3)`` bytes; see :class:`robolearn.sim.images.Images`.
        image_size: width and height of these pictures [pixels].
        image_quality: ``fast``, or ``fine`` as films are.
        randomize: what else differs between episodes, see :func:`robolearn.sim.randomize.find_ranges`; None: nothing.
        engine: ``mujoco``, or ``warp`` for a GPU; see :func:`robolearn.sim.engines.make_engine`.
        render_mode: Gymnasium's, ``rgb_array`` or None: what ``render()`` without a row gives.

    Raises:
        UserError: no such task, randomness, autoreset or render mode, observation, picture quality, ranges or engine.
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
        image_size: Sequence[int] = (84, 84),
        image_quality: str = "fast",
        randomize: str | Mapping[str, Any] | Randomization | None = None,
        engine: str = "mujoco",
        render_mode: str | None = None,
    ) -> None:
        self.autoreset_mode = find_autoreset(autoreset)
        self.task = find_task(task)
        self.task.check_level(randomness)
        self.max_episode_steps = self.task.horizon if max_episode_steps is None else max_episode_steps
        check_world(num_envs, self.max_episode_steps, threads, render_mode)
        check_share(high=float("inf"), push_force=push_force)
        self.num_envs = num_envs
        self._randomness = randomness
        more, cameras = split_extras(extras, cameras_of(self.task.arms))
        touch = "finger_force" in more
        model = build_model(self.task, touch=touch)
        self._engine = make_engine(engine, model, lambda: build_mjcf(self.task, touch=touch), num_envs, threads)
        self._view = View(self._engine, self.task)
        ranges = find_ranges(randomize)
        self._dynamics = Dynamics(self._engine, self.task, ranges.dynamics) if ranges.dynamics != DynamicsRanges() else None
        self._extras = Extras(more, self._engine, self._view)
        self._images = Images(cameras, image_size, image_quality, self.task, self._view, ranges.looks)
        shown = {**self.task.spec().observation, **self._extras.specs, **self._images.specs}
        self.env_spec = replace(self.task.spec(), observation=shown)
        self.render_mode = render_mode
        self._goals = self.task.goals()
        sockets = self.task.sockets()
        self._screws = Screws(self._engine, sockets) if thread and sockets else None
        self._pushes = Pushes(self._engine, self.task.parts, push_force) if push_force else None
        self._brake = Brake(self._engine, self.task.parts)
        self._ctrl = self._engine.view("ctrl")
        give_spaces(self, self.env_spec, self.autoreset_mode)
        self._settled = settled_state(Engine(model, 1, 1), self.task, randomness)
        self._heights = self._view.heights_in(self._settled)
        self._episodes = Episodes(num_envs, len(self.env_spec.stages))
        self._stages = self._episodes.stages
        self._assembled = np.zeros((num_envs, len(self._goals)), bool)  # at some time in the episode
        self._held = np.zeros(num_envs, np.int64)  # steps since all goals are reached
        self._renderer: SceneRenderer | None = None

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start episodes: ``seed`` one per row, ``options={"reset_mask": (N,) bool}`` for some rows only; see :class:`Episodes`."""
        mask, seeds = self._episodes.asked(seed, options)
        self._start_rows(mask, seeds)
        return self.observation(), self._episodes.progress()

    def reset_to_observation(
        self, observation: dict[str, NDArray[Any]], seeds: NDArray[np.int64] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start every row from recorded poses, ``{name: (N, ...)}``: the arms by inverse kinematics, the parts where they were seen."""
        mask = np.ones(self.num_envs, bool)
        seeds = np.zeros(self.num_envs, np.int64) if seeds is None else seeds
        self._engine.load(mask, self._settled)
        self._vary(mask, seeds)
        self._view.place_as_observed(observation, lowest=self._heights)
        self._engine.forward(mask)
        self._begin(mask, seeds)
        return self.observation(), self._episodes.progress()

    def _start_rows(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        rows = np.flatnonzero(mask)
        if not len(rows):
            return
        self._engine.load(mask, self._settled)
        self._vary(mask, seeds)
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
        if self._dynamics is not None:
            self._dynamics.hold(mask, self._ctrl)
        self._episodes.begin(mask, seeds)
        self._assembled[mask] = False
        self._held[mask] = 0

    def _vary(self, mask: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Give rows the dynamics and the looks of these episodes."""
        if self._dynamics is not None:
            self._dynamics.draw(mask, seeds)
        self._images.begin(mask, seeds)

    def step(self, actions: NDArray[Any]) -> Step:
        """Hold each row's command for a control step: ``(N, A)``. See :class:`robolearn.protocols.Environment` for ``info``."""
        episodes, finite = self._episodes, self._command(np.asarray(actions))
        if self._pushes is not None:
            self._pushes.apply(episodes.seeds, episodes.steps)
        self._images.outdate(episodes.live)
        diverged = episodes.lose(step_soundly(self._engine, self.task.physics.substeps, episodes.live), DIVERGED)
        self._brake.apply()
        if diverged.any():
            self._settle(diverged & self._engine.diverged())  # it was broken from outside: nothing sound to show
        if self._screws is not None:
            self._screws.update(self._view.pairs(self._screws.pairs))
        episodes.steps += 1
        reward = self._advance()
        observation, info = self.observation(), self._episodes.progress()
        self._settle(diverged)
        self._park(self._left_table() & ~info["success"], AWAY)
        self._park(~finite & ~info["success"], NO_ACTION)
        terminated, truncated = episodes.ended(self.max_episode_steps)
        info |= episodes.fate()
        ended = terminated | truncated
        if self.autoreset_mode is AutoresetMode.SAME_STEP and ended.any():
            info["final_obs"], info["_final_obs"] = observation, ended
            self._start_rows(ended, episodes.following)
            observation = self.observation()
        return observation, reward, terminated, truncated, info

    def _command(self, actions: NDArray[Any]) -> NDArray[np.bool_]:
        """Set the controls; a row whose action is not finite keeps those it has. Which rows were finite, ``(N,)``.

        Raises:
            UserError: actions of another shape.
        """
        finite = self._episodes.check_actions(actions, self.task.name, self.env_spec.action.size)
        if self._dynamics is not None:
            wanted = self._ctrl.copy()
            wanted[finite] = control_from_action(actions[finite], self.env_spec.action)
            self._ctrl[:] = self._dynamics.delay(wanted)
        elif finite.all():
            self._ctrl[:] = control_from_action(actions, self.env_spec.action)
        else:
            self._ctrl[finite] = control_from_action(actions[finite], self.env_spec.action)
        return finite

    def _advance(self) -> NDArray[np.float64]:
        """Bring goals and stages up to date; the reward, ``(N,)``."""
        reached = self._episodes.live  # a row that is lost comes to nothing any more
        now = np.stack([goal.reached(self._view.relative(goal.child, goal.parent)) for goal in self._goals], 1)  # (N, G)
        now &= reached[:, None]
        if self.task.ordered:
            now &= np.concatenate([np.ones((self.num_envs, 1), bool), np.logical_and.accumulate(self._assembled, 1)[:, :-1]], 1)
        self._held = np.where(now.all(1), self._held + 1, 0)
        done = self._held > self.task.hold_steps
        if self.task.hold_steps:  # a pair counts alone, the last of them when all have stayed
            now &= ~now.all(1, keepdims=True) | done[:, None]
        reward: NDArray[np.float64] = (now & ~self._assembled).sum(1).astype(np.float64)
        self._assembled |= now
        for index, condition in enumerate(self.task.stages(self._view, self._screws)):
            self._stages[:, index] |= condition & reached
            reached = self._stages[:, index]
        self._stages[:, -1] = done
        return reward

    def _left_table(self) -> NDArray[np.bool_]:
        """Rows in which a part has left the table: nothing can be assembled any more."""
        away: NDArray[np.bool_] = ~(np.abs(self._view.parts[..., :3]) < _FAR).all((1, 2))
        return away

    def _park(self, lost: NDArray[np.bool_], reason: int) -> None:
        self._settle(self._episodes.lose(lost, reason))

    def _settle(self, lost: NDArray[np.bool_]) -> None:
        """Put lost rows into the settled scene, where they wait for their reset: they are not stepped, so they neither warn nor cost."""
        self._engine.load(lost, self._settled)
        self._engine.forward(lost)
        self._images.outdate(lost)

    def park(self, rows: NDArray[np.bool_]) -> None:
        """Let ``rows (N,)`` stand still, at no cost, until they are reset: nobody looks at what they do."""
        self._park(rows, UNWATCHED)

    def observation(self) -> Observation:
        """What the rows show now, without stepping."""
        return {**self._view.observation(), **self._extras.observation(), **self._images.observation()}

    def _memory(self) -> list[NDArray[Any]]:
        """What the world keeps behind the simulator's state, as columns ``(N, ...)``; see :attr:`robolearn.sim.task.Task.memory`."""
        memory = self._episodes.memory()
        if len(self._goals) > 1:
            memory.append(self._assembled)
        if self.task.hold_steps:
            memory.append(self._held[:, None])
        if self._dynamics is not None:
            memory.append(self._dynamics.pending)
        return memory

    def get_state(self) -> NDArray[np.float64]:
        """Integration state and the world's own memory of every row: ``(N, S)``."""
        return np.concatenate([self._engine.state, *self._memory()], 1)

    def set_state(self, state: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> None:
        """Restore rows from :meth:`get_state`'s output, every part awake: rows that were given the same state go on alike to the bit.

        Raises:
            UserError: states of another world, or not finite.
        """
        memory, size = self._memory(), self._engine.state.shape[1]
        mask = check_states(state, rows, (self.num_envs, size + sum(column.shape[1] for column in memory)))
        self._engine.load(mask, state[mask, :size])
        restore(memory, state[:, size:], mask)
        self._vary(mask, self._episodes.seeds)
        self._engine.forward(mask)
        if len(self._goals) == 1:
            self._assembled[mask] = self._stages[mask, -1:]
        self._episodes.lost[mask] = 0

    @property
    def mover(self) -> Mover:
        """What puts parts and the tool elsewhere."""
        return Mover(self._engine, self._view, self._images.outdate)

    def render(self, row: int | None = None) -> Any:
        """A picture of one row, ``(240, 320, 3)``; without a row those of all, as Gymnasium's ``render_mode`` asks. Needs EGL or OSMesa."""
        if row is None:
            return None if self.render_mode is None else tuple(self.render(each) for each in range(self.num_envs))
        if self._renderer is None:
            from robolearn.sim.render import SceneRenderer

            self._renderer = SceneRenderer(build_model(self.task, visual=True))
        return self._renderer.draw(self._view.qpos[row], self._view.mocap_position[row], self._view.mocap_quaternion[row])

    def close_extras(self, **kwargs: Any) -> None:
        """Free the renderers."""
        self._images.close()
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
