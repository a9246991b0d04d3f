"""An episode's pictures, stored or drawn from its simulator states, as films and as observations of a new store."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn import provenance as origin
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.view.pictures import as_rgb, picture_names
from robolearn.episode import Episode
from robolearn.errors import nearest
from robolearn.spec import ArraySpec

_ROWS = 64  # read at once


class Filming:
    """Gives the pictures of episodes.

    Args:
        store: where they are.
        make: ``make(appearance)`` makes what draws states (see :class:`robolearn.protocols.StatePictures`); None where nothing does.
        appearance: seed of other colours and light, each episode's own; None: as usual.
    """

    def __init__(self, store: StoreReader, make: Callable[[int | None], Any] | None, appearance: int | None = None) -> None:
        self.store, self._make, self._appearance = store, make, appearance
        self.stored = picture_names(store.env_spec.observation)
        self._made: Any = None
        self._made_for: int | None = None

    def cameras(self) -> list[str]:
        """Stored ones first, then those that draw."""
        return list(dict.fromkeys([*self.stored, *(self._drawing(0).cameras if self.draws else ())]))

    @property
    def draws(self) -> bool:
        """Whether there are simulator states, and something that draws them."""
        return self._make is not None and SIM_STATE in self.store.array_names

    def frames(self, episode: int, cameras: Sequence[str]) -> Iterator[NDArray[np.uint8]]:
        """A picture a step, ``(H, W, 3)``; those of several cameras side by side.

        Raises:
            StoreError: no such camera, an episode without simulator states, or pictures of other heights.
        """
        pictures = [self._of_camera(episode, camera) for camera in cameras]
        for frames in zip(*pictures, strict=True):
            if len({len(frame) for frame in frames}) > 1:
                sizes = ", ".join(f"{camera} {frame.shape[1]} x {frame.shape[0]}" for camera, frame in zip(cameras, frames, strict=True))
                raise StoreError(f"pictures of other heights cannot stand side by side: {sizes}; film one camera, or change size=")
            yield np.concatenate(frames, 1)

    def _of_camera(self, episode: int, camera: str) -> Iterator[NDArray[np.uint8]]:
        drawn = camera not in self.stored
        if drawn and (not self.draws or camera not in self._drawing(episode).cameras):
            known = self.cameras()
            there = f"there are {', '.join(known)}{nearest(camera, known)}" if known else "it holds no images and no simulator states"
            raise StoreError(f"{self.store.path}: no camera {camera!r}; {there}")
        start, stop = int(self.store.starts[episode]), int(self.store.ends[episode])
        for first in range(start, stop, _ROWS):
            rows = self.store.array(SIM_STATE if drawn else camera, first, min(first + _ROWS, stop))
            if drawn and np.isnan(rows).any():
                raise StoreError(f"episode {episode} of {self.store.path} has no simulator states; leave it out with episodes= or where=")
            yield from (self._drawing(episode).draw(row, camera) if drawn else as_rgb(row) for row in rows)

    def _drawing(self, episode: int) -> Any:
        assert self._make is not None
        wanted = None if self._appearance is None else self._appearance + episode
        if self._made is None or wanted != self._made_for:
            self.close()
            self._made, self._made_for = self._make(wanted), wanted
        return self._made

    def close(self) -> None:
        """Free what draws."""
        if self._made is not None:
            made, self._made = self._made, None
            with contextlib.suppress(Exception):  # OpenGL bindings raise whatever they like
                made.close()


class WithPictures:
    """A store's episodes with pictures drawn from their simulator states as further observations.

    Args:
        filming: draws them.
        episodes: which.
        cameras: names of cameras, which the observations get.
        size: width and height [pixels].
        edit: what is done, for the provenance.

    Raises:
        StoreError: an observation has such a name already, or nothing can be drawn.
    """

    def __init__(
        self,
        filming: Filming,
        episodes: Sequence[int],
        cameras: Sequence[str],
        size: tuple[int, int],
        edit: Mapping[str, Any],
    ) -> None:
        store, spec = filming.store, filming.store.env_spec
        if not filming.draws:
            raise StoreError(f"{store.path} has no simulator states to draw; collect with record_state=true keeps them")
        taken = [name for name in cameras if name in {**spec.observation, **spec.extras}]
        if taken:
            raise StoreError(f"{store.path} has an array {taken[0]!r} already; choose other cameras")
        pictures = {name: ArraySpec((size[1], size[0], 3), "uint8") for name in cameras}
        self.env_spec = dataclasses.replace(spec, observation={**spec.observation, **pictures})
        self._filming, self._episodes, self._cameras, self._edit = filming, episodes, cameras, edit
        self._fingerprint = store.fingerprint()

    def __len__(self) -> int:
        return len(self._episodes)

    def __iter__(self) -> Iterator[Episode]:
        store = self._filming.store
        for index in self._episodes:
            episode = store.episode(index)
            pictures: dict[str, NDArray[np.uint8]] = {}
            for camera in self._cameras:
                shape = (len(episode), *self.env_spec.observation[camera].shape)
                pictures[camera] = np.empty(shape, np.uint8)  # (T, H, W, 3)
                for step, frame in enumerate(self._filming.frames(index, [camera])):
                    pictures[camera][step] = frame
            digest = str(store.column("digest")[index])
            known = origin.derive(episode.provenance, store=self._fingerprint, episode=index, step=0, digest=digest, edit=self._edit)
            yield dataclasses.replace(episode, observations={**episode.observations, **pictures}, provenance=known)
