"""Where a run's episodes go: the demonstration store, or ``.npz`` files where zarr 3 is not to be had."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from robolearn.deploy.recording.npz import NpzRecorder
from robolearn.errors import UserError
from robolearn.nodes import find_target
from robolearn.spec import ArraySpec, EnvSpec

STORE = "robolearn.datasets.store.DemoStore"
RECORDER = "robolearn.datasets.recorder.Recorder"
INTERVENTION = "intervention"  # extra array (T,): the operator acted
KINDS = ("auto", "store", "npz")


class EpisodeRecorder(Protocol):
    """Takes episodes step by step; the store's recorder and :class:`NpzRecorder` do."""

    def begin(self, source: str = ..., **provenance: Any) -> None:
        """Start an episode."""

    def add(self, observation: Any, action: Any, *, reward: float | None = ..., **extras: Any) -> None:
        """Take a step."""

    def end(self, *, success: bool, terminated: bool | None = ..., truncated: bool = ..., **provenance: Any) -> int:
        """Commit; returns the index."""

    def discard(self) -> None:
        """Forget the episode at hand."""

    def close(self) -> None:
        """Discard what was not ended."""


class Episodes:
    """An open place for episodes.

    Args:
        place: the store's directory; ``.npz`` episodes go to the folder of its name without ``.zarr``.
        spec: of the episodes, see :func:`with_intervention`.
        kind: ``store``, ``npz``, or ``auto``: a store where zarr can be had.
        image_codec: of a new store.

    Attributes:
        place: where episodes go.
        kind: ``store`` or ``npz``.

    Raises:
        UserError: the store is of another spec, somebody writes to it, or zarr is missing with ``kind=store``.
    """

    def __init__(self, place: Path, spec: EnvSpec, *, kind: str = "auto", image_codec: str = "zstd") -> None:
        if kind not in KINDS:
            raise UserError(f"no kind {kind!r} of recording; there are {', '.join(KINDS)}")
        self._store: Any = None
        try:
            store_type = None if kind == "npz" else find_target(STORE)
        except (UserError, ImportError):
            if kind == "store":
                raise
            store_type = None
        self.kind = "npz" if store_type is None else "store"
        self.place = place if store_type is not None else place.with_suffix("")
        if store_type is None:
            self.recorder: EpisodeRecorder = NpzRecorder(self.place, spec)
            return
        self._store = _open(store_type, place, spec, image_codec)
        self.recorder = find_target(RECORDER)(self._store)

    def close(self) -> None:
        """Discard what was not ended, and let the next writer in."""
        self.recorder.close()
        if self._store is not None:
            self._store.close()


def with_intervention(spec: EnvSpec) -> EnvSpec:
    """The spec of what a run records: that of its policy, and which steps were the operator's."""
    extras = {**spec.extras, INTERVENTION: ArraySpec((), "bool")}
    return EnvSpec(spec.task, spec.observation, spec.action, spec.control_hz, spec.stages, extras, spec.reward_dtype)


def _open(store_type: Any, place: Path, spec: EnvSpec, image_codec: str) -> Any:
    if not place.exists():
        return store_type.create(place, spec, image_codec=image_codec)
    store = store_type.open(place, mode="a")
    there, wanted = store.env_spec.to_dict(), spec.to_dict()
    differing = [name for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    if differing:
        store.close()
        what = " and ".join(sorted(differing))
        raise UserError(f"{place} holds episodes of another spec: its {what} differ from this run's; record into another store")
    return store
