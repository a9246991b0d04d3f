"""Packages that only some formats need, imported when such a format is met."""

from __future__ import annotations

import importlib
from typing import Any

from robolearn.errors import UserError


def need(module: str, what: str) -> Any:
    """The module, or a ``UserError`` that says how to get it; ``what`` is what it is needed for."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise UserError(
            f"{what} needs the package {package} ({' '.join(str(error).split())}); `pip install robolearn[formats]` brings it"
        ) from error
