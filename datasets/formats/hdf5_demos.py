"""Demonstrations in HDF5 groups ``data/demo_<i>``, as robosuite records them and robomimic trains on them, one episode at a time."""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.checked import checked
from robolearn.datasets.formats.hdf5 import Hdf5Source
from robolearn.datasets.formats.hdf5_plan import ACTIONS, NEXT_OBSERVATION, OBSERVATION, REWARDS, Demo, make_plan
from robolearn.datasets.formats.hdf5_survey import Survey, parsed
from robolearn.datasets.formats.json_values import pack
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.spec import ActionSpec, EnvSpec, SpecError

NOTE = "robolearn"  # the attribute in which an export keeps what the format has no place for
_SAID = ("note", "failure_step", "bottlenecks")  # what people said of an episode, which goes on being said of it
DEFAULT_HZ = 20.0  # robosuite's, where a file does not say
_SMALL_FRAME = 1 << 16  # bytes of a last observation that the provenance holds


class Hdf5Demos(ABC):
    """What the two formats share; a subclass says what the attributes of ``data`` mean.

    Args:
        path: the file.
        filter_key: only the demonstrations that ``mask/<filter_key>`` lists.
        missing: ``skip`` leaves out demonstrations that are damaged or lack what the first one has; ``error`` names them.

    Attributes:
        env_spec: observations as in ``obs``, actions in the source's own meaning; other per-step arrays are extras.
        attrs: ``hdf5``: the file's SHA-256, all attributes outside demonstrations, the path that each array came from.
        missing: what was skipped.
        lost: what a store cannot hold.

    Raises:
        StoreError: damaged, incomplete, or claims what no file holds; the message names file and key.
    """

    format_name: ClassVar[str]

    def __init__(self, path: str | Path, *, filter_key: str | None = None, missing: str = "error") -> None:
        self.source = Hdf5Source(self._file(Path(path)))
        self.missing: list[str] = []
        self.lost: list[str] = []
        self._skip = missing == "skip"
        with self.source.open() as file:
            survey = Survey(self.source, file, self._leave_out, self._without_actions)
            self._masks = survey.masks
            self._demos = survey.demos(survey.chosen(filter_key))
            self._note = self._own_note(survey.data)
            self._facts = self._read_facts(survey.data)
            low, high = self._action_range(survey.data)
        self._plan = make_plan(self._demos, {path: name for name, path in self._note.get("names", {}).items()})
        self.lost += survey.lost + self._plan.lost
        self.env_spec = self._spec(low, high)
        self.attrs: dict[str, Any] = {
            "hdf5": {
                "format": self.format_name,
                "sha256": self.source.fingerprint(),
                "attrs": survey.attrs,
                "names": {**self._plan.observation, **self._plan.extras},
                "filter_keys": sorted(self._masks),
                "environment": self._facts["environment"],
            }
        }

    def __len__(self) -> int:
        return len(self._demos)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes by the numbers of their demonstrations, each checked against the spec."""
        for index, demo in enumerate(self._demos):
            try:
                with self.source.open() as file:
                    episode = self._episode(file[f"data/{demo.name}"], demo, index)
                checked(episode, self.env_spec, f"{self.source.path}: {demo.name}")
            except StoreError as error:
                self._leave_out(demo.name, error)
                continue
            yield episode

    # -- what a subclass says ----------------------------------------------------------------------------------------

    def _file(self, path: Path) -> Path:
        return path

    @abstractmethod
    def _read_facts(self, data: Any) -> dict[str, Any]:
        """``task``, ``control_hz``, ``success_reward`` (the least reward that means success), ``environment`` (more to note)."""

    def _demo_provenance(self, group: Any) -> dict[str, Any]:
        """More of one demonstration's origin."""
        return {}

    def _without_actions(self, names: Iterable[str]) -> str:
        """More to say where a demonstration has no actions, but arrays of these names."""
        return ""

    # -- what the whole file says ------------------------------------------------------------------------------------

    def _leave_out(self, name: str, error: StoreError) -> None:
        if not self._skip:
            raise StoreError(f"{error} (missing=skip leaves such demonstrations out)") from error
        self.missing.append(f"{name}: {error}")

    def _own_note(self, data: Any) -> dict[str, Any]:
        """What :mod:`robomimic_write` noted of a store that was not robomimic's before; empty where it is no such thing."""
        note = parsed(self.source.attribute(data, NOTE))
        names = note.get("names")
        return note if isinstance(names, dict) and all(isinstance(path, str) for path in names.values()) else {}

    def _action_range(self, data: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Smallest and largest action of each channel, ``(A,)``; damaged and unreal ones are left for later."""
        low = np.full(self._demos[0].arrays[ACTIONS].shape[1], np.inf)
        high = -low
        for demo in self._demos:
            try:
                actions = self.source.numbers(data[f"{demo.name}/{ACTIONS}"]).astype(np.float64)
            except Exception:  # reading the episode will say what is wrong
                continue
            actions = actions[np.isfinite(actions).all(1)]
            low, high = np.minimum(low, actions.min(0, initial=np.inf)), np.maximum(high, actions.max(0, initial=-np.inf))
        return low, high

    def _spec(self, low: NDArray[Any], high: NDArray[Any]) -> EnvSpec:
        first = self._demos[0].arrays
        inside = bool((low >= -1).all() and (high <= 1).all()) or not np.isfinite([low, high]).all()
        if inside:
            low, high = -np.ones(len(low)), np.ones(len(low))
        channels = tuple(f"a{number}" for number in range(len(low)))
        derived = EnvSpec(
            task=self._facts["task"],
            observation={name: first[path].step for name, path in self._plan.observation.items()},
            action=ActionSpec(channels, tuple(low.tolist()), tuple(high.tolist()), frame="", dtype=first[ACTIONS].dtype),
            control_hz=self._facts["control_hz"],
            extras={name: first[path].step for name, path in self._plan.extras.items()},
            reward_dtype=first[REWARDS].dtype if self._plan.rewards else "float32",
        )
        return self._as_noted(derived)

    def _as_noted(self, derived: EnvSpec) -> EnvSpec:
        """The spec that an export noted, where the arrays are still as it says."""
        try:
            noted = EnvSpec.from_dict(self._note["env_spec"])
            same = _bare(noted.observation) == _bare(derived.observation) and noted.action.size == derived.action.size
            limits = np.array([noted.action.low, noted.action.high], float)
            good = same and bool(np.isfinite(limits).all()) and 0 < noted.control_hz < math.inf and isinstance(noted.task, str)
            json.dumps(noted.to_dict())
        except (KeyError, SpecError, TypeError, ValueError):
            return derived
        action = replace(noted.action, dtype=derived.action.dtype)
        return replace(noted, action=action, extras=derived.extras, reward_dtype=derived.reward_dtype) if good else derived

    # -- one episode -------------------------------------------------------------------------------------------------

    def _episode(self, group: Any, demo: Demo, index: int) -> Episode:
        plan = self._plan
        arrays = {
            path: self._array(group, demo, path) for path in (*plan.observation.values(), *plan.extras.values(), *demo.states, ACTIONS)
        }
        rewards = self._array(group, demo, REWARDS) if plan.rewards else None
        if rewards is not None and not np.isfinite(rewards).all():
            raise StoreError(f"{self.source.path}: {demo.name}: rewards hold NaN or infinity")
        provenance: dict[str, Any] = {
            "source": "import",
            "format": self.format_name,
            "file": self.source.path.name,
            "original_index": index,
            "original_name": demo.name,
            "task": self.env_spec.task,
            "filter_keys": [key for key, names in sorted(self._masks.items()) if demo.name in names],
            "attrs": self._attributes(group, demo),
            "arrays": {path: pack(self._array(group, demo, path)) for path in plan.notes(demo)},
            "next_obs": self._last_observations(group, demo, arrays),
            **self._demo_provenance(group),
        }
        provenance["states"] = [[path, demo.arrays[path].dtype, list(demo.arrays[path].shape[1:])] for path in demo.states]
        if rewards is None:
            provenance["reward"] = "the source has none: 0 at every step"
        ending = self._ending(group, rewards, arrays, provenance)
        return Episode(
            observations={name: arrays[path] for name, path in plan.observation.items()},
            actions=arrays[ACTIONS],
            rewards=np.zeros(demo.steps, np.float32) if rewards is None else rewards,
            sim_state=self._sim_state(arrays, demo),
            provenance={key: value for key, value in provenance.items() if value not in ({}, [])},
            extras={name: arrays[path] for name, path in plan.extras.items()},
            **ending,
        )

    def _array(self, group: Any, demo: Demo, path: str) -> NDArray[Any]:
        try:
            values = self.source.numbers(group[path])
        except Exception as error:  # h5py raises many kinds for damaged bytes
            raise StoreError(f"{self.source.path}: {demo.name}/{path} cannot be read: {' '.join(str(error).split())}") from error
        if values.shape != demo.arrays[path].shape:
            raise StoreError(f"{self.source.path}: {demo.name}/{path} changed while it was read")
        return values

    def _attributes(self, group: Any, demo: Demo) -> dict[str, Any]:
        """Attributes by the path of what they belong to; the demonstration's own under the empty path."""
        found = {}
        for path in (*demo.groups, *demo.arrays):
            packed, strange = self.source.attributes(group[path] if path else group)
            for name in strange:
                line = f"attribute {name!r} of {path or 'demonstrations'}: neither text nor numbers"
                self.lost += [line] if line not in self.lost else []
            if packed:
                found[path] = packed
        return found

    def _last_observations(self, group: Any, demo: Demo, arrays: dict[str, NDArray[Any]]) -> dict[str, Any]:
        """The last row of each ``next_obs``; its other rows are the observations one step later, or are said to be lost."""
        last: dict[str, Any] = {}
        for path in demo.arrays:
            if not self._plan.is_repeated(demo, path):
                continue
            key = path.removeprefix(NEXT_OBSERVATION)
            later = self._array(group, demo, path)
            if later[:-1].tobytes() != arrays[OBSERVATION + key][1:].tobytes():
                self.lost.append(f"{demo.name}/{path}: not the observation one step later")
            elif later[-1].nbytes > _SMALL_FRAME:
                self.lost.append(f"{demo.name}/{path}: its last frame")
            else:
                last[key] = pack(later[-1])
        return last

    def _sim_state(self, arrays: dict[str, NDArray[Any]], demo: Demo) -> NDArray[np.float64] | None:
        """States side by side, ``(T, S)``; where the file's models differ, with zeros up to the widest."""
        if not demo.states:
            return None
        joined = np.concatenate([arrays[path].reshape(demo.steps, -1).astype(np.float64) for path in demo.states], 1)
        if not np.isfinite(joined).all():
            raise StoreError(f"{self.source.path}: {demo.name}: states hold NaN or infinity")
        widest = max(sum(math.prod(other.arrays[path].shape[1:]) for path in other.states) for other in self._demos)
        return np.pad(joined, ((0, 0), (0, widest - joined.shape[1])))

    def _ending(
        self, group: Any, rewards: NDArray[Any] | None, arrays: dict[str, NDArray[Any]], provenance: dict[str, Any]
    ) -> dict[str, bool]:
        """Success, as far as the file tells it: a note of ours, an attribute, or a reward; and whether that ended the episode."""
        note = parsed(self.source.attribute(group, NOTE))
        words = ("success", "terminated", "truncated")
        if all(isinstance(note.get(word), bool) for word in words):
            original = note.get("provenance")
            provenance["original"] = original
            provenance |= {key: original[key] for key in _SAID if key in original} if isinstance(original, dict) else {}
            return {word: note[word] for word in words}
        told = self.source.attribute(group, "success")
        if told is not None and not isinstance(told, str) and np.size(told) == 1:
            success = bool(np.ravel(told)[0])
        elif rewards is not None:
            success = bool(rewards.max() >= self._facts["success_reward"])
        else:
            success = False
            provenance["success"] = "not recorded"
        done = arrays.get("dones")
        return {"success": success, "terminated": success and (done is None or bool(np.ravel(done)[-1])), "truncated": False}


def rate(options: Any) -> float:
    """``control_freq`` of an environment's options [Hz]; robosuite's default where it is none."""
    found = options.get("control_freq") if isinstance(options, dict) else None
    good = isinstance(found, int | float) and not isinstance(found, bool) and 0 < found < 1e6
    return float(found) if good else DEFAULT_HZ  # type: ignore[arg-type]


def controllers(options: dict[str, Any]) -> str | None:
    """How robosuite's ``controller_configs`` are written: ``flat`` (1.4, refused by 1.5) or ``composite`` (1.5)."""
    found = options.get("controller_configs")
    if isinstance(found, list) and found:
        found = found[0]
    return None if not isinstance(found, dict) else "composite" if "body_parts" in found else "flat"


def _bare(specs: Any) -> dict[str, tuple[Any, str]]:
    return {name: (entry.shape, entry.dtype) for name, entry in specs.items()}
