"""Reads episodes that a robot's computer recorded as ``episode_000000.npz`` and ``.json``, where it could not have zarr 3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from robolearn.datasets.formats.archive import Files, open_files, read_json
from robolearn.datasets.formats.checked import checked
from robolearn.datasets.formats.dppo import read_npz
from robolearn.datasets.layout import StoreError
from robolearn.episode import Episode
from robolearn.errors import reading
from robolearn.spec import EnvSpec

NAME = "robolearn-episode"


def recognises(source: Path) -> bool:
    """Whether ``source`` is a folder with such episodes."""
    return source.is_dir() and any(source.glob("episode_[0-9]*.json")) and any(source.glob("episode_[0-9]*.npz"))


class RecordedNpzReader:
    """An opened folder of episodes; all are of one spec, and their provenance is kept as it was recorded.

    Args:
        source: the folder.

    Raises:
        StoreError: nothing there, an episode's ``.json`` is damaged or of another version, or the specs differ.
    """

    def __init__(self, source: str | Path) -> None:
        self.path = Path(source)
        files: Files = open_files(self.path)
        names = sorted(name for name in files.names if name.startswith("episode_") and name.endswith(".json"))
        if not names:
            raise StoreError(f"{self.path} holds no episode_000000.json")
        self._documents = {name: read_json(files, name) for name in names}
        for name, document in self._documents.items():
            if document.get("format") != NAME or document.get("version") != 1:
                raise StoreError(f"{self.path}: {name} is {document.get('format')!r} {document.get('version')!r}, expected {NAME!r} 1")
            if document.get("spec") != self._documents[names[0]].get("spec"):
                raise StoreError(f"{self.path}: {name} is of another spec than {names[0]}; import each from a folder of its own")
        with reading(f"{self.path}: {names[0]}"):
            self.env_spec = EnvSpec.from_dict(self._documents[names[0]]["spec"])

    def __len__(self) -> int:
        return len(self._documents)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: arrays are missing, damaged, or do not fit; the message names the episode.
        """
        for name, document in self._documents.items():
            file = self.path / f"{Path(name).stem}.npz"
            with reading(self.path / name):
                yield checked(self._episode(file, document), self.env_spec, str(file))

    def _episode(self, file: Path, document: dict[str, Any]) -> Episode:
        observations = [f"observation/{name}" for name in self.env_spec.observation]
        extras = [f"extras/{name}" for name in self.env_spec.extras]
        wanted = ("action", "reward", *observations, *extras)
        arrays = read_npz(file, wanted)
        missing = [name for name in wanted if name not in arrays]
        if missing:
            raise StoreError(f"{file} lacks {', '.join(missing)}; it has {', '.join(arrays) or 'none of the arrays read'}")
        return Episode(
            {name.split("/", 1)[1]: arrays[name] for name in observations},
            arrays["action"],
            arrays["reward"],
            terminated=bool(document["terminated"]),
            truncated=bool(document["truncated"]),
            success=bool(document["success"]),
            provenance=dict(document["provenance"]),
            extras={name.split("/", 1)[1]: arrays[name] for name in extras},
        )
