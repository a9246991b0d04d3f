"""Camera pictures in mp4 files: frames picked by their time stamps, and written with several episodes a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats.optional import need
from robolearn.datasets.layout import StoreError

CODECS = {"h264": "libx264", "av1": "libsvtav1"}
MAX_BYTES = 1 << 34  # decoded pictures of one camera in one episode
_CLOSE = 0.5  # a step's frame is at most this share of a frame's time away
_GROUP = 2  # frames a key frame serves: random access is then cheap (LeRobot's choice)


def frames_at(file: Path, times: NDArray[np.float64], shape: Sequence[int], fps: float, *, alone: bool) -> NDArray[np.uint8]:
    """The pictures ``(T, height, width, 3)`` that were taken at ``times``.

    Args:
        file: mp4, AV1 or H.264 or whatever the FFmpeg in PyAV decodes.
        times: ``(T,)`` increasing [s].
        shape: height, width and channels that the data set claims.
        fps: frames a second.
        alone: the file holds this episode and no other: as many frames as steps.

    Raises:
        StoreError: damaged, pictures of another size, or a step without a frame of its own.
    """
    if not np.isfinite(times).all() or (np.diff(times) <= 0).any():
        raise StoreError(f"{file}: the episode's time stamps do not increase, so that no frames can be picked")
    if len(times) * float(np.prod(shape)) > MAX_BYTES:
        raise StoreError(f"{file}: {len(times)} pictures of {tuple(shape)} in one episode are more than {MAX_BYTES >> 30} GiB")
    with _opened(file) as (container, stream):
        if alone and stream.frames not in (0, len(times)):
            raise StoreError(
                f"{file} holds {stream.frames} frames for an episode of {len(times)} steps: cut short, or another episode's; "
                "fetch it again, or leave_out=[its feature] imports without it"
            )
        start = int((float(times[0]) - 1 / fps) / stream.time_base)
        if start > 0:
            container.seek(start, stream=stream, backward=True, any_frame=False)
        return _pick(file, container.decode(stream), times, tuple(shape), _CLOSE / fps)


@contextmanager
def _opened(file: Path) -> Iterator[tuple[Any, Any]]:
    """The mp4 and its video stream. No other container is tried: a playlist by that name could open other files."""
    av = need("av", "LeRobot's video")
    try:
        with av.open(str(file), format="mp4") as container:
            if not container.streams.video:
                raise StoreError(f"{file} holds no video; fetch it again")
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            yield container, stream
    except StoreError:
        raise
    except Exception as error:  # FFmpeg raises many kinds for damaged bytes, a MemoryError of its own among them
        if isinstance(error, MemoryError) and not isinstance(error, av.error.FFmpegError):
            raise
        raise StoreError(f"{file} is damaged or no mp4: {' '.join(str(error).split())[:300]}; fetch it again") from error


def _pick(file: Path, frames: Iterator[Any], times: NDArray[np.float64], shape: tuple[int, ...], close: float) -> NDArray[np.uint8]:
    pictures = np.empty((len(times), *shape), np.uint8)
    step = 0
    for frame in frames:
        if frame.time is None or frame.time < times[step] - close:
            continue
        if frame.time > times[step] + close:
            break
        check_picture(str(file), frame, shape)
        pictures[step] = frame.to_ndarray(format="rgb24")
        step += 1
        if step == len(times):
            return pictures
    raise StoreError(
        f"{file}: no frame of its own for step {step} of {len(times)}, wanted at {times[step]:.3f} s; "
        "fetch it again, or leave_out=[its feature] imports without it"
    )


def check_picture(where: str, frame: Any, shape: Sequence[int]) -> None:
    """Raise ``StoreError`` unless a decoded frame has the size that was promised, in colour."""
    if (frame.height, frame.width, 3) != tuple(shape):
        raise StoreError(f"{where}: pictures are {frame.height}x{frame.width} in colour, meta/info.json says {tuple(shape)}")
    if frame.format.name.startswith("gray") and frame.format.name != "gray":
        raise StoreError(
            f"{where}: pictures are {frame.format.name}, more than 8 bits a pixel: depth? leave_out=[its feature] imports without it"
        )


@contextmanager
def priority_kept() -> Iterator[None]:
    """Keep this process from becoming a real-time one, which SVT-AV1 makes of root's as it opens, threads and caller alike."""
    tasks = Path("/proc/self/task")
    before = {int(task.name) for task in tasks.iterdir() if os.sched_getscheduler(int(task.name))} if tasks.is_dir() else set()
    yield
    for task in tasks.iterdir() if tasks.is_dir() else ():
        number = int(task.name)
        if number not in before and os.sched_getscheduler(number):
            os.sched_setscheduler(number, os.SCHED_OTHER, os.sched_param(0))


class VideoWriter:
    """One mp4 file that grows by episodes; finished by :meth:`close`.

    Args:
        file: a new file.
        fps: frames a second.
        codec: ``h264`` or ``av1``.
        crf: quality, lower is better.
    """

    def __init__(self, file: Path, fps: float, codec: str, crf: int) -> None:
        self.file, self._codec, self._crf = file, codec, crf
        self.rate = Fraction(fps).limit_denominator(1_000_000)
        self.frames = self.size = 0  # pictures taken in, bytes given out: an encoder holds some pictures back
        self._container: Any = None
        self._stream: Any = None

    def write(self, pictures: NDArray[np.uint8]) -> tuple[float, float]:
        """Add an episode's pictures ``(T, height, width, 3)``; returns from and to which time they are shown [s]."""
        av = need("av", "LeRobot's video")
        if self._container is None:
            self._open(av, *pictures.shape[1:3])
        begun = self.frames
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = self.frames, 1 / self.rate
            if self.frames == begun:
                frame.pict_type = av.video.frame.PictureType.I  # no episode leans on another's frames
            self._mux(self._stream.encode(frame))
            self.frames += 1
        return float(begun / self.rate), float(self.frames / self.rate)

    def _open(self, av: Any, height: int, width: int) -> None:
        os.environ.setdefault("SVT_LOG", "1")  # errors only
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(self.file), "w", format="mp4")
        options = {"crf": str(self._crf), "g": str(_GROUP), "preset": "veryfast" if self._codec == "h264" else "8"}
        options |= {"bf": "0"} if self._codec == "h264" else {}
        self._stream = self._container.add_stream(CODECS[self._codec], rate=self.rate, options=options)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        with priority_kept():
            self._stream.codec_context.open()

    def _mux(self, packets: list[Any]) -> None:
        self.size += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def close(self) -> None:
        """Finish the file."""
        if self._container is not None:
            try:
                self._mux(self._stream.encode())
            finally:
                container, self._container = self._container, None
                container.close()
