"""Run folders: where a verb's results live, with the config and versions that made them."""

from __future__ import annotations

import json
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from robolearn import replaced
from robolearn.config import option_value
from robolearn.errors import UserError, add_note, nearest
from robolearn.lock import WriterLock
from robolearn.logger import Logger
from robolearn.nodes import to_dict

CONFIG = "config.yaml"
VERSIONS = "versions.json"
RESULT = "result.json"
LOCK = ".lock"
PACKAGES = ("robolearn", "numpy", "zarr", "torch", "diffusers", "mujoco", "robosuite", "gymnasium", "hydra-core", "safetensors")


@dataclass(frozen=True)
class Run:
    """An open run folder; used as a context, it closes its log and says on Ctrl-C how to go on.

    A ``UserError`` or Ctrl-C before anything was made removes the folder again; an error before :meth:`begin` puts back what it replaced.

    Args:
        dir: the folder.
        log: ``run.log.log(step, {name: value})``.
        verb: the verb that made it.
        resumed: the folder existed and ``resume=true`` was given.
        lock: keeps other writers out of the folder while the run is open.
        resumable: the verb takes ``resume=true``.
    """

    dir: Path
    log: Logger
    verb: str
    resumed: bool = False
    lock: WriterLock | None = None
    resumable: bool = True

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints go."""
        return self.dir / "checkpoints"

    @property
    def videos(self) -> Path:
        """Where the videos go."""
        return self.dir / "videos"

    def begin(self) -> None:
        """Work begins: what was replaced does not come back any more."""
        replaced.give_up(self.dir)

    def finish(self, result: Mapping[str, Any] | None = None) -> None:
        """Write ``result.json``: the run is complete, and this is its outcome."""
        write_json(self.dir / RESULT, result or {})

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.log.close()
        if error is not None and replaced.is_aside(self.dir):
            replaced.put_back(self.dir)
            add_note(error, f"the run in {self.dir} is as it was")
        elif isinstance(error, (UserError, KeyboardInterrupt)) and not self.resumed and all(map(_is_preparation, self.dir.iterdir())):
            shutil.rmtree(self.dir)  # ended before any work: the same out= is free for the next try
        else:
            if isinstance(error, (KeyboardInterrupt, OSError)):
                mend = f"; go on with: {go_on(self.verb, self.dir)}" if self.resumable else f" in {self.dir}"
                add_note(error, f"finished work is kept{mend}")
            replaced.give_up(self.dir)
            replaced.remove(self.dir)
        if self.lock is not None:
            self.lock.release()


def start_run(cfg: DictConfig, verb: str, name: str = "", *, log: bool = True, begins: bool = False) -> Run:
    """Make ``outputs/<date>/<time>_<verb>_<name>/``, or ``cfg.out``, and write the config and versions into it.

    Reads ``out``, ``resume``, ``overwrite`` and ``tensorboard`` of ``cfg`` where it has them. With ``begins`` the verb calls ``Run.begin``
    itself, and what ``overwrite=true`` replaces is kept until then.

    Raises:
        UserError: the folder exists and neither ``resume=true`` nor ``overwrite=true`` was given, ``resume=true`` names none,
            ``overwrite=true`` names something that is no run folder, or a mandatory value of ``cfg`` is missing.
        LockedError: another process is writing there.
    """
    document = to_dict(cfg)
    folder = Path(cfg.out) if cfg.get("out") else _dated(verb, name)
    if replaced.is_cut_short(folder):
        with WriterLock(folder, folder / LOCK, instead="give another out="):
            replaced.put_back(folder)
    resumed = _resumes(folder, cfg)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {folder} ({error.strerror}); give another out=") from error
    lock = WriterLock(folder, folder / LOCK, instead="give another out=")
    try:
        if not resumed:
            if is_run(folder):
                replaced.set_aside(folder)
            else:
                replaced.clear(folder)
            write_json(folder / VERSIONS, versions())
            write_whole(folder / CONFIG, OmegaConf.to_yaml(OmegaConf.create(document)))  # last: a folder with it is a run
            if not begins:
                replaced.give_up(folder)
                replaced.remove(folder)
    except BaseException:
        replaced.put_back(folder)
        lock.release()
        raise
    logger = Logger(folder, tensorboard=log and bool(cfg.get("tensorboard", True)))
    return Run(folder, logger, verb, resumed, lock, resumable="resume" in cfg)


def go_on(verb: str, folder: Path) -> str:
    """The command that goes on with a run, to paste into a shell."""
    return shlex.join(["robolearn", *verb.split(), f"out={option_value(folder)}", "resume=true"])


def is_run(folder: Path) -> bool:
    """Whether a folder was made by :func:`start_run`."""
    return (folder / CONFIG).is_file() and (folder / VERSIONS).is_file()


def check_run(folder: Path) -> None:
    """Raise ``UserError`` unless a folder was made by :func:`start_run`."""
    if not is_run(folder):
        raise UserError(f"{folder} is no run folder (no {CONFIG} and {VERSIONS})")


def read_result(folder: Path) -> dict[str, Any] | None:
    """The result of a finished run, or None."""
    file = folder / RESULT
    return read_json(file) if file.is_file() else None


def safe_name(name: str) -> str:
    """A policy's name as a part of file names; two names can come to the same."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name)


def versions() -> dict[str, Any]:
    """Python, platform, packages and the checkout's git SHA."""
    packages = {}
    for package in PACKAGES:
        try:
            packages[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "git": git_sha(),
        "command": sys.argv,
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def git_sha() -> str | None:
    """Commit of the checkout, with ``+`` when files differ from it; None outside a checkout."""
    here = Path(__file__).parent
    try:
        sha = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return sha + ("+" if changed.strip() else "")


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON file as :func:`write_whole` does."""
    write_whole(file, json.dumps(document, indent=1, default=jsonable))


def write_whole(file: Path, text: str) -> None:
    """Write beside and rename, so that the file is there whole or not at all."""
    draft = file.with_name(f".{file.name}")
    try:
        draft.write_text(text)
        draft.replace(file)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        UserError: the file is torn or holds something else.
    """
    try:
        document = json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); make it again, or restore it from a copy") from error
    if not isinstance(document, dict):
        raise UserError(f"{file} holds a {type(document).__name__}, expected a JSON object")
    return document


def jsonable(value: Any) -> Any:
    """``json.dumps(default=...)`` for numpy numbers, arrays and paths."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


def _dated(verb: str, name: str) -> Path:
    if Path(name).name != name:
        raise UserError(f"name={name} is a word in the run folder's name and holds no '/'; out= takes a whole path")
    now = datetime.now()
    stem = f"{now:%H-%M-%S}_{verb}" + (f"_{name}" if name else "")
    folder = Path("outputs") / f"{now:%Y-%m-%d}" / stem
    count = 1
    while folder.exists():  # two runs within a second
        count += 1
        folder = folder.with_name(f"{stem}_{count}")
    return folder


def _resumes(folder: Path, cfg: DictConfig) -> bool:
    """Whether the run in the folder is gone on with; false where one may begin."""
    resume, overwrite = bool(cfg.get("resume")), bool(cfg.get("overwrite"))
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give another out=")
    if resume and not folder.is_dir():
        near = nearest(folder.name, (place.name for place in folder.parent.iterdir())) if folder.parent.is_dir() else ""
        raise UserError(f"nothing to resume in {folder}{near}; without resume=true it is begun")
    if is_run(folder):
        if not resume and not overwrite:
            ways = {"resume": "go on with resume=true", "overwrite": "replace it with overwrite=true", "out": "give another out="}
            raise UserError(f"{folder} exists: {', or '.join(way for option, way in ways.items() if option in cfg)}")
        return resume
    if not folder.is_dir() or all(_is_preparation(place) and not _is_config(place) for place in folder.iterdir()):
        return False
    why = f"{folder} is no run folder (no {CONFIG} and {VERSIONS})"
    if resume:
        raise UserError(f"{why}, so it cannot be resumed")
    raise UserError(f"{why}" + (", so overwrite=true leaves it alone" if overwrite else " and not empty") + "; give another out=")


def _is_preparation(place: Path) -> bool:
    """Whether a file of a run folder is from before any work: such alone are what a failed start leaves."""
    return place.name in (CONFIG, VERSIONS, f".{CONFIG}", f".{VERSIONS}") or place.name.endswith(LOCK)


def _is_config(place: Path) -> bool:
    """Whether a file is a config that somebody may want; a full disk leaves an empty one."""
    return place.name == CONFIG and place.stat().st_size > 0
