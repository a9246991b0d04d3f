"""A progress bar with time left on a terminal; a line every few seconds in a log file."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, TextIO


class Progress:
    """Counts up to ``total`` on stderr.

    Args:
        title: what is being done.
        total: how many.
        stream: where to write; stderr unless given.
        interval_s: seconds between two lines where the stream is no terminal.
    """

    def __init__(self, title: str, total: int, *, stream: TextIO | None = None, interval_s: float = 10.0) -> None:
        self.title, self.total, self.done = title, total, 0
        self._stream = stream if stream is not None else sys.stderr
        self._interval = interval_s
        self._start = self._last = time.monotonic()
        self._begun = 0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as Bar

            columns = ("{task.description}", BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), "<", TimeRemainingColumn())
            self._bar = Bar(*columns, TextColumn("{task.fields[values]}"), console=Console(file=self._stream))
            self._task = self._bar.add_task(self.title, total=self.total, completed=self.done, values="")
            self._bar.start()
        return self

    def start_at(self, done: int) -> None:
        """Begin at ``done``, as a resumed run does; time left is reckoned from here on."""
        self.done = self._begun = done
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def advance(self, count: int = 1, **values: float | str) -> None:
        """``count`` more are done; ``values`` are shown beside the bar."""
        self.done += count
        text = " ".join(f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}" for name, value in values.items())
        if self._bar is not None:
            self._bar.update(self._task, completed=self.done, values=text)
            return
        now = time.monotonic()
        if now - self._last >= self._interval:
            self._last = now
            left = (now - self._start) / max(self.done - self._begun, 1) * (self.total - self.done)
            print(f"{self.title}: {self.done}/{self.total}, {_clock(left)} left {text}".rstrip(), file=self._stream, flush=True)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(seconds, 0.0)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
