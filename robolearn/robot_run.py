"""The files that a run on a robot leaves to whoever looks at it later: what ran, what happened, how punctual it was, what moved."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, reading
from robolearn.run import read_json, write_json

RUN = "run.json"  # what runs: robot, policy, task, transport, ...; written first, and what makes a folder a robot's run
EVENTS = "events.jsonl"  # what happened, a line each, written while it happens
CADENCE = "cadence.json"  # statistics of the command loop
TRACE = "trace.npz"  # what the robot did, and every lateness and latency; no pickle
SERIES = "series/"  # prefix of the latter


@dataclass(frozen=True)
class RobotEpisode:
    """What became of an episode.

    Args:
        number: in the run.
        outcome: ``committed``, ``discarded``, ``lost``, or ``unfinished`` where the run ended before it.
        began: [ns], or None where that is not known.
        ended: likewise.
        told: what else the events say: ``success``, ``steps``, ``interventions``, ``index``, ``seed``, ``note``, ``words`` ...
    """

    number: int
    outcome: str
    began: int | None
    ended: int | None
    told: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class RobotRun:
    """A run as its folder tells it; what a killed one did not write is empty.

    Args:
        folder: the run's.
        run: see :func:`write_run`.
        events: oldest first, each with ``stamp`` [ns], ``event`` and ``words``.
        cadence: see :class:`robolearn.deploy.cadence.Cadence`.
        trace: arrays by name, see :class:`robolearn.deploy.trace.Trace`.
        series: ``{name: ((N,) [s] since the first tick, (N,) [ms])}``.
    """

    folder: Path
    run: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    cadence: Mapping[str, Any]
    trace: Mapping[str, NDArray[Any]]
    series: Mapping[str, tuple[NDArray[Any], NDArray[Any]]]

    @property
    def began(self) -> int:
        """Time of its first tick or event [ns]."""
        if "began_ns" in self.trace:
            return int(self.trace["began_ns"])
        return min((int(event["stamp"]) for event in self.events), default=0)

    @property
    def episodes(self) -> list[RobotEpisode]:
        """As the events tell them, in order."""
        found: dict[int, RobotEpisode] = {}
        for event in self.events:
            word, _, outcome = str(event["event"]).partition(" ")
            if word != "episode" or "episode" not in event:
                continue
            number, stamp = int(event["episode"]), int(event["stamp"])
            before = found.get(number, RobotEpisode(number, "unfinished", None, None))
            told = {**before.told, **{key: value for key, value in event.items() if key not in ("stamp", "event", "episode")}}
            begins = outcome == "begun"
            ended = before.ended if begins else stamp
            found[number] = RobotEpisode(number, before.outcome if begins else outcome, stamp if begins else before.began, ended, told)
        return [found[number] for number in sorted(found)]


def is_robot_run(folder: Path) -> bool:
    """Whether a run folder is that of a robot's run."""
    return (folder / RUN).is_file()


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Say what runs, before it does.

    Args:
        folder: the run's.
        run: JSON-ready; the report shows ``robot``, ``policy``, ``task``, ``mode`` and ``transport`` (texts), ``rate_hz``, ``control_hz``,
            ``dry_run``, ``store`` (where episodes go), and the rest as it is.
    """
    write_json(folder / RUN, run)


def write_statistics(
    folder: Path,
    cadence: Mapping[str, Any],
    trace: Mapping[str, NDArray[Any]],
    series: Mapping[str, NDArray[Any]] | None = None,
    *,
    problems: Sequence[str] = (),
) -> None:
    """Say how it went, when it is over.

    Args:
        folder: the run's.
        cadence: ``Cadence.summary()``.
        trace: ``Trace.arrays()``.
        series: ``Cadence.arrays()``.
        problems: of the recording, in words.
    """
    write_json(folder / CADENCE, {**cadence, "problems": list(problems)})
    stream = io.BytesIO()
    arrays: dict[str, Any] = {**trace, **{f"{SERIES}{name}": values for name, values in (series or {}).items()}}
    np.savez_compressed(stream, **arrays)
    draft = folder / f".{TRACE}"
    draft.write_bytes(stream.getvalue())
    draft.replace(folder / TRACE)


def read_run(folder: Path) -> RobotRun:
    """What a folder tells of a run on a robot.

    Raises:
        UserError: it is none, or a file of it is damaged.
    """
    if not is_robot_run(folder):
        raise UserError(f"{folder} is no run on a robot: it has no {RUN}")
    cadence = read_json(folder / CADENCE) if (folder / CADENCE).is_file() else {}
    arrays = _read_arrays(folder / TRACE) if (folder / TRACE).is_file() else {}
    trace = {name: values for name, values in arrays.items() if not name.startswith(SERIES)}
    names = sorted({name[len(SERIES) :].rpartition("/")[0] for name in arrays if name.startswith(SERIES)})
    with reading(folder / TRACE):
        series = {name: (arrays[f"{SERIES}{name}/time"], arrays[f"{SERIES}{name}/ms"]) for name in names}
    return RobotRun(folder, read_json(folder / RUN), read_events(folder / EVENTS), cadence, trace, series)


def read_events(file: Path) -> list[dict[str, Any]]:
    """The lines of an ``events.jsonl``; what follows a torn one is left out, and there are none where there is no file."""
    events = []
    for text in file.read_text().splitlines() if file.is_file() else ():
        try:
            event = json.loads(text)
        except ValueError:
            break
        if not isinstance(event, dict) or not isinstance(event.get("stamp"), int) or "event" not in event:
            break
        events.append({"words": "", **event})
    return events


def _read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    with reading(file):
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:  # torn
            raise ValueError(str(error)) from error
