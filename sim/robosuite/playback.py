"""People's recordings of robosuite's tasks played back: by their states, and by their actions as absolute goals."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.robosuite.actions import DeltaInputs, Goals
from robolearn.sim.robosuite.env import RobosuiteEnv

Array = NDArray[np.float64]


def solved_in(env: RobosuiteEnv, states: Array) -> NDArray[np.bool_]:
    """Whether robosuite calls each recorded state ``(T, 1 + nq + nv)`` (time, positions, velocities) a success, ``(T,)``."""
    solved = [env.task.judge().success[:count].copy() for count in _placed(env, states)]
    return np.concatenate(solved)


def canonical_actions(env: RobosuiteEnv, states: Array, actions: Array) -> NDArray[np.float32]:
    """Recorded deltas ``(T, A * 7)`` as absolute poses ``(T, A * 10)``: where each wanted to go from where the arm was, at ``states``.

    Deltas themselves lead elsewhere in another version of robosuite or MuJoCo, whose arm follows them differently.

    Args:
        env: of canonical actions, with the controllers' settings of the recording.
        states: (T, 1 + nq + nv), each before its action.
        actions: as recorded.
    """
    deltas = DeltaInputs(env.view.frames, env.robots[0].controller)
    found, begin = [], 0
    for count in _placed(env, states):
        padded = np.zeros((env.num_envs, actions.shape[1]))
        padded[:count] = actions[begin : begin + count]
        here = env.view.here()
        goals = deltas.goals(padded, Goals(here.position.copy(), here.rotation.copy(), here.gripper.copy()))
        found.append(env.inputs.actions(goals, here)[:count])
        begin += count
    whole: NDArray[np.float32] = np.concatenate(found).astype(np.float32)
    return whole


def _placed(env: RobosuiteEnv, states: Array) -> Iterator[int]:
    """Put states into the environment's rows, as many at a time as it has; yields how many."""
    positions = env.host.sim.model._model.nq
    for begin in range(0, len(states), env.num_envs):
        block = states[begin : begin + env.num_envs]
        rows = np.arange(env.num_envs) < len(block)
        env.place(rows, block[:, 1 : 1 + positions], block[:, 1 + positions :])
        yield len(block)


def with_sizes_of(host: Any, recorded: str) -> str:
    """The document of robosuite's environment with the sizes that free objects have in a recording's, of whichever version.

    Robots and tables are named and drawn differently from version to version; objects come in the same order.

    Args:
        host: robosuite's environment of the task.
        recorded: the document beside the recording.

    Raises:
        ValueError: it has other objects.
    """
    now = ET.fromstring(host.model.get_xml())
    ours, theirs = _free_bodies(now), _free_bodies(ET.fromstring(recorded))
    if len(ours) != len(theirs):
        raise ValueError(f"the recording has {len(theirs)} free objects, the task {len(ours)}")
    for our, their in zip(ours, theirs, strict=True):
        sizes = [geom.get("size") for geom in their.iter("geom") if geom.get("contype") != "0" and geom.get("size")]
        solid = [geom for geom in our.iter("geom") if geom.get("size")]
        if len(set(sizes)) == 1 and sizes[0] is not None:  # one size for the solid and what is seen of it
            for geom in solid:
                geom.set("size", sizes[0])
    return ET.tostring(now, encoding="unicode")


def _free_bodies(root: ET.Element) -> list[ET.Element]:
    def is_free(body: ET.Element) -> bool:
        return body.find("freejoint") is not None or any(joint.get("type") == "free" for joint in body.findall("joint"))

    return [body for body in root.iter("body") if is_free(body)]
