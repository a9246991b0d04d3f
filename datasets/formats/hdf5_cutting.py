"""What an import from HDF5 noted of an episode step by step, when the episode is cut: extra rows, and what was seen after the last step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from robolearn.datasets.formats.hdf5_plan import OBSERVATION
from robolearn.datasets.formats.json_values import pack, unpack
from robolearn.datasets.reader import StoreReader

FORMATS = ("robomimic", "robosuite")


def cut_notes(known: Mapping[str, Any], store: StoreReader, episode: int, start: int, stop: int) -> dict[str, Any]:
    """Provenance of steps ``start`` to ``stop`` of an episode; ``next_obs`` becomes what was observed at ``stop``."""
    kept, length = dict(known), int(store.lengths[episode])
    if known.get("format") not in FORMATS:
        return kept
    if "arrays" in known:
        kept["arrays"] = {path: _rows(packed, length, start, stop) for path, packed in known["arrays"].items()}
    if "next_obs" in known and stop < length:
        names = {path.removeprefix(OBSERVATION): name for name, path in store.attrs.get("hdf5", {}).get("names", {}).items()}
        later = {key: names.get(key, key) for key in known["next_obs"]}
        row = int(store.starts[episode]) + stop
        kept["next_obs"] = {
            key: pack(store.array(name, row, row + 1)[0]) for key, name in later.items() if name in store.env_spec.observation
        }
    return kept


def _rows(packed: Any, length: int, start: int, stop: int) -> Any:
    """The rows that stay of an array with a row a step; others as they are."""
    values = unpack(packed)
    return pack(values[start:stop]) if values.shape[:1] == (length,) else packed
