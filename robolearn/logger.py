"""Training curves: one JSON object a line in ``metrics.jsonl``, and TensorBoard events where it is installed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO


class Logger:
    """Writes ``{name: number}`` by step; every line is flushed, so a crash loses none.

    Args:
        folder: where ``metrics.jsonl`` and ``tensorboard/`` go.
        tensorboard: also write TensorBoard events. Both files are opened with the first number.
    """

    def __init__(self, folder: Path, *, tensorboard: bool = True) -> None:
        self.path = folder / "metrics.jsonl"
        self._file: TextIO | None = None
        self._events_folder = folder / "tensorboard" if tensorboard else None
        self._events: Any = None
        self._purge_step: int | None = None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append one line; infinite and NaN values become null."""
        numbers = {name: float(value) for name, value in values.items()}
        line = {"step": int(step), **{name: value if math.isfinite(value) else None for name, value in numbers.items()}}
        if self._file is None:
            self._file = self.path.open("a")
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()
        if self._events_folder is not None and self._events is None:
            self._events = _event_writer(self._events_folder, self._purge_step)
            self._events_folder = self._events_folder if self._events is not None else None
        if self._events is not None:
            for name, value in numbers.items():
                self._events.add_scalar(name, value, int(step))

    def rewind(self, step: int) -> None:
        """Drop what was logged after ``step``, in both files: a resumed run is about to do it again."""
        self.close()
        self._purge_step = step + 1
        kept = [line for line in read_metrics(self.path) if line["step"] <= step]
        draft = self.path.with_suffix(".draft")
        draft.write_text("".join(json.dumps(line) + "\n" for line in kept))
        draft.replace(self.path)

    def close(self) -> None:
        """Flush and close both files; the next number opens them again."""
        if self._file is not None:
            self._file.close()
            self._file = None
        if self._events is not None:
            self._events.close()
            self._events = None


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``; what follows a torn one is left out, and there are none where there is no file."""
    lines = []
    for text in path.read_text().splitlines() if path.is_file() else ():
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        lines.append(line)
    return lines


def _event_writer(folder: Path, purge_step: int | None) -> Any:
    """A writer whose readers drop earlier events from ``purge_step`` on; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder), purge_step=purge_step)
