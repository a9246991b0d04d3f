"""The run that ``overwrite=true`` replaces: kept aside in its folder until the new one has begun, and put back where that fails.

A kill at any moment leaves one of three folders within, which :func:`put_back` goes on from: ``ASIDE`` holds the whole old run, and what is
around it is the new one's start; ``MOVING`` holds a part of it, and the rest is around it; ``GONE`` is being removed.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

ASIDE, MOVING, GONE = ".robolearn_replaced", ".robolearn_moving", ".robolearn_gone"
LOCK = ".lock"  # ending of locks, which stay where they are: somebody may hold them


def set_aside(folder: Path) -> None:
    """Keep what a run folder holds, out of the new run's way."""
    moving = folder / MOVING
    moving.mkdir()
    for place in list(_contents(folder)):
        place.rename(moving / place.name)
    moving.rename(folder / ASIDE)


def is_aside(folder: Path) -> bool:
    """Whether a folder keeps a run that can be put back."""
    return (folder / ASIDE).is_dir()


def is_cut_short(folder: Path) -> bool:
    """Whether somebody who replaces a run is at work in a folder, or died there."""
    return any((folder / name).is_dir() for name in (ASIDE, MOVING, GONE))


def put_back(folder: Path) -> None:
    """Take a run from aside, over whatever was begun instead; harmless where there is none."""
    if is_aside(folder):
        clear(folder)
        (folder / ASIDE).rename(folder / MOVING)
    if (folder / MOVING).is_dir():
        for place in list((folder / MOVING).iterdir()):
            place.rename(folder / place.name)
        (folder / MOVING).rmdir()
    remove(folder)


def give_up(folder: Path) -> None:
    """What is aside is not put back any more: a rename, which takes no time; harmless where there is none."""
    if is_aside(folder):
        (folder / ASIDE).rename(folder / GONE)


def remove(folder: Path) -> None:
    """Remove what was given up."""
    if (folder / GONE).is_dir():
        shutil.rmtree(folder / GONE)


def clear(folder: Path) -> None:
    """Empty a run folder but for locks and what is aside."""
    for place in list(_contents(folder)):
        if place.is_dir() and not place.is_symlink():
            shutil.rmtree(place)
        else:
            place.unlink()


def _contents(folder: Path) -> Iterator[Path]:
    return (place for place in folder.iterdir() if place.name not in (ASIDE, MOVING, GONE) and not place.name.endswith(LOCK))
