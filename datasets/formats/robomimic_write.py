"""Writes a store as robomimic's HDF5 (v1.5): what came from such a file goes back where it was, to the bit."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.hdf5_cutting import FORMATS
from robolearn.datasets.formats.hdf5_demos import NOTE
from robolearn.datasets.formats.hdf5_plan import ACTIONS, NEXT_OBSERVATION, OBSERVATION, REWARDS, STATES
from robolearn.datasets.formats.hdf5_sink import Sink
from robolearn.datasets.formats.json_values import unpack
from robolearn.datasets.formats.recorded import env_args_of
from robolearn.datasets.layout import StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.episode import Episode
from robolearn.errors import UserError

NEXT = ("recorded", "always", "never")
_OURS = {"schema_version", "env_spec", "task", "created_with", "imported", "hdf5"}  # store attributes that an import makes anew
_IMPORTED = {"source", "format", "file", "filter_keys", "attrs", "arrays", "next_obs", "states", "model_xml"}  # an episode's, likewise
_GYM = 2  # robomimic's word for environments other than robosuite's


def write(store: StoreReader, out: Path, *, next_obs: str = "recorded", compress: bool = False, valid_share: float = 0.0) -> list[str]:
    """Write ``out``, which does not exist yet; returns a line for each thing that the format cannot hold.

    Args:
        store: what to write.
        out: the file.
        next_obs: ``recorded``: where the source had them; ``always``; ``never``.
        compress: gzip observations: smaller, slower to train from.
        valid_share: make filter keys ``train`` and ``valid``, with this share of the episodes in ``valid`` (always the same ones).

    Raises:
        UserError: an option that is none of these, or h5py is not installed.
        StoreError: the store is damaged.
        OSError: the disk is full.
    """
    if next_obs not in NEXT or not 0 <= valid_share < 1:
        raise UserError(f"next_obs is one of {', '.join(NEXT)} and valid_share in [0, 1); got {next_obs!r} and {valid_share}")
    try:
        import h5py
    except ImportError as error:
        raise UserError("robomimic's HDF5 needs h5py: pip install 'robolearn[formats]'") from error
    with Sink(out) as sink:
        with h5py.File(sink, "w") as file:
            lost = RobomimicWriter(store, file, next_obs, compress, sink.check).write(valid_share)
        sink.check()
    return lost


class RobomimicWriter:
    """One store into one open file; ``check`` is called after every episode and raises where the disk is full."""

    def __init__(self, store: StoreReader, file: Any, next_obs: str, compress: bool, check: Callable[[], None]) -> None:
        self.store, self.file, self.next_obs, self._check = store, file, next_obs, check
        self._storage = {"compression": "gzip"} if compress else {}
        self.kept: dict[str, Any] = store.attrs.get("hdf5", {})
        self.foreign = self.kept.get("format") not in FORMATS  # a store that was no such file before: what it knows goes into notes
        spec = store.env_spec
        names = self.kept.get("names", {})
        self.observation = {name: names.get(name, OBSERVATION + name) for name in spec.observation}
        self.extras = {name: names.get(name, f"extras/{name}") for name in spec.extras}
        self.lost: list[str] = []

    def write(self, valid_share: float) -> list[str]:
        """All of it; returns what cannot be held."""
        provenances = [self.store.provenance(index) for index in range(self.store.num_episodes)]
        names = demo_names(provenances)
        data = self.file.create_group("data")
        self._write_attributes(data)
        for name, provenance, episode in zip(names, provenances, self.store, strict=True):
            self._write_episode(data.create_group(name), episode, provenance)
            self._check()
        self._write_masks(names, provenances, valid_share)
        more = sorted(set(self.store.attrs) - _OURS)
        self.lost += [f"attributes of the store: {', '.join(more)}"] if more else []
        return list(dict.fromkeys(self.lost))

    def _write_attributes(self, data: Any) -> None:
        outer = self.kept.get("attrs", {})
        for group, entries in ((self.file, outer.get("/", {})), (data, outer.get("data", {}))):
            for name, packed in entries.items():
                group.attrs[name] = unpack(packed)
        data.attrs["total"] = self.store.num_steps
        data.attrs["env_args"] = self._env_args(outer.get("data", {}))
        if self.foreign:
            note = {"env_spec": self.store.env_spec.to_dict(), "names": {**self.observation, **self.extras}}
            data.attrs[NOTE] = json.dumps(note)

    def _env_args(self, attributes: dict[str, Any]) -> str:
        """The source's own text where it had one with ``type``; raw robosuite's attributes as robomimic puts them; else ours."""
        text, spec = unpack(attributes["env_args"]) if "env_args" in attributes else "", self.store.env_spec
        found = env_args_of(attributes, spec.task)
        if "type" in found:
            return str(text) or json.dumps(found)
        if found:
            return json.dumps({**found, "type": found.get("env_type", _GYM)}, indent=4)
        return json.dumps({"env_name": spec.task, "type": _GYM, "env_kwargs": {"control_freq": spec.control_hz}})

    def _write_episode(self, group: Any, episode: Episode, provenance: dict[str, Any]) -> None:
        recorded = provenance.get("format") in FORMATS
        for name, path in self.observation.items():
            group.create_dataset(path, data=episode.observations[name], **self._storage)
        for name, path in self.extras.items():
            group.create_dataset(path, data=episode.extras[name])
        group.create_dataset(ACTIONS, data=episode.actions)
        if REWARDS not in group and not (recorded and "reward" in provenance):
            group.create_dataset(REWARDS, data=episode.rewards)
        if "dones" not in group and not recorded:
            group.create_dataset("dones", data=np.eye(1, len(episode), len(episode) - 1, dtype=np.int64)[0])  # 1 at the end
        if episode.sim_state is not None:
            _write_states(group, episode.sim_state, provenance.get("states") or [[STATES, "float64", [episode.sim_state.shape[1]]]])
        for path, packed in provenance.get("arrays", {}).items():
            if path not in group:
                group.create_dataset(path, data=unpack(packed))
        self._write_next(group, episode, provenance.get("next_obs", {}))
        self._write_demo_attributes(group, episode, provenance, recorded)

    def _write_next(self, group: Any, episode: Episode, last: dict[str, Any]) -> None:
        """``next_obs``: the observation one step later, and the last one as it was recorded."""
        for name, path in self.observation.items():
            key = path.removeprefix(OBSERVATION)
            if self.next_obs == "never" or (key not in last and self.next_obs == "recorded"):
                continue
            values = episode.observations[name]
            if key in last:
                final = np.asarray(unpack(last[key]), values.dtype).reshape(values.shape[1:])
            else:
                final = values[-1]
                self.lost.append("next_obs of last steps, which were not recorded: there the observation is repeated")
            group.create_dataset(NEXT_OBSERVATION + key, data=np.concatenate([values[1:], final[None]]), **self._storage)
        if last and self.next_obs == "never":
            self.lost.append("next_obs, which were recorded (next_obs=recorded writes them)")

    def _write_demo_attributes(self, group: Any, episode: Episode, provenance: dict[str, Any], recorded: bool) -> None:
        for path, entries in provenance.get("attrs", {}).items():
            place = group.require_group(path) if path and path not in group else group[path] if path else group
            for name, packed in entries.items():
                place.attrs[name] = unpack(packed)
        if "model_xml" in provenance:
            group.attrs["model_file"] = unpack(provenance["model_xml"])
        group.attrs["num_samples"] = len(episode)
        ending = {"success": episode.success, "terminated": episode.terminated, "truncated": episode.truncated}
        if not recorded:
            group.attrs[NOTE] = json.dumps({**ending, "provenance": provenance})
        elif "edit" in provenance:  # its outcome and notes may be others than the source's; the rest is in the file already
            known = {key: value for key, value in provenance.items() if key not in _IMPORTED}
            group.attrs[NOTE] = json.dumps({**ending, "provenance": known})

    def _write_masks(self, names: list[str], provenances: list[dict[str, Any]], valid_share: float) -> None:
        masks = {
            key: [name for name, entry in zip(names, provenances, strict=True) if key in entry.get("filter_keys", [])]
            for key in self._keys(provenances)
        }
        if valid_share:
            count = max(1, round(valid_share * len(names)))
            if count >= len(names):
                raise StoreError(f"{len(names)} episodes cannot be split with a share of {valid_share} in valid")
            held_out = set(np.random.default_rng(0).permutation(len(names))[:count].tolist())
            masks["valid"] = [name for index, name in enumerate(names) if index in held_out]
            masks["train"] = [name for index, name in enumerate(names) if index not in held_out]
        for key, listed in masks.items():
            if listed:
                self.file[f"mask/{key}"] = np.array(listed, "S")
            else:
                self.lost.append(f"mask/{key}: none of its episodes is here")

    def _keys(self, provenances: list[dict[str, Any]]) -> list[str]:
        return sorted({*self.kept.get("filter_keys", []), *(key for entry in provenances for key in entry.get("filter_keys", []))})


def _write_states(group: Any, sim_state: NDArray[np.float64], parts: list[Any]) -> None:
    """States ``(T, S)`` back into the arrays they came from; what is wider was zeros."""
    start = 0
    for path, dtype, shape in parts:
        width = math.prod(shape)
        group.create_dataset(path, data=sim_state[:, start : start + width].astype(dtype).reshape(len(sim_state), *shape))
        start += width


def demo_names(provenances: list[dict[str, Any]]) -> list[str]:
    """The names the demonstrations had, where each had one of its own; else ``demo_0`` and so on."""
    names = [str(entry.get("original_name", "")) for entry in provenances]
    own = len(set(names)) == len(names) and all(re.fullmatch(r"demo_\d{1,18}", name) for name in names)
    return names if own else [f"demo_{number}" for number in range(len(names))]
