"""robosuite's tasks as Gymnasium vector environments: N worlds in one native batch, under robosuite's own controller."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.engine import Engine
from robolearn.sim.engines import step_soundly
from robolearn.sim.episodes import check_world, find_autoreset
from robolearn.sim.robosuite import callbacks
from robolearn.sim.robosuite.actions import AbsoluteInputs, CanonicalInputs, DeltaInputs, Frames, Inputs
from robolearn.sim.robosuite.can import PickPlaceCan
from robolearn.sim.robosuite.host import draw_start, make_host
from robolearn.sim.robosuite.lift import Lift
from robolearn.sim.robosuite.scene import build_model, columns, robots_of
from robolearn.sim.robosuite.sizes import with_sizes_of
from robolearn.sim.robosuite.square import NutAssemblySquare
from robolearn.sim.robosuite.stack import Stack
from robolearn.sim.robosuite.task import Task
from robolearn.sim.robosuite.tool_hang import ToolHang
from robolearn.sim.robosuite.transport import TwoArmTransport
from robolearn.sim.robosuite.view import View
from robolearn.sim.world import Mask, Observation, World
from robolearn.spec import ActionSpec
from robolearn.tasks_robosuite import pose_steps_action, robosuite_spec

if TYPE_CHECKING:
    from robolearn.sim.robosuite.pictures import StatePictures

TASKS: dict[str, type[Task]] = {
    "lift": Lift,
    "stack": Stack,
    "can": PickPlaceCan,
    "square": NutAssemblySquare,
    "tool_hang": ToolHang,
    "transport": TwoArmTransport,
}
_FLOOR = 0.4  # [m] above the ground: a part below has fallen off its table, which is 0.8 m high


class RobosuiteEnv(World):
    """N worlds of one of robosuite's tasks: its physics, controller, starts, observations, rewards and success checks.

    Observation: see :func:`robolearn.tasks_robosuite.robosuite_spec`. Reward: robosuite's, 1 at success; success ends the episode.
    ``info["lost"] (N,)`` says which rows are over without a result, and ``info["reason"] (N,)`` why: a part on the floor terminates,
    physics that failed or an action that is not finite truncates. The step that loses a row shows it as it last was, physics that
    failed as it was before; from then on it stands still, in the model's own state, until it is reset. The others are unharmed.

    Args:
        task: a name in :data:`TASKS`.
        num_envs: rows N.
        input_type: of actions: ``canonical`` (the project's absolute poses), or robosuite's ``delta`` or ``absolute``.
        reward_shaping: robosuite's shaped reward, where it has one.
        max_episode_steps: time limit; reaching it truncates.
        threads: native threads, 0 for every core; the result does not depend on it.
        autoreset: ``disabled`` (the caller resets rows by mask) or ``same_step`` (ended rows restart within the step that
            ended them, their last observation in ``info["final_obs"]``).
        sleep: whether what rests costs nothing; contacts then differ in their last digits.
        options: further arguments of ``robosuite.make``; a ``control_freq`` that does not divide 500 Hz becomes the next higher that
            does, as in robosuite, and ``env_spec.control_hz`` says which.
        recorded: the document of a recording's world, whose objects' sizes this one is to have.
        render_mode: Gymnasium's, ``rgb_array`` or None: what ``render()`` without a row gives.

    Raises:
        UserError: no such task, input type, autoreset or render mode, or a robot or controller that batches are not made for.
    """

    def __init__(
        self,
        task: str,
        num_envs: int,
        *,
        input_type: str = "canonical",
        reward_shaping: bool = False,
        max_episode_steps: int = 400,
        threads: int = 0,
        autoreset: str = "disabled",
        sleep: bool = False,
        options: Mapping[str, Any] | None = None,
        recorded: str | None = None,
        render_mode: str | None = None,
    ) -> None:
        mode = find_autoreset(autoreset)
        check_world(num_envs, max_episode_steps, threads, render_mode)
        self.host = make_host(task, input_type, options)
        self.robots = robots_of(self.host)
        kind = TASKS[task]
        xml = recorded and with_sizes_of(self.host.model.get_xml(), recorded)
        model = build_model(self.host, self.robots, kind.contacts, hidden=kind.hidden, sites=kind.sites, sleep=sleep, xml=xml)
        self._positions, self._velocities = columns(self.host, model)
        self._substeps = int(self.host.control_timestep / model.opt.timestep)  # rounded down, as robosuite does
        self.engine = Engine(model, num_envs, threads)
        self.view = View(self.engine, self.robots, kind.contacts)
        self.task = kind(self.view, self.host)
        self.inputs = inputs_of(task, input_type, self.view)
        rate = 1 / (self._substeps * model.opt.timestep)
        spec = replace(robosuite_spec(task), control_hz=rate, action=_action(task, input_type, self.view))
        self._open(spec, self.engine, max_episode_steps, mode, render_mode)
        self._shaping = reward_shaping
        self._parts = [model.body(body).id for body in kind.parts.values()]
        self._heights = self.engine.view("xpos")[..., 2]
        self._pictures: StatePictures | None = None
        self._settled = self.engine.state[0].copy()

    def _start(self, mask: Mask, seeds: NDArray[np.int64]) -> None:
        self.place(mask, np.array([draw_start(self.host, int(seed)) for seed in seeds[mask]]))
        self._episodes.begin(mask, seeds)

    def place(self, rows: NDArray[np.bool_], qpos: NDArray[np.float64], qvel: NDArray[np.float64] | None = None) -> None:
        """Put ``rows (N,)`` into robosuite's joint positions ``(n, nq)`` and velocities ``(n, nv)``, at rest unless given, as if reset.

        The controller's posture is the arms' present one; the episodes' seeds stay.
        """
        if rows.any():
            self.engine.load(rows, self._settled)
            self.view.qpos[rows] = qpos[:, self._positions]
            if qvel is not None:
                self.view.qvel[rows] = qvel[:, self._velocities]
            self.engine.forward(rows)
            self.view.begin(rows)
            self._episodes.begin(rows, self._episodes.seeds)

    def _judge(self) -> NDArray[np.float64]:
        judged = self.task.judge()
        self._episodes.latch(judged.stages.T, judged.success, ordered=self.task.ordered)
        return np.where(self._episodes.live, judged.shaped if self._shaping else judged.sparse, 0.0)

    def _away(self) -> Mask:
        away: Mask = (self._heights[:, self._parts] < _FLOOR).any(1)
        return away

    def _command(self, actions: NDArray[Any]) -> NDArray[np.bool_]:
        finite = self._episodes.check_actions(actions, self.env_spec.task, self.env_spec.action.size)
        with np.errstate(over="ignore", invalid="ignore"):  # a finite action can ask for more than numbers hold, a turn of 1e155 rad
            goals = self.inputs.goals(np.where(finite[:, None], actions, 0.0), self.view.here())
        finite &= goals.sound
        self.view.command(goals, finite & self._episodes.live)
        return finite

    def _advance(self) -> Mask:
        with callbacks.installed():
            return step_soundly(self.engine, self._substeps, self._episodes.live)

    def observation(self) -> Observation:
        """What the rows show now, without stepping."""
        shown = self.view.proprioception()
        shown["parts_poses"] = self.view.poses(self.task.parts)
        shown["object"] = self.task.objects()
        return {name: shown[name].astype(np.float32) for name in self.env_spec.observation}

    def _draw(self, row: int) -> NDArray[np.uint8]:
        if self._pictures is None:
            from robolearn.sim.robosuite.pictures import StatePictures

            self._pictures = StatePictures(self.env_spec.task)
        return self._pictures.draw(self.engine.state[row])

    def close_extras(self, **kwargs: Any) -> None:
        """Release robosuite's environment, and what draws pictures."""
        self.host.close()
        if self._pictures is not None:
            self._pictures.close()
            self._pictures = None


def inputs_of(task: str, input_type: str, view: View) -> Inputs:
    """What actions of an input type mean to a task's arms."""
    if input_type == "canonical":
        return CanonicalInputs(view.frames, robosuite_spec(task).action)
    settings, arms = view.robots[0].controller, len(view.robots)
    frames = view.frames if _frame(view) == "base" else Frames(np.zeros((arms, 3)), np.tile(np.eye(3), (arms, 1, 1)))
    return AbsoluteInputs(frames) if input_type == "absolute" else DeltaInputs(frames, settings)


def _frame(view: View) -> str:
    return str(view.robots[0].controller.get("input_ref_frame", "base"))


def _action(task: str, input_type: str, view: View) -> ActionSpec:
    """The spec of those actions."""
    settings, arms = view.robots[0].controller, len(view.robots)
    if input_type == "canonical":
        return robosuite_spec(task).action
    if input_type == "absolute":
        low, high = (-2.0,) * 3 + (-np.pi,) * 3 + (-1.0,), (2.0,) * 3 + (np.pi,) * 3 + (1.0,)
    else:
        low, high = ((*np.broadcast_to(np.asarray(settings[f"input_{end}"], float), 6).tolist(), gripper) for end, gripper in _ENDS)
    return pose_steps_action(low, high, arms, "", _frame(view))


_ENDS = (("min", -1.0), ("max", 1.0))
