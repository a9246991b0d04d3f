"""Films episodes: replays seeds with a renderer and writes one h264 mp4 each."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import reading
from robolearn.learning.rollout import rollout
from robolearn.protocols import Environment, Policy
from robolearn.run import safe_name

CLIPS = "clips.json"


@dataclass(frozen=True)
class Clip:
    """A filmed episode.

    Args:
        path: mp4 file.
        arm: the policy's name.
        seed: of the episode.
        success: how the filmed episode ended.
        steps: control steps.
    """

    path: Path
    arm: str
    seed: int
    success: bool
    steps: int


class VideoWriter:
    """An h264 mp4 that any browser plays.

    Args:
        path: the file.
        fps: pictures a second, at least 0.001.
        width: pictures are scaled to this width [pixels].
    """

    def __init__(self, path: Path, fps: float = 30, width: int = 480) -> None:
        self._path, self._fps, self._width = path, fps, width
        self._container: Any = None
        self._stream: Any = None

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a picture ``(H, W, 3)``."""
        import av

        if self._container is None:
            height, width = frame.shape[:2]
            self._container = av.open(str(self._path), "w", options={"movflags": "faststart"})
            rate = Fraction(self._fps).limit_denominator(1001)  # 1001 is that of television's 29.97
            self._stream = self._container.add_stream("libx264", rate=rate, options={"crf": "27", "preset": "veryfast"})
            self._stream.width = min(self._width, width) // 2 * 2  # h264 wants even sizes
            self._stream.height = round(height * self._stream.width / width) // 2 * 2
            self._stream.pix_fmt = "yuv420p"
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None:
            self._container.mux(self._stream.encode())
            self._container.close()
            self._container = None

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def film(
    env: Environment, policy: Policy, seeds: NDArray[np.int64], folder: Path, name: str, *, hold: int = 9, every: int = 3, fps: int = 10
) -> list[Clip]:
    """Play ``seeds`` again and film each; a clip says how the filmed episode ended, which the number of rows can change.

    Args:
        env: has ``render(row) -> (H, W, 3) uint8``.
        policy: acts in the environment's rows.
        seeds: ``(n,)`` episodes.
        folder: where the mp4 files go.
        name: of the policy.
        hold: steps filmed beyond an episode's end.
        every: steps between two pictures; drawing without a GPU takes a tenth of a second.
        fps: pictures a second; at 10 control steps a second the film is ``every * fps / 10`` times as fast as life.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{safe_name(name)}_{seed}.mp4" for seed in seeds]
    writers = [VideoWriter(path, fps) for path in paths]
    steps = np.zeros(len(seeds), np.int64)

    def draw(index: int, row: int) -> None:
        if steps[index] % every == 0:
            writers[index].write(env.render(row))  # type: ignore[attr-defined]
        steps[index] += 1

    try:
        result = rollout(env, policy, seeds, hold=hold, watch=draw)
    finally:
        for writer in writers:
            writer.close()
    outcomes = zip(paths, seeds, result.success, result.steps, strict=True)
    return [Clip(path, name, int(seed), bool(success), int(length)) for path, seed, success, length in outcomes]


def write_clips(folder: Path, clips: Sequence[Clip]) -> None:
    """List the clips of a folder in ``clips.json``; the inverse of :func:`read_clips`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CLIPS).write_text(json.dumps([asdict(clip) | {"path": clip.path.name} for clip in clips], indent=1))


def read_clips(file: Path) -> list[Clip]:
    """The clips that ``clips.json`` lists; none where there is no such file."""
    if not file.is_file():
        return []
    with reading(file):
        return [Clip(**{**entry, "path": file.parent / entry["path"]}) for entry in json.loads(file.read_text())]


def why_no_pictures(env: Any) -> str:
    """Draw one picture of a fresh episode: empty when that works, else what the renderer said."""
    if not callable(getattr(env, "render", None)):
        return "the task draws no pictures"
    try:
        env.reset(seed=[0] * env.num_envs)
        env.render(0)
    except Exception as error:  # OpenGL bindings raise whatever they like
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return ""
