"""``robolearn data render``: films of episodes, or a new store with pictures drawn from simulator states."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from robolearn.datasets.address import Url, address
from robolearn.datasets.editing import Plan, attributes, require_apart, whole
from robolearn.datasets.layout import StoreError
from robolearn.datasets.opening import local_path
from robolearn.datasets.place import require_free
from robolearn.datasets.rendering import Filming, WithPictures
from robolearn.datasets.selection import select
from robolearn.datasets.store import DemoStore
from robolearn.datasets.tools import write_whole
from robolearn.datasets.view.pictures import picture_size
from robolearn.nodes import instantiate, to_dict
from robolearn.progress import Progress
from robolearn.video import VideoWriter

FILM, STORE = ".mp4", ".zarr"
_ENDING = re.compile(r"\.[a-z][a-z0-9]{2,3}")  # of a file; that of a folder such as films.v2 is none


def main(cfg: DictConfig) -> int:
    """``robolearn data render``.

    Raises:
        UserError: the store cannot be read, there is no such camera, this machine draws nothing, or the place is taken.
    """
    options = to_dict(cfg)
    store = DemoStore.open(options["store"])
    chosen = [int(index) for index in select(store, options["episodes"], options["where"])]
    if not chosen:
        raise StoreError(f"no episode of {store.path} is chosen by episodes={options['episodes']} where={options['where']}")
    width, height = picture_size(options["size"])
    out = _place(options["out"])
    node = options["task"].get("pictures")

    def make(appearance: int | None) -> Any:
        return instantiate({**node, "width": width, "height": height}, appearance=appearance)

    filming = Filming(store, make if node else None, options["appearance"])
    try:
        facts = _as_store(filming, chosen, out, options) if out.suffix.lower() == STORE else _as_films(filming, chosen, out, options)
    finally:
        filming.close()
    print(json.dumps(facts) if options["json"] else _text(facts))
    return 0


def _place(given: str) -> Path:
    """Where the films or the new store go; ``StoreError`` for another machine and for a file of another kind."""
    there = address(str(given))
    if isinstance(there, Url) and not there.lower().endswith(STORE):
        raise StoreError(f"films are written on this machine, not to {there}: give out=films, or out=film{FILM} for one episode")
    out = local_path(str(given))
    if _ENDING.fullmatch(out.suffix.lower()) and out.suffix.lower() not in (FILM, STORE) and not out.is_dir():
        raise StoreError(f"{out}: films are {FILM}, a new store is a directory NAME{STORE}, a folder of films has no such ending")
    return out


def _names(value: Any, option: str) -> list[str]:
    names = [str(name) for name in (value if isinstance(value, list) else [value])]
    if not names or len(set(names)) < len(names):
        raise StoreError(f"{option} takes names of cameras, each once; got {value!r}")
    return names


def _as_films(filming: Filming, chosen: Sequence[int], out: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """A film an episode, each complete or not there."""
    store = filming.store
    if options["observations"] is not None:
        raise StoreError(f"observations are added to a new store: give out=NAME{STORE}, or camera= for films")
    known = filming.cameras() if options["camera"] is None else []
    if options["camera"] is None and not known:
        raise StoreError(f"{store.path} holds no images and no simulator states that could be drawn")
    cameras = known[:1] if options["camera"] is None else _names(options["camera"], "camera")
    fps = float(store.env_spec.control_hz if options["fps"] is None else options["fps"])
    if not 0.001 <= fps <= 1000:
        raise StoreError(f"fps counts pictures a second, from 0.001 to 1000; got {fps:g}")
    one = out.suffix.lower() == FILM
    if one and len(chosen) != 1:
        raise StoreError(f"{out} holds one episode, {len(chosen)} are chosen: give episodes=[0], or a folder as out=")
    films = {index: out if one else out / f"episode_{index:04d}{FILM}" for index in chosen}
    require_apart(films[chosen[0]], [store])
    for film in films.values():
        if film.exists() and not options["overwrite"]:
            raise StoreError(f"{film} exists; give another out=, or overwrite=true")
    if not options["dry_run"]:
        with Progress(f"render {out}", int(store.lengths[chosen].sum())) as progress:
            for index, film in films.items():
                _film(filming, index, cameras, film, fps, progress, int(options["size"][0]))
    made = [{"film": str(film), "episode": index, "steps": int(store.lengths[index])} for index, film in films.items()]
    return {"out": str(out), "dry_run": bool(options["dry_run"]), "cameras": cameras, "fps": fps, "films": made}


def _film(filming: Filming, index: int, cameras: Sequence[str], film: Path, fps: float, progress: Progress, width: int) -> None:
    film.parent.mkdir(parents=True, exist_ok=True)
    draft = film.with_name(f".{film.stem}.part{FILM}")
    try:
        with VideoWriter(draft, fps, width * len(cameras)) as writer:
            for frame in filming.frames(index, cameras):
                writer.write(frame)
                progress.advance(1)
        draft.replace(film)
    finally:
        draft.unlink(missing_ok=True)


def _as_store(filming: Filming, chosen: Sequence[int], out: Path, options: Mapping[str, Any]) -> dict[str, Any]:
    """A new store: the chosen episodes as they are, and pictures as further observations."""
    store = filming.store
    if options["camera"] is not None:
        raise StoreError("a new store gets observations=[front,wrist]; camera= is for films")
    if options["observations"] is None:
        raise StoreError(f"name the cameras whose pictures {out} gets, such as observations=[front,wrist]")
    cameras, size = _names(options["observations"], "observations"), picture_size(options["size"])
    require_apart(out, [store])
    require_free(out, bool(options["overwrite"]))
    edit = {"tool": "render", "cameras": cameras, "size": list(size), "appearance": options["appearance"]}
    reader = WithPictures(filming, chosen, cameras, size, edit)
    next(filming.frames(chosen[0], cameras))  # whether this machine draws them
    facts = {"out": str(out), "dry_run": bool(options["dry_run"]), "cameras": cameras, "episodes": len(chosen)}
    facts |= {"steps": int(store.lengths[list(chosen)].sum()), "size": list(size)}
    if options["dry_run"]:
        return facts
    notes = attributes(Plan(out, [store], whole(0, store, list(chosen), edit), reader.env_spec, edit))
    write_whole(reader, out, bool(options["overwrite"]), "render", lambda: notes)
    return facts | {"fingerprint": DemoStore.open(out).fingerprint()}


def _text(facts: Mapping[str, Any]) -> str:
    begin = "dry run, nothing is written; it would make\n" if facts["dry_run"] else ""
    cameras = ", ".join(facts["cameras"])
    if "films" not in facts:
        width, height = facts["size"]
        return (
            f"{begin}{facts['out']}: {facts['episodes']} episodes, {facts['steps']:,} steps with pictures of {cameras}, {width} x {height}"
        )
    films = facts["films"]
    return f"{begin}{facts['out']}: {len(films)} film{'s' if len(films) != 1 else ''} of {cameras}, {facts['fps']:g} pictures a second"
