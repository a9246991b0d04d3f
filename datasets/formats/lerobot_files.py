"""Files of a LeRobot v3.0 export: several episodes each, a new one begun when the last is big enough."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.formats import lerobot_paths as paths
from robolearn.datasets.formats.lerobot_video import VideoWriter
from robolearn.datasets.formats.optional import need

FILES_PER_CHUNK = 1000


class Place:
    """Numbers of the file that is being filled, and whether the next episode still fits."""

    def __init__(self, limit_mb: float) -> None:
        self._limit, self._number, self._steps = limit_mb * 1e6, 0, 0

    @property
    def chunk(self) -> int:
        """Number of the folder."""
        return self._number // FILES_PER_CHUNK

    @property
    def file(self) -> int:
        """Number of the file in its folder."""
        return self._number % FILES_PER_CHUNK

    def is_full(self, size: int, steps: int) -> bool:
        """Whether ``steps`` more at the file's bytes a step would exceed the limit; then the next file's turn has come."""
        full = self._steps > 0 and size * (1 + steps / self._steps) >= self._limit
        if full:
            self._number, self._steps = self._number + 1, 0
        self._steps += steps
        return full


class ParquetFiles:
    """Data files; a row group an episode. Usable as a context, as a parquet file is none before its footer is written."""

    def __init__(self, root: Path, template: str, limit_mb: float) -> None:
        self.place = Place(limit_mb)
        self._root, self._template = root, template
        self._writer: Any = None
        self._file: Any = None

    def turn(self, rows: int) -> dict[str, int]:
        """Numbers of the file that the next ``rows`` rows go to."""
        if self.place.is_full(self._file.tell() if self._file else 0, rows):
            self.close()
        return {"chunk_index": self.place.chunk, "file_index": self.place.file}

    def write(self, table: Any) -> None:
        """Add rows, after :meth:`turn`."""
        parquet = need("pyarrow.parquet", "the LeRobot format")
        if self._writer is None:
            path = self._root / paths.fill(self._template, chunk_index=self.place.chunk, file_index=self.place.file)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = parquet.ParquetWriter(self._file, table.schema, compression="snappy", write_page_checksum=True)
        self._writer.write_table(table, row_group_size=max(1, table.num_rows))

    def close(self) -> None:
        """Write the footer of the file at hand."""
        writer, file, self._writer, self._file = self._writer, self._file, None, None
        if writer is not None:
            try:
                writer.close()
            finally:
                file.close()

    def __enter__(self) -> ParquetFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class VideoFiles:
    """The mp4 files of one camera."""

    def __init__(self, root: Path, camera: str, limit_mb: float, fps: float, codec: str, crf: int) -> None:
        self.place = Place(limit_mb)
        self._root, self._camera = root, camera
        self._settings = (fps, codec, crf)
        self._writer: VideoWriter | None = None

    def write(self, pictures: NDArray[np.uint8]) -> dict[str, float]:
        """Add an episode's pictures ``(T, height, width, 3)``; returns the file's numbers and the time span in it [s]."""
        if self.place.is_full(self._writer.size if self._writer else 0, len(pictures)):
            self.close()
        if self._writer is None:
            place = {"chunk_index": self.place.chunk, "file_index": self.place.file}
            self._writer = VideoWriter(self._root / paths.fill(paths.VIDEO_PATH, **place, video_key=self._camera), *self._settings)
        start, stop = self._writer.write(pictures)
        return {"chunk_index": self.place.chunk, "file_index": self.place.file, "from_timestamp": start, "to_timestamp": stop}

    def close(self) -> None:
        """Finish the file at hand."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
