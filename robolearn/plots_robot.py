"""Figures of a run on a robot, as SVG text: its timeline, how late it was, where it was told to be and where it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.plots import INK, PALETTE, colour, new_figure, to_svg
from robolearn.robot_run import RobotRun

STATES = {"idle": "#cbd5e1", "running": "#2563eb", "hold": "#eab308", "stopping": "#e8590c", "fault": "#b91c1c"}
OUTCOMES = {"success": "#16a34a", "failure": "#b91c1c", "discarded": "#cbd5e1", "lost": "#7c2d12"}
FAULT, CLAMP, OPERATOR = "#b91c1c", "#e8590c", "#9333ea"
POINTS = 1500  # of a line; more are no more to be seen
AXES = ("x", "y", "z")


def timeline(run: RobotRun) -> str:
    """States of the robot, episodes by outcome, faults and the operator's interventions along the time of the run."""
    figure, (axis,) = new_figure(10.2, 1.75)
    time = run.trace.get("time", np.zeros(0))
    names = [str(name) for name in run.trace.get("states", ())]
    for begin, end, value in _runs(time, run.trace.get("state", np.zeros(0, int))):
        axis.broken_barh([(begin, end - begin)], (0, 0.8), color=STATES.get(names[value], "#0d9488"), linewidth=0)
    for begin, end, value in _runs(time, run.trace.get("intervention", np.zeros(0, bool))):
        if value:
            axis.broken_barh([(begin, end - begin)], (0.85, 0.15), color=OPERATOR, linewidth=0)
    for episode in run.episodes:
        if episode.began is None:
            continue
        begin = _seconds(run, episode.began)
        end = _seconds(run, episode.ended) if episode.ended is not None else max(begin, float(time[-1]) if len(time) else begin)
        kind = outcome_of(episode.outcome, episode.told.get("success"))
        axis.broken_barh(
            [(begin, end - begin)], (1.1, 0.8), color=OUTCOMES.get(kind, "#94a3b8"), alpha=0.85, linewidth=0.8, edgecolor="white"
        )
        if end - begin > 0.02 * _length(run):
            axis.text((begin + end) / 2, 1.5, str(episode.number), ha="center", va="center", fontsize=8, color="white", fontweight="bold")
    for stamp in _faults(run):
        axis.plot(stamp, 2.15, "v", color=FAULT, markersize=6)
    axis.set_yticks([0.4, 1.5, 2.15], ["robot", "episode", "fault"], fontsize=9)
    axis.set_ylim(-0.1, 2.45)
    axis.set_xlim(0, max(_length(run), 1e-3))
    axis.set_xlabel("s", fontsize=9, color=INK)
    axis.grid(False, axis="y")
    used = [name for name in STATES if name in names]
    handles = [_patch(STATES[name], name) for name in used]
    if run.trace.get("intervention", np.zeros(0, bool)).any():
        handles.append(_patch(OPERATOR, "operator"))
    if handles:
        figure.legend(handles=handles, frameon=False, fontsize=8.5, ncols=len(handles), loc="outside upper right")
    return to_svg(figure)


def lateness(run: RobotRun) -> str:
    """How late ticks were: how often by how much, and what was slow when."""
    figure, (histogram, course) = new_figure(10.2, 3.0, 2)
    _, late = run.series.get("tick lateness", (np.zeros(0), np.zeros(0)))
    if len(late):
        most = max(float(late.max()), 0.5)
        histogram.hist(np.clip(late, 0, most), bins=np.linspace(0, most, 60), color=PALETTE[1], alpha=0.75)
        histogram.set_yscale("log")
        told = run.cadence["series_ms"]["tick lateness"]
        for name, line in (("p50", ":"), ("p99", "--")):
            histogram.axvline(told[name], color=INK, linewidth=1.0, linestyle=line, label=f"{name} {told[name]:.2f} ms")
        histogram.legend(frameon=False, fontsize=9)
    histogram.set_title("tick lateness", fontsize=9.5, color=INK, loc="left")
    histogram.set_xlabel("ms", fontsize=9, color=INK)
    histogram.set_ylabel("ticks", fontsize=9, color=INK)
    for position, (name, (times, values)) in enumerate(sorted(run.series.items(), key=lambda entry: -len(entry[1][0]))):
        keep = _highest(times, values)
        size = 2.0 if len(times) > POINTS else 4.0
        course.plot(times[keep], np.maximum(values[keep], 1e-3), ".", color=colour(position), label=name, markersize=size)
    if run.series:
        course.set_yscale("log")
        course.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), markerscale=2.5)
    course.set_title("latencies over the run [ms]", fontsize=9.5, color=INK, loc="left")
    course.set_xlabel("s", fontsize=9, color=INK)
    return to_svg(figure)


def tool(run: RobotRun) -> str:
    """The tool's targets and where it was sent, and how far the joints were from where they should be."""
    figure, axes = new_figure(10.2, 6.2, rows=4)
    keep, time = _every(run)
    target, sent = run.trace["target"], run.trace["tool"]
    for place, (axis, name) in enumerate(zip(axes[:3], AXES, strict=True)):
        axis.plot(time, target[keep, place], color=PALETTE[2], linewidth=1.1, label="target", drawstyle="steps-post")
        axis.plot(time, sent[keep, place], color=PALETTE[1], linewidth=1.3, label="sent")
        axis.set_ylabel(f"{name} [m]", fontsize=9, color=INK)
    error = np.abs(run.trace["commanded"] - run.trace["measured"])
    worst = np.nanmax(np.where(np.isnan(error), -1.0, error), axis=1) if error.size else np.zeros(0)
    highest = _highest(run.trace["time"], worst)
    axes[3].plot(run.trace["time"][highest], np.where(worst[highest] < 0, np.nan, worst[highest]), color=PALETTE[3], linewidth=1.1)
    axes[3].set_ylabel("tracking [rad]", fontsize=9, color=INK)
    _mark(run, axes)
    axes[0].legend(frameon=False, fontsize=9, loc="upper left", ncols=2, bbox_to_anchor=(0, 1.32))
    axes[-1].set_xlabel("s", fontsize=9, color=INK)
    return to_svg(figure)


def joints(run: RobotRun) -> str:
    """Every joint as commanded and as measured."""
    names = [str(name) for name in run.trace["joints"]]
    figure, axes = new_figure(10.2, 0.6 + 1.15 * len(names), rows=len(names))
    keep, time = _every(run)
    for place, (axis, name) in enumerate(zip(axes, names, strict=True)):
        axis.plot(time, run.trace["commanded"][keep, place], color=PALETTE[2], linewidth=1.1, label="commanded")
        axis.plot(time, run.trace["measured"][keep, place], color=PALETTE[1], linewidth=1.1, label="measured")
        axis.set_title(f"{name} [rad]", fontsize=8.5, color=INK, loc="left", pad=2)
    _mark(run, axes)
    axes[0].legend(frameon=False, fontsize=8.5, loc="upper right", ncols=2, bbox_to_anchor=(1, 1.35))
    axes[-1].set_xlabel("s", fontsize=9, color=INK)
    return to_svg(figure)


def outcome_of(outcome: str, success: bool | None) -> str:
    """An episode's outcome in a word: a committed one is a success, a failure, or ``unlabelled``."""
    if outcome != "committed":
        return outcome
    return "unlabelled" if success is None else "success" if success else "failure"


def _mark(run: RobotRun, axes: Any) -> None:
    """Interventions shaded, faults as lines, limits that bit as ticks at the foot."""
    time = run.trace["time"]
    bitten = time[np.flatnonzero(run.trace["clamped"])]
    bitten = bitten[:: max(1, len(bitten) // POINTS)]
    for axis in axes:
        for begin, end, value in _runs(time, run.trace["intervention"]):
            if value:
                axis.axvspan(begin, end, color=OPERATOR, alpha=0.13, linewidth=0)
        for stamp in _faults(run):
            axis.axvline(stamp, color=FAULT, linewidth=1.0, alpha=0.8)
        if len(bitten):
            axis.plot(bitten, np.zeros(len(bitten)), "|", color=CLAMP, markersize=7, transform=axis.get_xaxis_transform(), clip_on=False)
        axis.set_xlim(0, max(_length(run), 1e-3))


def _faults(run: RobotRun) -> list[float]:
    return [_seconds(run, event["stamp"]) for event in run.events if event["event"] == "fault"]


def _seconds(run: RobotRun, stamp: int) -> float:
    return (stamp - run.began) * 1e-9


def _length(run: RobotRun) -> float:
    """Of the run [s]."""
    ends = [_seconds(run, event["stamp"]) for event in run.events]
    return max([*ends, float(run.trace["time"][-1]) if len(run.trace.get("time", ())) else 0.0], default=0.0)


def _runs(time: NDArray[Any], values: NDArray[Any]) -> Iterator[tuple[float, float, int]]:
    """Stretches of equal values: begin, end [s] and value."""
    if not len(values):
        return
    edges = np.flatnonzero(np.diff(values)) + 1
    starts, ends = np.concatenate([[0], edges]), np.concatenate([edges, [len(values) - 1]])
    for start, end in zip(starts, ends, strict=True):
        yield float(time[start]), float(time[end]), int(values[start])


def _every(run: RobotRun) -> tuple[slice, NDArray[Any]]:
    """Rows to draw, and their times."""
    keep = slice(None, None, max(1, -(-len(run.trace["time"]) // POINTS)))
    return keep, run.trace["time"][keep]


def _highest(times: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Rows to draw of something whose peaks count: the highest of each stretch."""
    stride = -(-len(times) // POINTS)
    if stride <= 1:
        return np.arange(len(times))
    whole = len(times) // stride * stride
    rows: NDArray[np.int64] = np.arange(0, whole, stride) + np.argmax(
        np.nan_to_num(values[:whole].reshape(-1, stride), nan=-np.inf), axis=1
    )
    return rows


def _patch(colour: str, label: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(facecolor=colour, label=label)
