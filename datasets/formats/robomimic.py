"""Reads robomimic's HDF5, v1.4 and v1.5, and what MimicGen adds to it, in the source's own numbers and action semantics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from robolearn.datasets.formats import robosuite
from robolearn.datasets.formats.hdf5 import has_signature
from robolearn.datasets.formats.hdf5_demos import Hdf5Demos, controllers, rate
from robolearn.datasets.formats.hdf5_survey import parsed
from robolearn.datasets.layout import StoreError

NAME = "robomimic"
ENVIRONMENTS = {1: "robosuite", 2: "gym", 3: "ig_momart"}


def recognises(path: Path) -> bool:
    """Whether a file is HDF5 and not robosuite's raw recording; a damaged one counts, so that opening says what is wrong."""
    return path.is_file() and has_signature(path) and not robosuite.recognises(path)


class RobomimicReader(Hdf5Demos):
    """Demonstrations with ``env_args``; observations, rewards, dones, states and next observations are all optional there."""

    format_name = NAME

    def _read_facts(self, data: Any) -> dict[str, Any]:
        text = self.source.attribute(data, "env_args")
        found = parsed(text)
        if text is not None and not found:
            raise StoreError(f"{self.source.path}: attribute env_args of data is no JSON object; it starts with {str(text)[:40]!r}")
        options = found.get("env_kwargs")
        options = options if isinstance(options, dict) else {}
        name, kind = found.get("env_name"), found.get("type", found.get("env_type"))  # the code says type, its manual env_type
        known = isinstance(kind, int) and kind in ENVIRONMENTS
        return {
            "task": name if isinstance(name, str) and name else self.source.path.stem,
            "control_hz": rate(options),
            "success_reward": _success_reward(options),
            "environment": {"type": ENVIRONMENTS[kind] if known else None, "controllers": controllers(options)},  # type: ignore[index]
        }


def _success_reward(options: dict[str, Any]) -> float:
    """The least reward that means success: any, but robosuite's shaped reward reaches its scale only then."""
    scale = options.get("reward_scale", 1.0)
    if options.get("reward_shaping") is True and isinstance(scale, int | float) and 0 < scale < 1e9:
        return float(scale) * (1 - 1e-6)
    return float(np.nextafter(0, 1))
