"""Figures of a report, as SVG text: success by arm, stages, learning curves, calibration."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PALETTE = ("#64748b", "#2563eb", "#e8590c", "#0d9488", "#9333ea", "#ca8a04", "#db2777", "#16a34a")
INK, FAINT = "#1e293b", "#cbd5e1"


def colour(position: int) -> str:
    """The colour of the arm or run at a position; the first, which others are compared with, is grey."""
    return PALETTE[position % len(PALETTE)]


def new_figure(width: float, height: float, columns: int = 1, rows: int = 1) -> tuple[Any, Any]:
    """A figure of ``width`` by ``height`` hundred pixels and its axes, one behind the other; rows share what is horizontal."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns, sharex="col" if rows > 1 else False)).reshape(-1)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(FAINT)
        axis.tick_params(colors=INK, length=0, labelsize=9)
        axis.grid(color=FAINT, linewidth=0.6, alpha=0.7)
        axis.set_axisbelow(True)
    return figure, axes


def to_svg(figure: Any) -> str:
    """A figure as SVG text that takes its page's font and width."""
    import matplotlib

    stream = io.StringIO()
    # Text stays text, so that it takes the page's font; the fixed salt makes the same figure the same bytes.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "robolearn", "font.family": "sans-serif"}
    with matplotlib.rc_context(style):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"font: ?([\d.]+)px [^;\"]+", r"font-size: \1px; font-family: inherit", text)
    # As wide as it was drawn, and narrower where the window is.
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]+"', "", head)
    return f'{head} style="max-width: {figure.get_figwidth() * 100:.0f}px">{rest}'


def standalone(svg: str) -> str:
    """A figure as a file of its own: with the font and ground that a page would have given it."""
    return svg.replace('style="', 'style="font-family: sans-serif; background: white; ', 1)


def forest(arms: Sequence[Mapping[str, Any]]) -> str:
    """Success rates as bars with their intervals, in each arm's ``colour`` where it has one."""
    figure, (axis,) = new_figure(8.2, 0.55 + 0.5 * len(arms))
    for position, arm in enumerate(arms):
        rate = arm["success"]
        axis.barh(position, 100 * rate["rate"], 0.58, color=_own(arm, position), alpha=0.22)
        axis.plot([100 * rate["low"], 100 * rate["high"]], [position] * 2, color=_own(arm, position), linewidth=2.4, solid_capstyle="round")
        axis.plot(100 * rate["rate"], position, "o", color=_own(arm, position), markersize=7)
        axis.text(100 * rate["high"] + 1.2, position, f"{100 * rate['rate']:.1f} %", va="center", color=INK, fontsize=10, fontweight="bold")
    axis.set_yticks(range(len(arms)), [arm["name"] for arm in arms], fontsize=10)
    axis.set_ylim(len(arms) - 0.45, -0.55)
    axis.set_xlim(0, 108)
    axis.set_xticks(range(0, 101, 20), [f"{value} %" for value in range(0, 101, 20)])
    axis.grid(False, axis="y")
    return to_svg(figure)


def stage_funnel(arms: Sequence[Mapping[str, Any]]) -> str:
    """Share of episodes that reached each stage, a line an arm, in its ``colour`` where it has one."""
    names = list(arms[0]["stages"])
    figure, (axis,) = new_figure(8.2, 2.9)
    for position, arm in enumerate(arms):
        shares = [100 * arm["stages"][name] for name in names]
        axis.plot(range(len(names)), shares, "o-", color=_own(arm, position), linewidth=2, markersize=5, label=arm["name"])
    axis.set_xticks(range(len(names)), names)
    axis.set_ylim(0, 104)
    axis.set_yticks(range(0, 101, 20), [f"{value} %" for value in range(0, 101, 20)])
    figure.legend(frameon=False, fontsize=9, loc="outside right upper")
    return to_svg(figure)


def _own(arm: Mapping[str, Any], position: int) -> str:
    return str(arm.get("colour") or colour(position))


@dataclass(frozen=True)
class Panel:
    """A learning curve: its heading, what its horizontal axis counts, and ``(x, y)`` of each training seed."""

    title: str
    x_name: str
    lines: Sequence[tuple[Sequence[float], Sequence[float]]]


def curves(panels: Sequence[Panel]) -> str:
    """Learning curves side by side."""
    figure, axes = new_figure(2.55 * len(panels) if len(panels) > 1 else 4.0, 2.3, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        for position, (x, y) in enumerate(panel.lines):
            axis.plot(x, y, color=colour(position + 1), linewidth=1.7, marker="o" if len(x) < 12 else None, markersize=3)
        axis.set_title(panel.title, fontsize=9.5, color=INK, loc="left")
        axis.set_xlabel(panel.x_name, fontsize=9, color=INK)
        axis.xaxis.set_major_locator(_ticks())
        if max((max(x, default=0) for x, _ in panel.lines), default=0) >= 10_000:
            axis.xaxis.set_major_formatter(_short)
    return to_svg(figure)


def _short(value: float, _: Any) -> str:
    """12000 -> 12 k."""
    size, unit = (1e6, " M") if value >= 1e6 else (1e3, " k") if value >= 1e3 else (1.0, "")
    return f"{value / size:g}{unit}"


def _ticks() -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(4)


def calibration(tables: Mapping[str, Sequence[Sequence[float]]]) -> str:
    """Reliability diagram: mean predicted value against the mean return that followed, dots sized by how many."""
    figure, (axis,) = new_figure(3.9, 3.5)
    axis.plot([0, 1], [0, 1], color=FAINT, linewidth=1.2, zorder=0)
    for position, (name, table) in enumerate(tables.items()):
        rows = np.asarray(table, float).reshape(-1, 3)
        share = rows[:, 2] / max(rows[:, 2].sum(), 1)
        axis.plot(rows[:, 0], rows[:, 1], color=colour(position + 1), linewidth=1.4, label=name)
        axis.scatter(rows[:, 0], rows[:, 1], 12 + 260 * share, color=colour(position + 1), alpha=0.55, linewidths=0)
    axis.set_xlim(-0.02, 1.02)
    axis.set_ylim(-0.02, 1.02)
    axis.set_xlabel("predicted value", fontsize=9, color=INK)
    axis.set_ylabel("return that followed", fontsize=9, color=INK)
    axis.legend(frameon=False, fontsize=9, loc="upper left")
    return to_svg(figure)
