"""What a robosuite task is to a batch: the contacts it asks for, its objects as robosuite shows them, and how a state is judged."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, quaternion_from_matrix
from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.view import Array, View, xyzw

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Judgement:
    """How N states are doing.

    Args:
        success: (N,) as robosuite checks it.
        sparse: (N,) robosuite's reward without shaping.
        shaped: (N,) and with it; the sparse one where robosuite has none.
        stages: (N, S) what of the task's stages is the case now, all but the last, which is ``success``.
    """

    success: Mask
    sparse: Array
    shaped: Array
    stages: Mask


class Task(ABC):
    """One of robosuite's tasks over the rows of a :class:`View`.

    Args:
        view: the rows.
        host: robosuite's environment, for its constants.
    """

    parts: ClassVar[Mapping[str, str]]  # {name in the spec: body}
    hidden: ClassVar[tuple[str, ...]] = ()  # bodies that robosuite parks beside the world
    contacts: ClassVar[Contacts]
    sites: ClassVar[tuple[str, ...]] = ()  # whose place is asked for
    ordered: ClassVar[bool] = True  # whether a stage counts only after the one before it

    def __init__(self, view: View, host: Any) -> None:
        self.view, self.host = view, host

    @abstractmethod
    def judge(self) -> Judgement:
        """How the present states are doing."""

    @abstractmethod
    def objects(self) -> Array:
        """What robosuite calls ``object-state``, and, which robomimic calls ``object``: ``(N, K)``."""

    def grasped(self, name: str = "") -> Mask:
        """Whether both pads of a gripper touch what :func:`grasp` named, ``(N,)``."""
        return self.view.touching(f"left{name}") & self.view.touching(f"right{name}")

    def distance(self, target: Array) -> Array:
        """From the tool to a point of the world ``(N, 3)``: ``(N,)`` [m]."""
        distance: Array = np.linalg.norm(target - self.view.tool(), axis=1)
        return distance

    def relative(self, position: Array, quaternion: Array) -> tuple[Array, Array]:
        """A pose ``(N, 3), (N, 4)`` (wxyz) as the hand sees it; the quaternion in robosuite's order, its w not negative."""
        hand = matrix_from_quaternion(self.view.hand_quaternion()).swapaxes(-1, -2)
        seen = (hand @ (position - self.view.tool())[..., None])[..., 0]
        return seen, xyzw(quaternion_from_matrix(hand @ matrix_from_quaternion(quaternion)))


def grasp(body: str, name: str = "", gripper: str = "gripper0_right") -> dict[str, list[tuple[str, str]]]:
    """The two contacts that robosuite calls a grasp of a body."""
    return {f"{side}{name}": [(f"{gripper}_finger{finger}_pad_collision", body)] for side, finger in (("left", 1), ("right", 2))}


def stack_stages(*stages: Mask) -> Mask:
    """``(N,)`` each: ``(N, S)``."""
    return np.stack(stages, 1)


def nearness(distance: Array, scale: float = 10.0) -> Array:
    """One of robosuite's terms of rewards: ``1 - tanh(scale * distance)``."""
    near: Array = 1 - np.tanh(scale * distance)
    return near
