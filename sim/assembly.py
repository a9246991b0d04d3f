"""Any assembly task as a Gymnasium vector environment: N worlds in one native batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import check_share
from robolearn.sim.catalog import find_task
from robolearn.sim.controllers import control_from_action
from robolearn.sim.dynamics import Dynamics
from robolearn.sim.engine import Engine
from robolearn.sim.engines import make_engine, step_soundly
from robolearn.sim.episodes import check_world, find_autoreset
from robolearn.sim.extras import Extras, split_extras
from robolearn.sim.images import Images
from robolearn.sim.looks import cameras_of
from robolearn.sim.mover import Mover
from robolearn.sim.pushes import Pushes
from robolearn.sim.randomize import DynamicsRanges, Randomization, find_ranges
from robolearn.sim.scene import build_mjcf, build_model
from robolearn.sim.screw import Screws
from robolearn.sim.spin import Brake
from robolearn.sim.starts import draw_starts
from robolearn.sim.task import Task
from robolearn.sim.view import View, settled_state
from robolearn.sim.world import Mask, Observation, World

if TYPE_CHECKING:
    from robolearn.sim.render import SceneRenderer

_HALVINGS = 4
_FAR = 1.2  # [m] from the robot's base: beyond the table


class Assembly(World):
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
        mode = find_autoreset(autoreset)
        self.task = find_task(task)
        self.task.check_level(randomness)
        most = self.task.horizon if max_episode_steps is None else max_episode_steps
        check_world(num_envs, most, threads, render_mode)
        check_share(high=float("inf"), push_force=push_force)
        self._randomness = randomness
        more, cameras = split_extras(extras, cameras_of(self.task.arms))
        touch = "finger_force" in more
        model = build_model(self.task, touch=touch)
        rows = make_engine(engine, model, lambda: build_mjcf(self.task, touch=touch), num_envs, threads)
        self._view = View(rows, self.task)
        ranges = find_ranges(randomize)
        self._dynamics = Dynamics(rows, self.task, ranges.dynamics) if ranges.dynamics != DynamicsRanges() else None
        self._extras = Extras(more, rows, self._view)
        self._images = Images(cameras, image_size, image_quality, self.task, self._view, ranges.looks)
        shown = {**self.task.spec().observation, **self._extras.specs, **self._images.specs}
        self._open(replace(self.task.spec(), observation=shown), rows, most, mode, render_mode)
        self._goals = self.task.goals()
        sockets = self.task.sockets()
        self._screws = Screws(rows, sockets) if thread and sockets else None
        self._pushes = Pushes(rows, self.task.parts, push_force) if push_force else None
        self._brake = Brake(rows, self.task.parts)
        self._ctrl = rows.view("ctrl")[:, : 9 * len(self.task.arms)]  # the tools' and the fingers', see ServoGains.joints
        self._settled = settled_state(Engine(model, 1, 1), self.task, randomness)
        self._heights = self._view.heights_in(self._settled)
        self._stages = self._episodes.stages
        self._assembled = np.zeros((num_envs, len(self._goals)), bool)  # at some time in the episode
        self._held = np.zeros(num_envs, np.int64)  # steps since all goals are reached
        self._renderer: SceneRenderer | None = None

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

    def _start(self, mask: Mask, seeds: NDArray[np.int64]) -> None:
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

    def _command(self, actions: NDArray[Any]) -> NDArray[np.bool_]:
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

    def _advance(self) -> Mask:
        if self._pushes is not None:
            self._pushes.apply(self._episodes.seeds, self._episodes.steps)
        self._images.outdate(self._episodes.live)
        failed = step_soundly(self._engine, self.task.physics.substeps, self._episodes.live)
        self._brake.apply()
        return failed

    def _judge(self) -> NDArray[np.float64]:
        if self._screws is not None:
            self._screws.update(self._view.pairs(self._screws.pairs))
        now = np.stack([goal.reached(self._view.relative(goal.child, goal.parent)) for goal in self._goals], 1)  # (N, G)
        now &= self._episodes.live[:, None]  # a row that is lost comes to nothing any more
        if self.task.ordered:
            now &= np.concatenate([np.ones((self.num_envs, 1), bool), np.logical_and.accumulate(self._assembled, 1)[:, :-1]], 1)
        self._held = np.where(now.all(1), self._held + 1, 0)
        done = self._held > self.task.hold_steps
        if self.task.hold_steps:  # a pair counts alone, the last of them when all have stayed
            now &= ~now.all(1, keepdims=True) | done[:, None]
        reward: NDArray[np.float64] = (now & ~self._assembled).sum(1).astype(np.float64)
        self._assembled |= now
        self._episodes.latch(self.task.stages(self._view, self._screws), done)
        return reward

    def _away(self) -> Mask:
        away: Mask = ~(np.abs(self._view.parts[..., :3]) < _FAR).all((1, 2))
        return away

    def _settle(self, lost: Mask) -> None:
        super()._settle(lost)
        self._images.outdate(lost)

    def observation(self) -> Observation:
        """What the rows show now, without stepping."""
        return {**self._view.observation(), **self._extras.observation(), **self._images.observation()}

    def _memory(self) -> list[NDArray[Any]]:
        memory = super()._memory()  # see :attr:`robolearn.sim.task.Task.memory`
        if len(self._goals) > 1:
            memory.append(self._assembled)
        if self.task.hold_steps:
            memory.append(self._held[:, None])
        if self._dynamics is not None:
            memory.append(self._dynamics.pending)
        return memory

    def _restored(self, rows: Mask) -> None:
        self._vary(rows, self._episodes.seeds)
        if len(self._goals) == 1:
            self._assembled[rows] = self._stages[rows, -1:]

    @property
    def mover(self) -> Mover:
        """What puts parts and the tool elsewhere."""
        return Mover(self._engine, self._view, self._images.outdate)

    def _draw(self, row: int) -> NDArray[np.uint8]:
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
