"""People's recordings of robosuite's tasks in a batched world: their states, and their actions as absolute goals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.recordings import Recording
from robolearn.sim.robosuite.env import RobosuiteEnv, inputs_of
from robolearn.sim.robosuite.env_args import environment_of, input_type_of
from robolearn.sim.robosuite.sizes import object_sizes


def worlds(
    env_args: Mapping[str, Any], recordings: Sequence[Recording], num_envs: int, threads: int = 0
) -> Iterator[tuple[list[int], Playback]]:
    """Worlds for recordings of one task, each with the indices of those whose objects have its sizes; open until the next is asked for.

    Args:
        env_args: robomimic's words for the task.
        recordings: to play.
        num_envs: most rows of a world.
        threads: native threads, 0 for every core.

    Raises:
        UserError: see :func:`environment_of`; or a recording's model has other objects than the task.
    """
    groups: dict[Any, list[int]] = {}
    for index, recording in enumerate(recordings):
        groups.setdefault(recording.model and object_sizes(recording.model), []).append(index)
    for indices in groups.values():
        rows = min(num_envs, len(indices))
        env = environment_of(env_args, rows, input_type="canonical", threads=threads, recorded=recordings[indices[0]].model)
        try:
            yield indices, Playback(env, input_type_of(env_args))
        finally:
            env.close()


class Playback:
    """A world of canonical actions that understands recordings.

    Args:
        env: with the controllers' settings of the recordings.
        input_type: of the recordings' actions, ``delta`` or ``absolute``.
    """

    def __init__(self, env: RobosuiteEnv, input_type: str) -> None:
        self.env = env
        self._recorded = inputs_of(env.env_spec.task, input_type, env.view)

    def episode(self, recording: Recording) -> tuple[Episode, NDArray[np.bool_]]:
        """A recording in the world's words, and the stages that each state is in, ``(T, S)``.

        Its actions say where each wanted to go from where the arm was. Deltas themselves lead elsewhere in another version of robosuite or
        MuJoCo, whose arm follows them differently.

        Raises:
            UserError: states or actions of another world.
        """
        env, found = self.env, dict[str, list[NDArray[Any]]]()
        self._check(recording)
        for rows, begin in self._placed(recording.states):
            count, here = int(rows.sum()), env.view.here()
            padded = np.zeros((env.num_envs, recording.actions.shape[1]))
            padded[:count] = recording.actions[begin : begin + count]
            judged = env.task.judge()
            shown = {
                "actions": env.inputs.actions(self._recorded.goals(padded, here), here).astype(np.float32),
                "rewards": judged.sparse.astype(np.float32),
                "stages": np.concatenate([judged.stages, judged.success[:, None]], 1),
                "sim_state": env.get_state(),
                **{f"observation/{name}": values for name, values in env.observation().items()},
            }
            for name, values in shown.items():
                found.setdefault(name, []).append(values[:count].copy())
        whole = {name: np.concatenate(parts) for name, parts in found.items()}
        observations = {name.removeprefix("observation/"): values for name, values in whole.items() if name.startswith("observation/")}
        success = bool(whole["stages"][:, -1].any())
        ending = {"terminated": success, "truncated": False, "success": success, "sim_state": whole["sim_state"]}
        return Episode(observations, whole["actions"], whole["rewards"], **ending), whole["stages"]

    def _check(self, recording: Recording) -> None:
        model, name = self.env.host.sim.model._model, f"{recording.name} of {type(self.env.host).__name__}"
        for what, came, expected in (
            ("states", recording.states.shape[1], 1 + model.nq + model.nv),
            ("actions", recording.actions.shape[1], 7 * len(self.env.robots)),
        ):
            if came != expected:
                raise UserError(f"{name}: {what} have {came} numbers a step, those of the task here {expected}")

    def _placed(self, states: NDArray[np.float64]) -> Iterator[tuple[NDArray[np.bool_], int]]:
        """Put states ``(T, 1 + nq + nv)`` (time, positions, velocities) into rows, as many as there are; yields rows and first step."""
        env, positions = self.env, self.env.host.sim.model._model.nq
        for begin in range(0, len(states), env.num_envs):
            block = states[begin : begin + env.num_envs]
            rows = np.arange(env.num_envs) < len(block)
            env.place(rows, block[:, 1 : 1 + positions], block[:, 1 + positions :])
            yield rows, begin
