"""Demonstrations imported from robosuite's or robomimic's HDF5, as they were recorded, for the simulator to play back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from robolearn.datasets.formats.hdf5_survey import parsed
from robolearn.datasets.formats.json_values import unpack
from robolearn.datasets.layout import StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.learning.recordings import Recording

ROBOSUITE_TYPE = 1  # in robomimic's env_args


def recordings(store: StoreReader, wanted: Sequence[int]) -> tuple[dict[str, Any], list[Recording]] | None:
    """What ``env_args`` say of the recordings' world, and the recordings; None where the store was not imported from such HDF5.

    Raises:
        StoreError: there are no simulator states to play back, or no such episode.
    """
    attributes = store.attrs.get("hdf5", {}).get("attrs", {}).get("data", {})
    env_args = env_args_of(attributes, store.env_spec.task)
    if env_args.get("type", env_args.get("env_type")) != ROBOSUITE_TYPE:
        return None
    return env_args, [_recording(store, index) for index in wanted]


def env_args_of(attributes: Mapping[str, Any], task: str) -> dict[str, Any]:
    """The ``env_args`` of robomimic from packed attributes of ``data``; made of robosuite's own where it has only those, as robomimic does.

    Empty where there are neither.
    """
    if "env_args" in attributes:
        return parsed(unpack(attributes["env_args"]))
    if "env_info" not in attributes:
        return {}
    version = unpack(attributes["repository_version"]) if "repository_version" in attributes else None
    return {"env_name": task, "type": ROBOSUITE_TYPE, "env_version": version, "env_kwargs": parsed(unpack(attributes["env_info"]))}


def _recording(store: StoreReader, index: int) -> Recording:
    episode = store.episode(index)
    name = str(episode.provenance.get("original_name", f"episode {index}"))
    if episode.sim_state is None:
        raise StoreError(f"{store.path}: {name} holds no simulator states to play back; import a file that has `states`")
    return Recording(name, episode.sim_state, episode.actions, _model(episode.provenance))


def _model(provenance: Mapping[str, Any]) -> str | None:
    """The document beside the recording, or in its attribute ``model_file``."""
    packed = provenance.get("model_xml", provenance.get("attrs", {}).get("", {}).get("model_file"))
    model = unpack(packed) if packed is not None else None
    return model if isinstance(model, str) and "<" in model else None
