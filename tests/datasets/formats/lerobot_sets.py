"""Small LeRobot data sets of every version, written with pyarrow and PyAV alone, as others would."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from robolearn.datasets.formats.lerobot_video import priority_kept

FPS = 10
LENGTHS = (6, 4, 7)
HEIGHT, WIDTH = 48, 64
CAMERA, STATE = "observation.images.front", "observation.state"
TASKS = ("pick up the leg", "screw it in")
TEMPLATES = {
    "v2": {
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
    },
    "v3": {
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    },
}


def numbers(episode: int) -> dict[str, np.ndarray]:
    """What an episode should come in as."""
    rng = np.random.default_rng([5, episode])
    steps = LENGTHS[episode]
    return {
        STATE: rng.standard_normal((steps, 3)).astype(np.float32),
        "action": rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        "next.reward": rng.standard_normal(steps).astype(np.float32),
        "next.done": np.arange(steps) == steps - 1,
        "next.success": np.full(steps, episode == 1) & (np.arange(steps) == steps - 1),
    }


def pictures(episode: int, steps: int | None = None) -> np.ndarray:
    """Smooth pictures, each step's unlike the last: ``(T, height, width, 3)``."""
    time = np.arange(steps or LENGTHS[episode])[:, None, None, None] * 13 + 40 * episode
    row, column = np.arange(HEIGHT)[None, :, None, None], np.arange(WIDTH)[None, None, :, None]
    wave = (time + row + 2 * column * np.array([1.0, 0.5, 0.0])) % 510
    return (255 - np.abs(wave - 255)).astype(np.uint8)


def features(**more: dict) -> dict:
    scalar = {"shape": [1], "names": None}
    return {
        STATE: {"dtype": "float32", "shape": [3], "names": [["one", "two", "three"]]},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["left", "right"]}},
        "next.reward": {"dtype": "float32", **scalar},
        "next.done": {"dtype": "bool", **scalar},
        "next.success": {"dtype": "bool", **scalar},
        CAMERA: {"dtype": "video", "shape": [HEIGHT, WIDTH, 3], "names": ["height", "width", "channel"], "info": {"video.fps": FPS}},
        "timestamp": {"dtype": "float32", **scalar},
        **{name: {"dtype": "int64", **scalar} for name in ("frame_index", "episode_index", "index", "task_index")},
        **more,
    }


def column(values: np.ndarray) -> pa.Array:
    return pa.array(values) if values.ndim == 1 else pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def table(episode: int) -> pa.Table:
    steps = np.arange(LENGTHS[episode])
    start = sum(LENGTHS[:episode])
    columns = {
        **numbers(episode),
        "timestamp": (steps / FPS).astype(np.float32),
        "frame_index": steps,
        "episode_index": np.full(len(steps), episode),
        "index": start + steps,
        "task_index": np.full(len(steps), episode % 2),
    }
    return pa.table({name: column(values) for name, values in columns.items()})


def write_mp4(file: Path, frames: np.ndarray, codec: str = "libx264", container: str = "mp4") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w", format=container) as output:
        stream = output.add_stream(codec, rate=Fraction(FPS), options={"crf": "18", "g": "2"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        with priority_kept():
            stream.codec_context.open()
        for picture in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode())


def write_set(root: Path, version: str = "v3.0", *, codec: str = "libx264", text_column: str = "task") -> Path:
    """Three episodes; v3.0: the first two in one file each of data and video, the third in the next."""
    info = {
        "codebase_version": version,
        "robot_type": "toy",
        "total_episodes": 99,  # wrong, as in the wild
        "total_frames": 12345,
        "splits": {"train": "0:99"},
        "chunks_size": 1000,
        "fps": FPS,
        "features": features(),
        "tools": [{"name": "of a later version"}],
        **TEMPLATES[version[:2]],
    }
    write_json(root / "meta/info.json", info)
    (write_v3 if version == "v3.0" else write_v2)(root, codec, text_column)
    if version == "v2.0":
        write_json(root / "meta/stats.json", {})
    return root


def write_v2(root: Path, codec: str, text_column: str) -> None:
    for episode in range(len(LENGTHS)):
        place = {"episode_chunk": 0, "episode_index": episode}
        write_table(root / TEMPLATES["v2"]["data_path"].format(**place), table(episode))
        write_mp4(root / TEMPLATES["v2"]["video_path"].format(**place, video_key=CAMERA), pictures(episode), codec)
    rows = [{"episode_index": index, "tasks": [TASKS[index % 2]], "length": length} for index, length in enumerate(LENGTHS)]
    write_lines(root / "meta/episodes.jsonl", rows)
    write_lines(root / "meta/tasks.jsonl", [{"task_index": index, "task": text} for index, text in enumerate(TASKS)])


def write_v3(root: Path, codec: str, text_column: str) -> None:
    rows = []
    for number, group in enumerate(([0, 1], [2])):
        place = {"chunk_index": 0, "file_index": number}
        write_table(root / TEMPLATES["v3"]["data_path"].format(**place), pa.concat_tables([table(episode) for episode in group]))
        video = root / TEMPLATES["v3"]["video_path"].format(**place, video_key=CAMERA)
        write_mp4(video, np.concatenate([pictures(episode) for episode in group]), codec)
        start = 0
        for episode in group:
            stop = start + LENGTHS[episode]
            row = {"episode_index": episode, "tasks": [TASKS[episode % 2]], "length": LENGTHS[episode]}
            row |= {f"data/{key}": value for key, value in place.items()}
            row |= {f"videos/{CAMERA}/{key}": value for key, value in place.items()}
            row |= {f"videos/{CAMERA}/from_timestamp": start / FPS, f"videos/{CAMERA}/to_timestamp": stop / FPS}
            rows.append(row | {"stats/action/min": [0.0, 0.0]})
            start = stop
    write_table(root / "meta/episodes/chunk-000/file-000.parquet", pa.Table.from_pylist(rows))
    write_table(root / "meta/tasks.parquet", pa.table({"task_index": [1, 0], text_column: [TASKS[1], TASKS[0]]}))


def write_table(file: Path, content: pa.Table) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(content, file)


def write_json(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content))


def write_lines(file: Path, rows: list[dict]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


def edit_info(root: Path, **changes: object) -> Path:
    """Change keys of ``info.json``; ``features`` are changed one by one, None removes one."""
    file = root / "meta/info.json"
    info = json.loads(file.read_text())
    for name, entry in (changes.pop("features", None) or {}).items():
        info["features"][name] = entry
        if entry is None:
            del info["features"][name]
    write_json(file, info | changes)
    return root


def edit_tables(root: Path, change) -> Path:
    """Replace every data file by what ``change`` makes of it."""
    for file in sorted((root / "data").rglob("*.parquet")):
        write_table(file, change(pq.read_table(file)))
    return root


def with_column(name: str, make):
    """A change of tables: column ``name`` is ``make(table)``."""

    def change(content: pa.Table) -> pa.Table:
        made = make(content)
        return (
            content.set_column(content.column_names.index(name), name, made)
            if name in content.column_names
            else content.append_column(name, made)
        )

    return change
