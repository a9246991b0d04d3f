"""report.html of a run on a robot: what ran, what became of each episode, how punctual it was, where the robot was, what went wrong."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from robolearn import plots_robot
from robolearn.errors import reading
from robolearn.pages import how_made, render
from robolearn.robot_run import CADENCE, RobotRun, read_run
from robolearn.run import versions, write_whole

TOLD = ("robot", "policy", "task", "mode", "transport")
MOST_EVENTS = 300
GOOD = {"success": "success", "failure": "failure", "lost": "failure"}  # outcome: the look of its tag
GRAVE = ("fault", "stopping", "not re-armed")


def build_robot_report(out: Path, folder: Path, *, title: str = "") -> Path:
    """Write the page; its figures and tables are inside it, the log and the store are linked.

    Args:
        out: the file.
        folder: of a `robolearn run`.
        title: heading; made from the task and the robot unless given.

    Raises:
        UserError: the folder is no run on a robot, or a file of it is damaged.
    """
    run = read_run(folder)
    with reading(folder):
        figures = {"timeline": plots_robot.timeline(run), "lateness": plots_robot.lateness(run) if run.series else ""}
        drawn = bool(len(run.trace.get("time", ())))
        figures |= {"tool": plots_robot.tool(run) if drawn else "", "joints": plots_robot.joints(run) if drawn else ""}
        text = render(
            "robot_report.html",
            title=title or " on ".join(str(run.run[name]) for name in ("task", "robot") if run.run.get(name)) or folder.name,
            told={name: run.run[name] for name in TOLD if run.run.get(name) not in (None, "")},
            run=run.run,
            verdict=verdict(run),
            episodes=[_episode_row(run, number) for number in range(len(run.episodes))],
            cadence=run.cadence,
            cadence_name=CADENCE,
            events=_event_rows(run),
            most_events=MOST_EVENTS,
            links=_links(run, out),
            figures=figures,
            runs=[how_made(folder)],
            made=datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z"),
            began=datetime.fromtimestamp(run.began * 1e-9).astimezone().strftime("%Y-%m-%d %H:%M %Z") if run.began > 10**18 else "",
            versions=versions(),
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(out, text)
    return out


def verdict(run: RobotRun) -> str:
    """The run in three sentences: episodes, faults, punctuality."""
    outcomes = [plots_robot.outcome_of(episode.outcome, episode.told.get("success")) for episode in run.episodes]
    kept = sum(episode.outcome == "committed" for episode in run.episodes)
    others = [f"{outcomes.count(name)} {name}" for name in ("unlabelled", "discarded", "lost", "unfinished") if name in outcomes]
    said = [f"{outcomes.count('success')} of {kept} recorded episodes succeeded{'; ' + ', '.join(others) if others else ''}."]
    faults = sum(event["event"] == "fault" for event in run.events)
    said.append({0: "No fault.", 1: "1 fault."}.get(faults, f"{faults} faults."))
    if run.cadence:
        late = run.cadence["series_ms"]["tick lateness"]
        said.append(
            f"{run.cadence['ticks']:,} ticks at {run.cadence['rate_hz']:g} Hz in {run.cadence['seconds'] / 60:.1f} min, "
            f"{run.cadence['missed']} missed, 99 % less than {late['p99']:.2f} ms late."
        )
    else:
        said.append("It ended without statistics of its command loop: it was killed.")
    return " ".join(said)


def _episode_row(run: RobotRun, place: int) -> dict[str, Any]:
    episode = run.episodes[place]
    outcome = plots_robot.outcome_of(episode.outcome, episode.told.get("success"))
    seconds = (episode.ended - episode.began) * 1e-9 if episode.began is not None and episode.ended is not None else None
    steps, interventions = episode.told.get("steps"), episode.told.get("interventions")
    return {
        "number": episode.number,
        "outcome": outcome,
        "look": GOOD.get(outcome, "plain"),
        "seconds": seconds,
        "steps": steps,
        "operator": 100 * interventions / steps if steps and interventions is not None else None,
        "index": episode.told.get("index"),
        "seed": episode.told.get("seed"),
        "source": episode.told.get("source", ""),
        "words": episode.told.get("note") or episode.told.get("words") or "",
    }


def _event_rows(run: RobotRun) -> list[dict[str, Any]]:
    shown = [event for event in run.events if not str(event["event"]).startswith("episode ")]
    return [
        {
            "seconds": (event["stamp"] - run.began) * 1e-9,
            "event": event["event"],
            "look": "failure" if event["event"] in GRAVE else "plain",
            "episode": event.get("episode"),
            "words": event["words"],
            "values": {key: value for key, value in event.items() if key not in ("stamp", "event", "words", "episode")},
        }
        for event in shown
    ]


def _links(run: RobotRun, out: Path) -> list[dict[str, str]]:
    """Logs and the store, relative to the page."""
    logs = [(file, "raw messages, steps and events (MCAP)") for file in sorted(run.folder.glob("run*.mcap"))]
    store = run.run.get("store")
    places = [*logs, *([(Path(str(store)), "episodes")] if store else [])]
    found = []
    for place, what in places:
        there = place if place.is_absolute() or place.exists() else run.folder / place
        if there.exists():
            size = f"{there.stat().st_size / 1e6:.1f} MB" if there.is_file() else ""
            relative = os.path.relpath(there.resolve(), out.resolve().parent)
            found.append({"href": quote(relative), "name": str(relative), "what": what, "size": size})
    return found
