"""Reads robosuite's raw recordings, ``demo.hdf5``: actions and simulator states, with the model inline or in a file beside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from robolearn.datasets.formats.hdf5 import Hdf5Source, has_signature
from robolearn.datasets.formats.hdf5_demos import Hdf5Demos, controllers, rate
from robolearn.datasets.formats.hdf5_survey import parsed
from robolearn.datasets.formats.json_values import pack
from robolearn.datasets.layout import StoreError

NAME = "robosuite"
FILE = "demo.hdf5"
_MAX_MODEL_BYTES = 1 << 26


def recognises(path: Path) -> bool:
    """Whether a file, or ``demo.hdf5`` in a directory, has robosuite's attributes and none of robomimic's."""
    file = path / FILE if path.is_dir() else path
    if not file.is_file() or not has_signature(file):
        return False
    try:
        source = Hdf5Source(file)
        with source.open() as opened:
            data = opened["data"].attrs
            return "env_args" not in data and ("env_info" in data or "repository_version" in data or "env" in data)
    except StoreError:
        return False


class RobosuiteReader(Hdf5Demos):
    """Demonstrations without observations: the spec's is empty, states go to ``sim_state``, other arrays to the extras.

    An observation is the simulator's to make: convert with robomimic's ``dataset_states_to_obs`` for one, or re-render.
    """

    format_name = NAME

    def _file(self, path: Path) -> Path:
        return path / FILE if path.is_dir() else path

    def _read_facts(self, data: Any) -> dict[str, Any]:
        options = parsed(self.source.attribute(data, "env_info"))
        names = (self.source.attribute(data, "env"), options.get("env_name"))
        task = next((name for name in names if isinstance(name, str) and name), self.source.path.stem)
        environment = {"type": NAME, "controllers": controllers(options)}
        return {"task": task, "control_hz": rate(options), "success_reward": 1.0, "environment": environment}

    def _demo_provenance(self, group: Any) -> dict[str, Any]:
        model = self.source.attribute(group, "model_file")
        if not isinstance(model, str) or "<" in model:  # the text itself, which is kept with the other attributes
            return {}
        return {"model_xml": pack(self._sidecar(model))}

    def _sidecar(self, name: str) -> str:
        """The text of ``models/<name>`` beside the file, which robosuite 1.0 names instead of holding it."""
        folder = self.source.path.parent / "models"
        file = folder / name
        where = f"{self.source.path}: model_file names {name[:80]!r}"
        if Path(name).name != name or "\0" in name or file.resolve().parent != folder.resolve():
            raise StoreError(f"{where}, which is not a file in {folder}")
        if not file.is_file():
            raise StoreError(f"{where}, but there is no {file}; fetch the folder models/ with it")
        if file.stat().st_size > _MAX_MODEL_BYTES:
            raise StoreError(f"{where}, which has {file.stat().st_size:,} bytes, more than any model")
        try:
            return file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(f"{where}, which is no text: {error.reason}") from error

    def _without_actions(self, names: Iterable[str]) -> str:
        if "gripper_actuations" in names or "joint_velocities" in names:
            return (
                ": robosuite v0.x recorded joint velocities and no actions (RoboTurk); robomimic's and robosuite's later releases of such "
                "data have them"
            )
        return ""
