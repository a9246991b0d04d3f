"""Measures speed on this machine, beside peers measured in the same run: ``robolearn bench``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from robolearn.bench.figures import Figure
from robolearn.errors import UserError, nearest
from robolearn.nodes import find_target, to_dict

Bench = Callable[[Mapping[str, Any]], Iterator[Figure]]
PARTS = {part: f"robolearn.bench.{part}.figures" for part in ("sim", "train", "infer", "data", "run", "faults")}
OPTIONAL = ("faults.vectors",)  # counts that may be 0


def main(cfg: DictConfig) -> int:
    """``robolearn bench``: see ``conf/bench.yaml``. Figures are printed as they come; Ctrl-C keeps those."""
    options = to_dict(cfg)
    parts = _checked_parts(options)
    _say_if_busy()
    figures = _figures(parts, options)
    if options["json"]:
        for figure in figures:
            print(json.dumps(figure.to_dict()), flush=True)
    else:
        _print_table(figures)
    return 0


def _say_if_busy() -> None:
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(f"bench: the machine is busy (load {load:.1f} on {cores} cores); latencies will be longer than they need be", file=sys.stderr)


def _checked_parts(options: Mapping[str, Any]) -> list[str]:
    """What to measure; mistakes are said before anything is."""
    parts = [options["parts"]] if isinstance(options["parts"], str) else list(options["parts"])
    for part in parts:
        if part not in PARTS:
            raise UserError(f"no bench {part!r}; there are {', '.join(PARTS)}{nearest(str(part), PARTS)}")
    if int(options["rounds"]) < 1:
        raise UserError(f"rounds must be at least 1, got {options['rounds']}")
    for key, value in ((f"{part}.{name}", value) for part in PARTS for name, value in options[part].items()):
        least = int(key not in OPTIONAL)
        if type(value) is int and value < least:
            raise UserError(f"{key} must be at least {least}, got {value}")
    if "sim" in parts:
        find_target("robolearn.bench.sim.check")(options)
    return parts


def _figures(parts: Sequence[str], options: Mapping[str, Any]) -> Iterator[Figure]:
    for part in parts:
        bench: Bench = find_target(PARTS[part])
        yield from bench(options)


def _print_table(figures: Iterator[Figure]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("figure", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("unit", no_wrap=True)
    table.add_column("times as fast", justify="right", no_wrap=True)
    table.add_column("as")
    with Live(table, console=Console(), auto_refresh=False) as live:
        for figure in figures:
            table.add_row(*_cells(figure))
            live.refresh()


def _cells(figure: Figure) -> list[str]:
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    peer = "" if figure.peer_value is None else f"{figure.peer}: {_number(figure.peer_value)}"
    return [figure.name, _number(figure.value), figure.unit, ratio, peer]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
