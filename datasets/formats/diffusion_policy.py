"""Reads diffusion_policy's replay buffers (zarr 2, directory or zip): Push-T, robomimic caches, real robots, UMI."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.checked import checked
from robolearn.datasets.formats.diffusion_policy_layout import Layout, Told, is_float_image
from robolearn.datasets.formats.naming import ASSUMED_HZ, action_spec, control_rate, float_type, storable
from robolearn.datasets.formats.zarr2 import ZarrSource, is_zarr2
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.provenance import describe
from robolearn.spec import ArraySpec, EnvSpec

NAME = "diffusion_policy"
ENDS = "meta/episode_ends"
DERIVATIONS = {
    "next": "the pose and gripper width of the next step; the last step repeats its own",
    "same": "the pose and gripper width of the same step, as UMI's training takes it",
}
_MAX_EPISODE_BYTES = 1 << 33
_SMALL = 64  # numbers of a per-episode array that provenance takes


def recognises(source: Path) -> bool:
    """Whether ``source`` is a zarr directory or zip with ``data/`` and ``meta/episode_ends``."""
    try:
        return is_zarr2(source) and ENDS in ZarrSource(source).array_names()
    except StoreError:
        return False


class DiffusionPolicyReader:
    """An opened replay buffer, read an episode at a time.

    Every array of ``data/`` is an observation, except the action (``action``, or ``action_<robot>_*`` side by side) and
    ``reward``. Numbers stay as they are; images of floats that are whole numbers from 0 to 255 become uint8, which loses nothing.

    Args:
        source: directory or zip, nested or not.
        task: its name; unless given, the file's.
        control_hz: steps a second; unless given, from ``timestamp`` where there is one, else 10 is assumed and said so.
        images: ``auto``: float images as uint8, an error where that would lose something; ``keep``: as they are.
        derive_action: for data without actions (UMI): ``next`` or ``same``, see :data:`DERIVATIONS`; None refuses such data.

    Attributes:
        env_spec: observation, action, rate.
        attrs: notes for the store.
        lost: what a store cannot hold.

    Raises:
        StoreError: the data are incomplete, damaged, pickled, or without actions.
        UserError: an image codec needs a package that is not installed.
    """

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def __init__(
        self,
        source: str | Path,
        *,
        task: str | None = None,
        control_hz: float | None = None,
        images: str = "auto",
        derive_action: str | None = None,
    ) -> None:
        if images not in ("auto", "keep"):
            raise StoreError(f"images takes auto or keep, got {images!r}")
        if derive_action is not None and derive_action not in DERIVATIONS:
            raise StoreError(f"derive_action takes {' or '.join(DERIVATIONS)}, got {derive_action!r}")
        self.source = ZarrSource(source)
        self.ends = self.source.episode_ends(ENDS)
        self.lost: list[str] = []
        told = Told.of(self.source)
        keys = self._step_keys()
        self.layout = Layout.of(self.source, keys, derive_action, told)
        self._float_images = [key for key in self.layout.observations.values() if images == "auto" and self._holds_bytes(key)]
        self._check_sizes()
        self._actions = self._all_actions()
        self._rewards = self._floats(self.layout.reward) if self.layout.reward else None
        self._meta = self._per_episode()
        self._fingerprint = self.source.fingerprint()
        self.env_spec, self.attrs = self._spec(told, task, control_rate(control_hz))
        self._note_videos()

    @property
    def steps(self) -> int:
        """Steps of all episodes."""
        return int(self.ends[-1])

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: an episode holds NaN or a damaged chunk; the message names it.
        """
        for index, end in enumerate(self.ends):
            start = int(self.ends[index - 1]) if index else 0
            yield checked(self._episode(index, start, int(end)), self.env_spec, f"{self.source.path}: episode {index}")

    @np.errstate(over="ignore", invalid="ignore")  # what is not finite is refused by the check, in its own words
    def _episode(self, index: int, start: int, end: int) -> Episode:
        arrays = {name: self._observation(key, start, end) for name, key in self.layout.observations.items()}
        flags = {name: bool(self._meta[name][index]) if name in self._meta else False for name in ("success", "terminated", "truncated")}
        provenance = describe(
            "import",
            format=NAME,
            file=self.source.path.name,
            file_sha256=self._fingerprint,
            original_index=index,
            task=self.env_spec.task,
            **{NAME: self.layout.to_dict(self._float_images)},
        )
        if "success" not in self._meta:
            provenance["outcome"] = "the source does not say"
        if self.layout.derive_action:
            provenance["action_derived"] = f"{self.layout.derive_action}: {DERIVATIONS[self.layout.derive_action]}"
        extra = {name: values[index].tolist() for name, values in self._meta.items() if name not in flags}
        provenance |= {"meta": extra} if extra else {}
        state = self.layout.sim_state
        if self._rewards is None:
            provenance["reward"] = "the source has none: 0"
        return Episode(
            observations={name: arrays[name] for name in self.env_spec.observation},
            extras={name: arrays[name] for name in self.env_spec.extras},
            actions=self._action(start, end),
            rewards=self._rewards[start:end] if self._rewards is not None else np.zeros(end - start, np.float32),
            sim_state=self._sim_state(state, start, end) if state else None,
            provenance=provenance,
            **flags,
        )

    def _observation(self, key: str, start: int, end: int) -> NDArray[Any]:
        values = self.source.rows(key, start, end)
        if key in self._float_images:
            whole = np.nan_to_num(values).clip(0, 255).astype(np.uint8)
            if not np.array_equal(whole, values):
                step = int(np.argmax((whole != values).reshape(len(values), -1).any(1)))
                raise StoreError(
                    f"{self.source.path}: {key} is no whole number of 0 to 255 at step {start + step}; import it with images=keep"
                )
            return whole
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))

    def _sim_state(self, key: str, start: int, end: int) -> NDArray[Any] | None:
        values = self.source.rows(key, start, end)
        return None if np.isnan(values).all() else values

    def _action(self, start: int, end: int) -> NDArray[Any]:
        if self.layout.derive_action != "next":
            return self._actions[start:end]
        return np.concatenate([self._actions[start + 1 : end], self._actions[end - 1 : end]])

    # -- what the arrays are -------------------------------------------------------------------------------------------

    def _step_keys(self) -> list[str]:
        """The arrays of ``data/`` that hold numbers, each complete and of exactly the length the episodes need."""
        keys = []
        for key in sorted(name for name in self.source.array_names() if name.startswith("data/")):
            header = self.source.header(key)
            if not storable(header.dtype):
                self.lost.append(f"{key}: a store holds numbers, this is {header.dtype}")
                continue
            if header.shape[:1] != (self.steps,) or 0 in header.shape:
                raise StoreError(f"{self.source.path}: {key} has shape {list(header.shape)}, the episodes end at step {self.steps}")
            self.source.require_chunks(key)
            keys.append(key)
        return keys

    def _check_sizes(self) -> None:
        headers = [self.source.header(key) for key in self.layout.observations.values()]
        row = sum(int(np.prod(header.shape[1:], dtype=object)) * header.dtype.itemsize for header in headers)
        longest = int(np.diff(self.ends, prepend=0).max())
        if row * longest > _MAX_EPISODE_BYTES:
            raise StoreError(f"{self.source.path} claims an episode of {longest} steps of {row} bytes, more than is read at a time")

    def _holds_bytes(self, key: str) -> bool:
        """Whether float images are whole numbers of 0 to 255, by the first frame; each one is checked when it is read."""
        if not is_float_image(self.source.header(key)):
            return False
        first = self.source.rows(key, 0, 1)
        return bool(np.isfinite(first).all() and (first == np.round(first)).all() and first.min() >= 0 and 1 < first.max() <= 255)

    def _all_actions(self) -> NDArray[Any]:
        """Actions ``(T, A)``, or what they are derived from."""
        return np.concatenate([self._floats(key).reshape(self.steps, -1) for key in self.layout.actions], axis=1)

    def _floats(self, key: str) -> NDArray[Any]:
        values = self.source.rows(key, 0, self.steps)
        return values.astype(float_type(values.dtype))

    def _per_episode(self) -> dict[str, NDArray[Any]]:
        """Small arrays of ``meta/`` with an entry per episode."""
        found = {}
        for name in sorted(name for name in self.source.array_names() if name.startswith("meta/") and name != ENDS):
            header = self.source.header(name)
            if header.shape[:1] != self.ends.shape or np.prod(header.shape[1:], dtype=object) > _SMALL or header.dtype.kind not in "biufU":
                self.lost.append(f"{name}: {header.dtype} of shape {list(header.shape)} is not small numbers or text per episode")
            else:
                found[name.removeprefix("meta/")] = self.source.read(name, every_chunk=True)
        return found

    def _spec(self, told: Told, task: str | None, control_hz: float | None) -> tuple[EnvSpec, dict[str, Any]]:
        """The spec of the arrays, in the words that an export of robolearn left in the attributes where there are some."""
        observation = {}
        for name, key in self.layout.observations.items():
            header = self.source.header(key)
            observation[name] = ArraySpec(header.shape[1:], "uint8" if key in self._float_images else header.dtype.name)
        words = told.spec
        if words is not None:
            told.require(observation, self._actions.shape[1])
            observation = dict(words.observation)
        found = action_spec(self.layout.channels, self._actions.min(0), self._actions.max(0), self._actions.dtype.name)
        action = replace(words.action, dtype=found.dtype) if words else found
        measured = words.control_hz if words else self._measured_hz()
        attrs = {} if control_hz or measured else {"control_hz_assumed": ASSUMED_HZ}
        name = task or (words.task if words else re.sub(r"(\.zarr|\.zip|\.hdf5)+$", "", self.source.path.resolve().name))
        stages, extras = (words.stages, words.extras) if words else ((), {})
        reward = self._rewards.dtype.name if self._rewards is not None else "float32"
        return EnvSpec(name, observation, action, control_hz or measured or ASSUMED_HZ, stages, extras, reward), attrs

    def _measured_hz(self) -> float | None:
        """Rate of the array ``timestamp`` [s] within episodes."""
        if "data/timestamp" not in self.layout.observations.values():
            return None
        times = self.source.rows("data/timestamp", 0, self.steps).reshape(self.steps, -1)[:, 0].astype(np.float64)
        inside = np.ones(max(self.steps - 1, 0), bool)
        inside[self.ends[:-1] - 1] = False
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.diff(times)[inside]
        period = float(np.median(steps)) if len(steps) and np.isfinite(steps).all() else 0.0
        return round(1 / period, 3) if 1e-6 < period < 1e3 else None

    def _note_videos(self) -> None:
        """Videos of real robots lie in files beside the buffer; their frames are not aligned with its steps."""
        videos = sorted(name for name in self.source.files.names if re.fullmatch(r"(.*/)?videos/\d+/\d+\.mp4", name))
        if self.source.path.is_dir() and not self.source.prefix:
            videos += sorted(f"../videos/{file.parent.name}/{file.name}" for file in self.source.path.parent.glob("videos/*/*.mp4"))
        if videos:
            self.lost.append(f"{len(videos)} videos, first {videos[0]}: frames of videos are not imported")
