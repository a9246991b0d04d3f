"""Pages of reports: templates that share one look, and how a run was made, which each of them tells."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from robolearn.run import CONFIG, VERSIONS, read_json

TEMPLATES = Path(__file__).parent / "templates"


def render(template: str, **values: Any) -> str:
    """A page as text; values are text, not markup, unless the template says otherwise."""
    from jinja2 import Environment, FileSystemLoader

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, loader=FileSystemLoader(TEMPLATES))
    return environment.get_template(template).render(**values)


def how_made(folder: Path) -> dict[str, Any]:
    """A run's ``name``, ``path``, ``command`` (to paste into a shell), ``config`` and ``versions``; empty where it does not tell."""
    config = folder / CONFIG
    known = read_json(folder / VERSIONS) if (folder / VERSIONS).is_file() else {}
    return {
        "name": folder.name,
        "path": str(folder),
        "command": shlex.join([Path(known["command"][0]).name, *known["command"][1:]]) if known.get("command") else "",
        "config": config.read_text() if config.is_file() else "",
        "versions": known,
    }
