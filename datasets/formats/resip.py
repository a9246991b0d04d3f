"""Reads the flat zarr (format 2) of JUICER and ResiP: FurnitureSim teleoperation, converted to robolearn's words and frames."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.checked import checked
from robolearn.datasets.formats.rotation_labels import RotationRepair
from robolearn.datasets.formats.zarr2 import ZarrSource, is_zarr2
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.provenance import describe
from robolearn.rotation import matrix_from_quaternion, orthonormalize_rot6d, rot6d_from_matrix
from robolearn.spec import EnvSpec
from robolearn.tasks import ONE_LEG_PARTS, env_spec_of

NAME = "resip"
# robot_state: position 3, rot6d 6, linear velocity 3, angular velocity 3, gripper width 1.
ROBOT_STATE = {
    "tcp_pos": slice(0, 3),
    "tcp_rot6d": slice(3, 9),
    "tcp_linvel": slice(9, 12),
    "tcp_angvel": slice(12, 15),
    "gripper_width": slice(15, 16),
}
PARTS = {"one_leg": len(ONE_LEG_PARTS)}
REQUIRED = ("robot_state", "parts_poses", "action/pos", "episode_ends")
# Part poses are given in the frame of the table's AprilTag: p_base = BASE_FROM_TAG p_tag + TAG_IN_BASE.
BASE_FROM_TAG = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, -1.0]])
TAG_IN_BASE = np.array([0.3015, 0.0, 0.0])  # [m]


def recognises(source: Path) -> bool:
    """Whether ``source`` is a zarr directory or zip with these arrays at its root."""
    try:
        return is_zarr2(source) and set(REQUIRED) <= ZarrSource(source).array_names()
    except StoreError:
        return False


class ResipReader:
    """An opened data set of one task.

    Args:
        source: directory or ``.zarr.zip``, nested or not.
        repair_rotation: undo the scaling of the rotation labels (see :class:`RotationRepair`).
        repair_method: how, ``rescale`` or ``achieved``.
        response: share of a commanded rotation achieved in one control step.
        max_relabel: largest commanded rotation of one step after the repair [rad].

    Raises:
        StoreError: the data are incomplete, damaged, of an unknown task, or stored as pickles.
    """

    def __init__(
        self,
        source: str | Path,
        *,
        repair_rotation: bool = True,
        repair_method: str = "rescale",
        response: float = 0.6,
        max_relabel: float = 0.35,
    ) -> None:
        self.repair = RotationRepair(repair_method, response, max_relabel) if repair_rotation else None
        self.source = ZarrSource(source)
        self.source.require(REQUIRED)
        self.env_spec: EnvSpec = env_spec_of(self._task())
        self.ends = self.source.episode_ends("episode_ends")
        poses = PARTS[self.env_spec.task]
        self._state = self._steps("robot_state", 16)
        self._parts = self._steps("parts_poses", 7 * poses).reshape(-1, poses, 7)
        self._actions = self._steps("action/pos", self.env_spec.action.size)
        names = self.source.array_names()
        self._rewards = self._steps("reward", None) if "reward" in names else None
        self._success = self._per_episode("success") if "success" in names else None
        self._fingerprint = self.source.fingerprint()

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: an episode holds NaN or leaves the format; the message names it.
        """
        for index, end in enumerate(self.ends):
            start = int(self.ends[index - 1]) if index else 0
            yield checked(self._episode(index, start, int(end)), self.env_spec, f"{self.source.path}: episode {index}")

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def _episode(self, index: int, start: int, end: int) -> Episode:
        steps = slice(start, end)
        state, actions = self._state[steps], self._actions[steps].astype(np.float64)
        provenance = describe(
            "import",
            recorded_by="teleop",
            format=NAME,
            file=self.source.path.name,
            file_sha256=self._fingerprint,
            original_index=index,
            task=self.env_spec.task,
        )
        success = self._is_success(index, steps)
        if self.repair is not None:
            actions[:, 3:9], provenance["rotation_repair"] = self.repair(state[:, 3:9].astype(np.float64), actions[:, 3:9])
        else:
            actions[:, 3:9] = orthonormalize_rot6d(actions[:, 3:9])
        if self._rewards is not None:
            rewards = self._rewards[steps].astype(np.float32)
        else:
            rewards = np.zeros(end - start, np.float32)
            rewards[-1] = float(success)
            provenance["reward"] = "the source has none: 1 at the last step of a success"
        observations = {name: state[:, columns].astype(np.float32) for name, columns in ROBOT_STATE.items()}
        observations["parts_poses"] = _parts_in_base(self._parts[steps], index, self.source.path)
        return Episode(
            observations=observations,
            actions=actions.astype(np.float32),
            rewards=rewards,
            terminated=success,
            truncated=False,
            success=success,
            provenance=provenance,
        )

    def _is_success(self, index: int, steps: slice) -> bool:
        if self._success is not None:
            return bool(self._success[index])
        return self._rewards is not None and bool(self._rewards[steps].max() > 0)

    def _task(self) -> str:
        """The one task of the data, from ``furniture`` or ``task``."""
        names = self.source.array_names()
        words: set[str] = set()
        for name in ("furniture", "task"):
            if name in names:
                words |= {str(word) for word in self.source.read(name)}
        words |= {str(self.source.attrs["task"])} if not words and "task" in self.source.attrs else set()
        known = sorted(word for word in words if word in PARTS)
        if len(words) != 1 or not known:
            found = ", ".join(sorted(words)) or "of unknown name"
            raise StoreError(f"{self.source.path} holds tasks {found}; one of {', '.join(PARTS)} can be imported at a time")
        return known[0]

    def _steps(self, name: str, width: int | None) -> NDArray[Any]:
        """A per-step array ``(T, width)``, or ``(T,)``, of exactly the length the episodes need."""
        values = self.source.read(name, every_chunk=width is not None)
        expected = (int(self.ends[-1]), *([width] if width else []))
        if tuple(values.shape) != expected or values.dtype.kind not in "fiu":
            raise StoreError(f"{self.source.path}: {name} is {values.dtype} {tuple(values.shape)}, expected numbers of shape {expected}")
        return values

    def _per_episode(self, name: str) -> NDArray[Any]:
        values = self.source.read(name)
        if values.shape != self.ends.shape:
            raise StoreError(f"{self.source.path}: {name} has shape {values.shape} for {len(self.ends)} episodes")
        return values


def _parts_in_base(poses: NDArray[Any], index: int, path: Path) -> NDArray[np.float32]:
    """Poses in the tag frame, quaternion xyzw ``(T, P, 7)`` -> position and rot6d in the base frame ``(T, P * 9)``."""
    poses = poses.astype(np.float64)
    norms = np.linalg.norm(poses[..., 3:], axis=-1)
    if not (np.abs(norms - 1) < 0.01).all():
        raise StoreError(
            f"{path}: episode {index}: parts_poses holds quaternions of length {norms.min():.3g} to {norms.max():.3g}, expected 1"
        )
    position = poses[..., :3] @ BASE_FROM_TAG.T + TAG_IN_BASE
    rotation = BASE_FROM_TAG @ matrix_from_quaternion(poses[..., [6, 3, 4, 5]])
    parts: NDArray[np.float32] = np.concatenate([position, rot6d_from_matrix(rotation)], -1).astype(np.float32)  # (T, P, 9)
    return parts.reshape(len(parts), -1)
