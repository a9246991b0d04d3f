"""What a check finds, and who looks for it: watchers that are shown every array of a store in blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.blocks import split_at


@dataclass
class Findings:
    """What a check found, one line each.

    Args:
        errors: broken promises of the format.
        warnings: what is allowed and looks like a mistake.
    """

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: Findings) -> None:
        """Take over another's lines."""
        self.errors += other.errors
        self.warnings += other.warnings


class Watcher(Protocol):
    """Is shown every array of a store in blocks, arrays in alphabetical order, the rows of each in order."""

    def see(self, name: str, start: int, rows: NDArray[Any]) -> None:
        """Rows ``start`` to ``start + len(rows)`` of an array; rows of damaged files are never shown."""

    def findings(self, damaged: set[int]) -> Findings:
        """What was found, lines on the ``damaged`` episodes left out."""


def episodes_in(ends: NDArray[np.int64], start: int, rows: NDArray[Any]) -> Iterator[tuple[int, int, NDArray[Any]]]:
    """``(episode, first row of it that is shown, its rows)`` of a block that begins at row ``start``.

    Args:
        ends: ``(E,)`` where each episode ends, in rows.
        start: first row of the block.
        rows: the block.
    """
    bounds = split_at(ends, start, start + len(rows))
    first = int(np.searchsorted(ends, start, side="right"))
    for offset, (begin, end) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        yield first + offset, begin, rows[begin - start : end - start]
