"""Reads LeRobot data sets of v2.0, v2.1 and v3.0: parquet and mp4, in the data's own numbers, one episode in memory at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_episodes import Entry, list_episodes, read_tasks, rows_by_episode
from robolearn.datasets.formats.lerobot_features import FLAGS, NEXT_REWARD, TIMESTAMP, Info, read_info
from robolearn.datasets.formats.lerobot_images import decode_images
from robolearn.datasets.formats.lerobot_outcome import outcome_of, runs_of
from robolearn.datasets.formats.lerobot_plan import Plan, make_plan, spec_of
from robolearn.datasets.formats.lerobot_table import Table
from robolearn.datasets.formats.lerobot_video import frames_at
from robolearn.datasets.layout import SIM_STATE, StoreError
from robolearn.episode import Episode
from robolearn.errors import nearest
from robolearn.spec import EnvSpec, SpecError

NAME = "lerobot"


def recognises(source: Path) -> bool:
    """Whether ``source`` is a folder whose ``meta/info.json`` names a ``codebase_version``."""
    try:
        info = source / paths.INFO
        return info.is_file() and '"codebase_version"' in info.read_text("utf-8", "replace")
    except OSError:
        return False


class LeRobotReader:
    """An opened data set.

    Args:
        source: its folder, which holds ``meta/info.json``.
        missing: ``error``: files that are listed and not there are an error; ``skip``: their episodes are left out.
        leave_out: features not to import, such as a camera.

    Attributes:
        env_spec: observations are all features but the action and LeRobot's bookkeeping.
        missing: episodes that were listed and are not there, a line each.
        lost: columns that a store cannot hold, a line each.
        attrs: notes for the store: the features as they were, and their names in the store.

    Raises:
        StoreError: damaged, incomplete, or of another version.
    """

    @paths.errors_of_one_line()
    def __init__(self, source: str | Path, *, missing: str = "error", leave_out: Sequence[str] = ()) -> None:
        if missing not in ("error", "skip"):
            raise StoreError(f"missing={missing!r}; there are error and skip{nearest(missing, ('error', 'skip'))}")
        self.root = Path(source)
        self.info: Info = read_info(self.root)
        videos = [name for name, feature in self.info.features.items() if feature.dtype == "video" and name not in leave_out]
        listed = list_episodes(self.root, self.info, videos)
        self.missing: list[str] = []
        self._rows: dict[int, tuple[int, int]] = {}
        entries = [entry for entry in listed if self._is_there(entry)]
        self._table: Table | None = None
        if entries:
            self.plan: Plan = make_plan(self.root, self.info, self._open(entries[0].data), tuple(leave_out))
            entries, low, high = self._scan(entries)
        self._refuse_gaps(listed, entries, missing)
        self.entries: list[Entry] = entries
        self.tasks = read_tasks(self.root, self.info.version)
        self.env_spec: EnvSpec = spec_of(self.plan, self.info, self._task(), low, high)
        self.lost = [f"{name}: neither numbers, pictures nor text" for name in self.plan.left_out]
        self.attrs: dict[str, Any] = {
            "lerobot": {
                "codebase_version": self.info.version,
                "robot_type": self.info.robot_type,
                "action": self.plan.action,
                "renamed": {name: feature for name, feature in self.plan.sources.items() if name != feature},
                "left_out": list(leave_out),
                "shapes": {name: list(feature.shape) for name, feature in self.info.features.items()},
                "names": {name: list(feature.names) for name, feature in self.info.features.items() if feature.names},
            }
        }

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Episode]:
        """The episodes, each checked against the spec.

        Raises:
            StoreError: an episode is damaged or leaves the format; the message names it.
        """
        for entry in self.entries:
            yield self._checked(entry)  # not held here while the next is decoded

    @paths.errors_of_one_line()
    def _checked(self, entry: Entry) -> Episode:
        try:
            episode = self._episode(entry)
            episode.check(self.env_spec)
        except SpecError as error:
            raise StoreError(f"{self.root}: episode {entry.index}: {error}; leave_out=[feature] imports without one") from error
        return episode

    # -- what is there -----------------------------------------------------------------------------------------------

    def _is_there(self, entry: Entry) -> bool:
        files = [entry.data, *(clip.file for clip in entry.clips.values())]
        absent = [f"{name} {why}" for name in dict.fromkeys(files) if (why := paths.absence(paths.inside(self.root, name)))]
        if absent:
            self.missing.append(" ".join(f"episode {entry.index}: {'; '.join(absent)}".split()))
        return not absent

    def _refuse_gaps(self, listed: list[Entry], entries: list[Entry], missing: str) -> None:
        if len(entries) == len(listed) or (missing == "skip" and entries):
            return
        there = {entry.index for entry in entries}
        gone = [entry.index for entry in listed if entry.index not in there]
        remedy = f"fetch them, or missing=skip imports the {len(entries)} that are whole" if entries else "fetch them"
        first = self.missing[0]
        raise StoreError(
            f"{self.root} lists {len(listed)} episodes and lacks files of {len(gone)} ({paths.spans(gone)}), first {first}; {remedy}"
        )

    def _open(self, name: str) -> Table:
        """The data file ``name``; the last one stays open, as episodes share files."""
        path = paths.inside(self.root, name)
        if self._table is None or self._table.path != path:
            self._table = Table(path)
        return self._table

    def _scan(self, entries: list[Entry]) -> tuple[list[Entry], NDArray[Any], NDArray[Any]]:
        """Count every episode's rows, as no total is to be trusted; returns those that are whole, and the actions' range."""
        feature = self.info.features[self.plan.action]
        low, high = np.full(math.prod(feature.shape), np.inf), np.full(math.prod(feature.shape), -np.inf)
        whole = []
        rows: dict[int, tuple[int, int]] = {}
        for entry in entries:
            before = self._table
            table = self._open(entry.data)
            if table is not before or not rows:
                table.require([self.plan.action, "episode_index"], "fetch it again")
                rows = rows_by_episode(table)
            if entry.index not in rows:
                self._absent_rows(entry, table, rows)
                continue
            start, stop = rows[entry.index]
            if stop - start != entry.length:
                raise StoreError(
                    f"{table.path}: episode {entry.index} has {stop - start} rows, meta/ says {entry.length}; fetch both again"
                )
            actions = table.array(table.read([self.plan.action], start, stop), self.plan.action, (math.prod(feature.shape),))
            low, high = np.minimum(low, actions.min(0)), np.maximum(high, actions.max(0))
            self._rows[entry.index] = (start, stop)
            whole.append(entry)
        return whole, low, high

    def _absent_rows(self, entry: Entry, table: Table, rows: dict[int, tuple[int, int]]) -> None:
        if self.info.version != "v3.0":
            held = paths.spans(list(rows)) or "none"
            raise StoreError(f"{table.path} holds episode {held} in place of {entry.index}; it has the wrong name, fetch it again")
        self.missing.append(f"episode {entry.index}: {entry.data} holds no rows of it")

    def _task(self) -> str:
        texts = {text for entry in self.entries for text in entry.tasks}
        return texts.pop() if len(texts) == 1 else self.root.resolve().name

    # -- one episode -------------------------------------------------------------------------------------------------

    def _episode(self, entry: Entry) -> Episode:
        table, spec = self._open(entry.data), self.env_spec
        columns = self.plan.columns(self.info, table)
        rows = table.read(columns, *self._rows[entry.index])
        times = table.array(rows, TIMESTAMP, ()) if TIMESTAMP in columns else np.arange(entry.length) / self.info.fps
        arrays = {name: self._array(entry, table, rows, name, times.astype(np.float64)) for name in self.plan.sources}
        provenance = self._provenance(entry, table, rows)
        if NEXT_REWARD in columns:
            rewards = table.array(rows, NEXT_REWARD, ())
        else:
            rewards = np.zeros(entry.length)
            provenance["reward"] = "the source has none: 0"
        flags = {name: arrays[name].reshape(-1).astype(bool) for name in FLAGS if name in arrays}
        if not flags and not entry.notes:
            provenance["outcome"] = "the source does not say how the episode ended"
        terminated, truncated, success = self._outcome(entry, flags)
        return Episode(
            observations={name: arrays[name] for name in spec.observation},
            actions=_cast(table.array(rows, self.plan.action, (spec.action.size,)), spec.action.dtype),
            rewards=_cast(rewards, spec.reward_dtype),
            terminated=terminated,
            truncated=truncated,
            success=success,
            sim_state=self._sim_state(table, rows, columns),
            provenance=provenance,
            extras={name: arrays[name] for name in spec.extras},
        )

    def _outcome(self, entry: Entry, flags: dict[str, NDArray[np.bool_]]) -> tuple[bool, bool, bool]:
        noted = [entry.notes.get(key) for key in ("terminated", "truncated", "success")]
        if all(isinstance(value, bool) for value in noted):
            return bool(noted[0]), bool(noted[1]), bool(noted[2])
        return outcome_of(flags)

    def _array(self, entry: Entry, table: Table, rows: Any, name: str, times: NDArray[np.float64]) -> NDArray[Any]:
        """One observation or extra array of an episode whose steps were taken at ``times`` ``(T,)`` [s]."""
        source, spec = self.plan.sources[name], {**self.plan.observation, **self.plan.extras}[name]
        feature = self.info.features[source]
        if feature.dtype == "video":
            clip = entry.clips[source]
            file = paths.inside(self.root, clip.file)
            if clip.duration is not None and round(clip.duration * self.info.fps) != entry.length:
                raise StoreError(
                    f"{file}: episode {entry.index} has {clip.duration:.3f} s of video for {entry.length} steps; restore meta/"
                )
            return frames_at(file, clip.start + times, feature.shape, self.info.fps, alone=clip.duration is None)
        if feature.dtype == "image":
            return decode_images(self.root, f"{table.path}: {source!r} of episode {entry.index}", table.values(rows, source), feature.shape)
        array = table.array(rows, source, spec.shape)
        if not np.can_cast(array.dtype, spec.dtype, "safe"):
            raise StoreError(
                f"{table.path}: column {source!r} holds {array.dtype}, other files {spec.dtype}; the files of a data set share types"
            )
        return array.astype(spec.dtype, copy=False)

    def _sim_state(self, table: Table, rows: Any, columns: list[str]) -> NDArray[Any] | None:
        if SIM_STATE not in columns:
            return None
        states = table.array(rows, SIM_STATE, self.info.features[SIM_STATE].shape)
        return None if np.isnan(states).all() else states

    def _provenance(self, entry: Entry, table: Table, rows: Any) -> dict[str, Any]:
        """Where the episode came from; texts that change within it as ``[[first step, text], ...]``."""
        provenance: dict[str, Any] = {"source": "import", "format": NAME, "version": self.info.version, "dataset": self.root.resolve().name}
        provenance |= {"file": entry.data, "original_index": entry.index}
        if self.info.robot_type:
            provenance["robot_type"] = self.info.robot_type
        indices = table.whole_numbers(rows, "task_index").tolist() if "task_index" in rows.column_names else []
        texts = [self.tasks.get(index, "") for index in indices]
        provenance["task"] = (texts[0] if texts else "") or (entry.tasks[0] if entry.tasks else "")
        if indices:
            provenance["task_index"] = int(indices[0])
        if len(set(indices)) > 1:
            provenance["tasks"] = runs_of(texts)
        if self.plan.texts:
            provenance["texts"] = {name: runs_of(table.texts(rows, name)) for name in self.plan.texts}
        if isinstance(original := _json_object(entry.notes.get("provenance")), dict):
            provenance |= {"original": original} | {key: original[key] for key in ("seed",) if key in original}
        return provenance


def _json_object(text: Any) -> Any:
    try:
        return json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None


def _cast(values: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Numbers in the type that was chosen to hold them; what would not fit becomes infinity, which an episode's check refuses."""
    with np.errstate(over="ignore"):
        return values.astype(dtype)
