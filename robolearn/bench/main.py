"""Measures speed on this machine, beside peers measured in the same run: ``robolearn bench``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig

from robolearn.bench.figures import Figure
from robolearn.config import find_target, nearest, to_dict
from robolearn.errors import UserError

Bench = Callable[[Mapping[str, Any]], Iterator[Figure]]
PARTS = {part: f"robolearn.bench.{part}.figures" for part in ("sim", "train", "infer", "data")}


def main(cfg: DictConfig) -> int:
    """``robolearn bench``: see ``conf/bench.yaml``. Figures are printed as they come; Ctrl-C keeps those."""
    options = to_dict(cfg)
    figures = _figures(options)
    if options["json"]:
        for figure in figures:
            print(json.dumps(figure.to_dict()), flush=True)
    else:
        _print_table(figures)
    return 0


def _figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    parts = [options["parts"]] if isinstance(options["parts"], str) else list(options["parts"])
    for part in parts:
        if part not in PARTS:
            raise UserError(f"no bench {part!r}; there are {', '.join(PARTS)}{nearest(str(part), PARTS)}")
    if int(options["rounds"]) < 1:
        raise UserError(f"rounds must be at least 1, got {options['rounds']}")
    for part in parts:
        bench: Bench = find_target(PARTS[part])
        yield from bench(options)


def _print_table(figures: Iterator[Figure]) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table

    table = Table("figure", "value", "unit", "beside", "its value", "times as fast", "n")
    for column in (1, 4, 5, 6):
        table.columns[column].justify = "right"
    with Live(table, console=Console(), auto_refresh=False) as live:
        for figure in figures:
            table.add_row(*_cells(figure))
            live.refresh()


def _cells(figure: Figure) -> list[str]:
    peer_value = "" if figure.peer_value is None else f"{figure.peer_value:,.4g}"
    ratio = "" if figure.ratio is None else f"{figure.ratio:.2f}"
    return [figure.name, f"{figure.value:,.4g}", figure.unit, figure.peer or "", peer_value, ratio, str(figure.n)]
