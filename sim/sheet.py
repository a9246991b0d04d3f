"""``robolearn sheet``: one picture of every task at every level of randomness, several starts each, to look at."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from robolearn.errors import UserError, check_positive, nearest
from robolearn.nodes import to_dict
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.catalog import LEVELS, TASKS
from robolearn.sim.pictures import StatePictures

_LABEL, _GAP = 18, 4  # [pixels] height of a label, width between pictures


def main(cfg: DictConfig) -> int:
    """``robolearn sheet``.

    Raises:
        UserError: no such task or level, none of them, a size that is none, this machine draws nothing, or the file is there.
    """
    options = to_dict(cfg)
    tasks, levels = _chosen("task", options["tasks"], tuple(TASKS)), _chosen("level", options["levels"], LEVELS)
    check_positive(starts=options["starts"])
    out = Path(str(options["out"]))
    if out.suffix.lower() != ".png":
        raise UserError(f"a sheet is a PNG file, such as out=sheet.png; got {out}")
    if out.exists() and not options["overwrite"]:
        raise UserError(f"{out} exists; give another out=, or overwrite=true")
    size = options["size"]
    if len(size) != 2:
        raise UserError(f"pictures have a width and a height, such as size=[240,180]; got {size}")
    picture = contact_sheet(tasks, levels, int(options["starts"]), (size[0], size[1]), str(options["camera"]))
    _write(picture, out)
    facts = {"out": str(out), "tasks": list(tasks), "levels": list(levels), "starts": options["starts"], "size": list(picture.shape[1::-1])}
    print(json.dumps(facts) if options["json"] else f"{out}: {len(tasks)} tasks, {', '.join(levels)}, {options['starts']} starts each")
    return 0


def _chosen(what: str, given: Any, known: Sequence[str]) -> tuple[str, ...]:
    names = tuple(known) if given is None else tuple(map(str, given if isinstance(given, list) else [given]))
    if not names:
        raise UserError(f"a sheet shows at least one {what}; there are {', '.join(known)}, and null for all")
    for name in names:
        if name not in known:
            raise UserError(f"no {what} {name!r}; there are {', '.join(known)}{nearest(name, known)}")
    return names


def contact_sheet(tasks: Sequence[str], levels: Sequence[str], starts: int, size: tuple[int, int], camera: str) -> NDArray[np.uint8]:
    """A row a task, for each level its starts side by side, ``(H, W, 3)``; with two arms or one, seen by the same camera.

    Args:
        tasks: names.
        levels: of randomness.
        starts: seeds of the search split.
        size: width and height of each picture [pixels].
        camera: by which.
    """
    rows = []
    for task in tasks:
        pictures, shown = StatePictures(task, *size), []
        try:
            for level in levels:
                env = Assembly(task, starts, randomness=level, threads=1)
                env.reset(seed=split_seeds("search", starts).tolist())
                drawn = [pictures.draw(state, camera) for state in env.get_state()]
                env.close()
                shown.append(_labelled(f"{task}  {level}", _beside(drawn)))
        finally:
            pictures.close()
        rows.append(_beside(shown, 3 * _GAP))
    gap = np.full((2 * _GAP, rows[0].shape[1], 3), 255, np.uint8)
    return np.concatenate([part for row in rows for part in (row, gap)][:-1])


def _beside(pictures: Sequence[NDArray[np.uint8]], gap: int = _GAP) -> NDArray[np.uint8]:
    white = np.full((len(pictures[0]), gap, 3), 255, np.uint8)
    return np.concatenate([part for picture in pictures for part in (picture, white)][:-1], 1)


def _labelled(text: str, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture under a line of text."""
    from PIL import Image, ImageDraw

    label = Image.new("RGB", (picture.shape[1], _LABEL), "white")
    ImageDraw.Draw(label).text((2, 3), text, fill="black")
    return np.concatenate([np.asarray(label), picture])


def _write(picture: NDArray[np.uint8], out: Path) -> None:
    """The file as a whole, or nothing."""
    from PIL import Image

    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.stem}.part.png")
    try:
        # 256 colours halve the file and are not seen.
        Image.fromarray(picture).quantize(256).save(draft, optimize=True)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
