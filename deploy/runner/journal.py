"""A journal for runs that are not recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray


class Unrecorded:
    """Takes what a recorder takes, and keeps nothing."""

    def __enter__(self) -> Unrecorded:
        return self

    def __exit__(self, *_: object) -> None:
        return

    lost = ()  # nothing can be

    def close(self) -> None:
        """Nothing is open."""

    def received(self, message: Any) -> None:
        """A message that was heard."""

    def begin(self, source: str = "rollout", **provenance: Any) -> int:
        """An episode begins."""
        return 0

    def step(self, observation: Mapping[str, NDArray[Any]], action: Any, *, intervention: bool = False, stamp: int | None = None) -> None:
        """One step of it."""

    def finish(self, success: bool | None, terminated: bool | None = None, notes: str = "", *, truncated: bool = False) -> None:
        """It is over."""

    def discard(self) -> None:
        """It never was."""

    def mark(self, event: str, words: str = "", stamp: int | None = None, **values: Any) -> None:
        """Something happened."""

    def problems(self) -> list[Any]:
        """Nothing can go wrong."""
        return []
