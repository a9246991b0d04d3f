"""What the page shows of a store: the list of episodes, what can be plotted, numbers and pictures of an episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn import provenance as origin
from robolearn.datasets.layout import ACTION, REWARD, SIM_STATE, StoreError
from robolearn.datasets.marking import MOST_TEXT
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.view.drawing import Drawing
from robolearn.datasets.view.pictures import Cache, as_rgb, encode, is_picture, picture_names
from robolearn.spec import EnvSpec, tool_pose_action
from robolearn.tasks import POSE_SIZE

MOST_CHANNELS = 256  # of an array that is plotted
MOST_ROWS = 20_000  # of an episode that is plotted; of a longer one every k-th step
_POSE = tool_pose_action((0.0, 0.0, 0.0), (0.0, 0.0, 0.0)).names
_LISTED = ("note", "failure_step", "bottlenecks", "operator", "recorded_by")


class Content:
    """Answers the page's questions.

    Args:
        store: open for reading; what is committed now is what the page shows.
        drawing: draws simulator states, where the store has any.
    """

    def __init__(self, store: StoreReader, drawing: Drawing | None) -> None:
        self.store, self._drawing = store, drawing
        self.fingerprint = store.fingerprint()
        self._cache = Cache()

    def summary(self) -> dict[str, Any]:
        """The store, what can be plotted, and a row per episode."""
        spec = self.store.env_spec
        return {
            "name": self.store.path.name,
            "path": str(self.store.path),
            "fingerprint": self.fingerprint,
            "task": spec.task,
            "control_hz": spec.control_hz,
            "steps": self.store.num_steps,
            "plots": plots(spec),
            "longest_note": MOST_TEXT,
            "episodes": self._episodes(),
        }

    def _episodes(self) -> list[dict[str, Any]]:
        columns = {name: self.store.column(name).tolist() for name in ("success", "outcome", "source", "seed", "parent")}
        lengths = self.store.lengths.tolist()
        rows = []
        for index, steps in enumerate(lengths):
            known = self.store.provenance(index)
            row = {"steps": steps, **{name: values[index] for name, values in columns.items()}}
            rows.append(row | {key: known[key] for key in _LISTED if key in known})
        return rows

    def cameras(self) -> dict[str, Any]:
        """Names of stored and of drawn pictures, and why none are drawn."""
        stored = picture_names(self.store.env_spec.observation)
        if self._drawing is None:
            return {"stored": stored, "drawn": [], "why_not": "" if stored else "no images and no simulator states are stored"}
        return {"stored": stored, "drawn": list(self._drawing.cameras), "why_not": self._drawing.why_not()}

    def provenance(self, episode: int) -> dict[str, Any]:
        """All that is known of an episode's origin, long texts cut."""
        self._bounds(episode)
        shown: dict[str, Any] = origin.abridged(self.store.provenance(episode))
        return shown

    def numbers(self, episode: int, name: str) -> tuple[NDArray[np.float64], int]:
        """An array of an episode for plotting, ``(rows, C)``, and how many steps apart its rows are."""
        start, stop = self._bounds(episode)
        known = {entry["array"] for entry in plots(self.store.env_spec)}
        if name not in known:
            raise StoreError(f"{name!r} is not plotted; there are {', '.join(sorted(known))}")
        every = -(-(stop - start) // MOST_ROWS)
        rows = self.store.array(name, start, stop)[::every]
        return np.ascontiguousarray(rows.reshape(len(rows), -1), "<f8"), every

    def picture(self, episode: int, kind: str, camera: str, step: int) -> bytes:
        """A picture as JPEG: ``kind`` is ``stored`` or ``drawn``."""
        start, stop = self._bounds(episode)
        if not 0 <= step < stop - start:
            raise StoreError(f"episode {episode} has {stop - start} steps, counted from 0; there is no step {step}")
        make = self._stored if kind == "stored" else self._drawn
        return self._cache.get((kind, camera, start + step), lambda: encode(make(camera, start + step)))

    def _stored(self, camera: str, row: int) -> NDArray[np.uint8]:
        if camera not in picture_names(self.store.env_spec.observation):
            raise StoreError(f"no pictures {camera!r} are stored")
        return as_rgb(self.store.array(camera, row, row + 1)[0])

    def _drawn(self, camera: str, row: int) -> NDArray[np.uint8]:
        if self._drawing is None:
            raise StoreError("no simulator states are stored")
        state = self.store.array(SIM_STATE, row, row + 1)[0]
        if np.isnan(state).all():
            raise StoreError("this episode has no simulator states")
        return self._drawing.draw(state, camera)

    def _bounds(self, episode: int) -> tuple[int, int]:
        if not 0 <= episode < self.store.num_episodes:
            raise StoreError(f"{self.store.path} has no episode {episode}; it has {self.store.num_episodes}, counted from 0")
        return int(self.store.starts[episode]), int(self.store.ends[episode])


def plots(spec: EnvSpec) -> list[dict[str, Any]]:
    """What can be plotted: a title, the array, its channels' numbers and names, and their unit."""
    found: list[dict[str, Any]] = []
    if spec.action.names == _POSE:
        parts = (("position", 0, 3, "m"), ("rotation", 3, 9, "rot6d"), ("gripper", 9, 10, "-1 open, +1 close"))
        for title, first, last, units in parts:
            found.append(_plot(f"action {title}", ACTION, range(first, last), spec.action.names[first:last], units))
    else:
        found.append(_plot("action", ACTION, range(spec.action.size), spec.action.names, spec.action.units))
    for name, entry in spec.observation.items():
        size = math.prod(entry.shape)
        if is_picture(entry) or not 0 < size <= MOST_CHANNELS:
            continue
        if entry.units == "m, rot6d" and size % POSE_SIZE == 0:  # poses, one after the other
            kinds = [[number for number in range(size) if (number % POSE_SIZE < 3) is straight] for straight in (True, False)]
            labels = [f"{number // POSE_SIZE} {_POSE[number % POSE_SIZE]}" for number in range(size)]
            for kind, channels, units in zip(("position", "rotation"), kinds, ("m", "rot6d"), strict=True):
                found.append(_plot(f"{name} {kind}", name, channels, [labels[number] for number in channels], units))
        else:
            found.append(_plot(name, name, range(size), [str(number) for number in range(size)] if size > 1 else [""], entry.units))
    return [*found, _plot("reward", REWARD, range(1), [""], "")]


def _plot(title: str, array: str, channels: Sequence[int], names: Sequence[str], units: str) -> dict[str, Any]:
    return {"title": title, "array": array, "channels": list(channels), "names": list(names), "units": units}
