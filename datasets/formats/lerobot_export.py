"""Writes a store as a LeRobot v3.0 data set, which lerobot 0.4 loads; streams, one episode in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_features import FLAGS, INDICES, NEXT_REWARD, TIMESTAMP
from robolearn.datasets.formats.lerobot_files import FILES_PER_CHUNK, ParquetFiles, VideoFiles
from robolearn.datasets.formats.lerobot_images import encode_images
from robolearn.datasets.formats.lerobot_layout import Layout, layout_of
from robolearn.datasets.formats.lerobot_outcome import flags_of, from_runs, outcome_of
from robolearn.datasets.formats.lerobot_stats import Aggregate, Figures, as_lists, image_stats, vector_stats
from robolearn.datasets.formats.lerobot_table import column_of, hugging_face_metadata
from robolearn.datasets.formats.lerobot_video import CODECS
from robolearn.datasets.formats.optional import need
from robolearn.datasets.layout import ACTION, SIM_STATE, StoreError
from robolearn.datasets.reader import StoreReader
from robolearn.episode import Episode
from robolearn.errors import nearest

_EPISODES_PER_WRITE = 64


def write(
    store: StoreReader,
    out: Path,
    *,
    video: bool = True,
    codec: str = "h264",
    crf: int = 18,
    data_files_size_in_mb: float = 100,
    video_files_size_in_mb: float = 200,
) -> list[str]:
    """Make the data set ``out``; returns a line for each thing that LeRobot cannot hold.

    Args:
        store: what to write.
        out: a folder that is not there yet.
        video: pictures as mp4 (lossy); false: as PNG in the tables (lossless).
        codec: of the mp4, ``h264`` or ``av1``.
        crf: quality of the mp4, lower is better.
        data_files_size_in_mb: a parquet file is closed before it exceeds this.
        video_files_size_in_mb: likewise an mp4.

    Raises:
        StoreError: nothing to write, a damaged episode, or pictures that mp4 cannot hold.
    """
    if codec not in CODECS:
        raise StoreError(f"no codec {codec!r}; there are {', '.join(CODECS)}{nearest(codec, CODECS)}")
    layout = layout_of(store)
    odd = [name for name, shape in layout.cameras.items() if shape[0] % 2 or shape[1] % 2]
    if video and odd:
        raise StoreError(f"{odd[0]!r} has the size {layout.cameras[odd[0]][:2]}; video wants even numbers, video=false keeps it as images")
    limits = {"data_files_size_in_mb": data_files_size_in_mb, "video_files_size_in_mb": video_files_size_in_mb}
    with ExitStack() as files:
        data = files.enter_context(ParquetFiles(out, paths.DATA_PATH, data_files_size_in_mb))
        listing = files.enter_context(ParquetFiles(out, f"{paths.EPISODES}/{paths.CHUNK_FILE}.parquet", data_files_size_in_mb))
        cameras = layout.cameras if video else {}
        videos = {name: VideoFiles(out, name, video_files_size_in_mb, layout.fps, codec, crf) for name in cameras}
        for writer in videos.values():
            files.callback(writer.close)
        exporter = _Exporter(store, layout, data, listing, videos)
        for index in range(store.num_episodes):
            exporter.add(index)
        exporter.list_episodes()
    exporter.describe(out, codec, limits)
    return _losses(store, layout, video, codec, crf)


class _Exporter:
    """An export under way: what has been written so far."""

    def __init__(
        self, store: StoreReader, layout: Layout, data: ParquetFiles, listing: ParquetFiles, videos: Mapping[str, VideoFiles]
    ) -> None:
        self.store, self.layout = store, layout
        self.data, self.listing, self.videos = data, listing, videos
        self.tasks: dict[str, int] = {}
        self.steps = 0
        self.stats = Aggregate()
        self._rows: list[dict[str, Any]] = []

    def add(self, index: int) -> None:
        """Write one episode."""
        episode = self.store.episode(index)
        texts = self._task_texts(episode)
        columns = self._columns(index, episode, texts)
        figures: dict[str, Figures] = {name: vector_stats(values) for name, values in columns.items() if name != SIM_STATE}
        row: dict[str, Any] = {"episode_index": index, "tasks": list(dict.fromkeys(texts)), "length": len(episode)}
        cells = {}
        for name, camera in self._cameras(episode).items():
            figures[name] = image_stats(camera)
            if name in self.videos:
                row |= {f"videos/{name}/{key}": value for key, value in self.videos[name].write(camera).items()}
            else:
                cells[name] = encode_images(camera)
        row |= {f"data/{key}": value for key, value in self.data.turn(len(episode)).items()}
        self.data.write(self._table(episode, columns, cells))
        row |= {"dataset_from_index": self.steps, "dataset_to_index": self.steps + len(episode)}
        row |= {f"stats/{name}/{key}": value for name, entry in figures.items() for key, value in as_lists(entry).items()}
        row |= {f"robolearn/{key}": bool(getattr(episode, key)) for key in ("terminated", "truncated", "success")}
        row["robolearn/provenance"] = str(self.store.column("provenance")[index])
        self._rows.append(row)
        self.stats.add(figures)
        self.steps += len(episode)
        if len(self._rows) == _EPISODES_PER_WRITE:
            self.list_episodes()

    def _task_texts(self, episode: Episode) -> list[str]:
        """The task of each step, in words."""
        known = from_runs(episode.provenance.get("tasks"), len(episode))
        if known is not None and all(isinstance(text, str) for text in known):
            return known
        text = episode.provenance.get("task")
        return [text if isinstance(text, str) and text else self.store.env_spec.task] * len(episode)

    def _columns(self, index: int, episode: Episode, texts: list[str]) -> dict[str, NDArray[Any]]:
        """All numbers of an episode, ``{feature: (T, ...)}``."""
        length, layout = len(episode), self.layout
        columns: dict[str, NDArray[Any]] = {ACTION: episode.actions, NEXT_REWARD: episode.rewards}
        for name, feature in layout.sources.items():
            if feature not in layout.cameras:
                columns[feature] = _array(episode, name)
        if SIM_STATE in layout.columns:
            blank = np.full((length, *layout.columns[SIM_STATE][1]), np.nan)
            columns[SIM_STATE] = blank if episode.sim_state is None else episode.sim_state
        ended = (episode.terminated, episode.truncated, episode.success)
        noted = {name: columns[name].reshape(-1) for name in FLAGS if name in columns}
        usual = flags_of(*ended, length)
        columns |= usual if outcome_of(noted) != ended else {**usual, **noted}  # a store's own, unless it was labelled anew
        columns.setdefault(TIMESTAMP, (np.arange(length) / layout.fps).astype(np.float32))
        task = np.array([self.tasks.setdefault(text, len(self.tasks)) for text in texts])
        steps = np.arange(length)
        indices = (steps, np.full(length, index), self.steps + steps, task)
        return columns | {name: values.astype(np.int64) for name, values in zip(INDICES, indices, strict=True)}

    def _cameras(self, episode: Episode) -> dict[str, NDArray[np.uint8]]:
        return {feature: _array(episode, name) for name, feature in self.layout.sources.items() if feature in self.layout.cameras}

    def _table(self, episode: Episode, columns: Mapping[str, NDArray[Any]], cells: Mapping[str, list[dict[str, Any]]]) -> Any:
        """An episode's rows, typed as Hugging Face's ``datasets`` does."""
        pa = need("pyarrow", "the LeRobot format")
        features = {name: self.layout.columns[name] for name in self.layout.columns} | {name: ("image", ()) for name in cells}
        noted = episode.provenance.get("texts")
        arrays = []
        for name in features:
            if name in cells:
                arrays.append(pa.array(cells[name], pa.struct([("bytes", pa.binary()), ("path", pa.string())])))
            elif name in columns:
                arrays.append(column_of(columns[name]))
            else:
                texts = from_runs(noted.get(name), len(episode)) if isinstance(noted, dict) else None
                arrays.append(pa.array([text if isinstance(text, str) else "" for text in texts or [""] * len(episode)]))
        table = pa.Table.from_arrays(arrays, names=list(features))
        return table.replace_schema_metadata(hugging_face_metadata(features))

    def list_episodes(self) -> None:
        """Write the rows of ``meta/episodes`` gathered so far."""
        if not self._rows:
            return
        pa = need("pyarrow", "the LeRobot format")
        rows, self._rows = self._rows, []
        place = {f"meta/episodes/{key}": [value] * len(rows) for key, value in self.listing.turn(len(rows)).items()}
        self.listing.write(pa.Table.from_pydict({name: [row[name] for row in rows] for name in rows[0]} | place))

    def describe(self, out: Path, codec: str, limits: Mapping[str, float]) -> None:
        """Write the rest of ``meta/``."""
        layout, store = self.layout, self.store
        kind = "video" if self.videos else "image"
        camera_info = {
            "video.codec": codec,
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": _whole(layout.fps),
            "video.channels": 3,
            "has_audio": False,
        }
        info = {
            "codebase_version": "v3.0",
            "robot_type": _robot_type(store),
            "total_episodes": store.num_episodes,
            "total_frames": self.steps,
            "total_tasks": len(self.tasks),
            "chunks_size": FILES_PER_CHUNK,
            **limits,
            "fps": _whole(layout.fps),
            "splits": {"train": f"0:{store.num_episodes}"},
            "data_path": paths.DATA_PATH,
            "video_path": paths.VIDEO_PATH if self.videos else None,
            "features": layout.features(kind, camera_info),
        }
        notes = {"env_spec": store.env_spec.to_dict(), "features": dict(layout.sources)}
        for name, content in ((paths.INFO, info), (paths.STATS, self.stats.result()), (paths.NOTES, notes)):
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            (out / name).write_text(json.dumps(content, indent=1, ensure_ascii=False), "utf-8")
        _write_tasks(out / paths.TASKS, self.tasks)


def _array(episode: Episode, name: str) -> NDArray[Any]:
    return episode.observations[name] if name in episode.observations else episode.extras[name]


def _write_tasks(file: Path, tasks: Mapping[str, int]) -> None:
    """``tasks.parquet``, whose texts are a pandas index."""
    pa, parquet = need("pyarrow", "the LeRobot format"), need("pyarrow.parquet", "the LeRobot format")
    column = {"metadata": None, "pandas_type": "int64", "numpy_type": "int64", "name": "task_index", "field_name": "task_index"}
    index = {"metadata": None, "pandas_type": "unicode", "numpy_type": "object", "name": "task", "field_name": "task"}
    pandas = {"index_columns": ["task"], "column_indexes": [], "columns": [column, index], "pandas_version": "2.2.3"}
    table = pa.table({"task_index": pa.array(list(tasks.values()), pa.int64()), "task": pa.array(list(tasks), pa.string())})
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), file)


def _whole(number: float) -> float | int:
    return int(number) if float(number).is_integer() else number


def _robot_type(store: StoreReader) -> str | None:
    return store.provenance(0).get("robot_type") or None


def _losses(store: StoreReader, layout: Layout, video: bool, codec: str, crf: int) -> list[str]:
    lost = [
        "units, frames, action limits and stages have no place in LeRobot: kept in meta/robolearn.json, which it does not read",
        "provenance and terminated beside truncated have no place in LeRobot: kept in meta/episodes, columns robolearn/...",
    ]
    if video and layout.cameras:
        lost.append(
            f"pictures of {', '.join(layout.cameras)} are {codec} video with crf {crf}, not the same to the bit; video=false keeps them"
        )
    if SIM_STATE in layout.columns:
        lost.append("sim_state is a column that LeRobot's policies do not read; episodes without it hold NaN there")
    if not float(layout.fps).is_integer():
        lost.append(f"control_hz {layout.fps:g} is written as fps; LeRobot expects a whole number")
    moved = {name: feature for name, feature in layout.sources.items() if name != feature}
    if moved:
        lost.append("renamed: " + ", ".join(f"{name} to {feature}" for name, feature in moved.items()))
    return lost
