"""Errors that are the user's to mend, which the command line prints as a line without a traceback, and the hint that ends many of them."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Iterable, Iterator


class UserError(ValueError):
    """Says what was expected, what came, and what would have worked."""


def add_note(error: BaseException, words: str) -> None:
    """Let the command line say ``words`` behind an error, as ``BaseException.add_note`` does from Python 3.11 on."""
    error.__notes__ = [*getattr(error, "__notes__", []), words]  # type: ignore[attr-defined,unused-ignore]


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'seed'?``, or nothing when no name is close."""
    everything = list(names)
    close = difflib.get_close_matches(name, everything, 1, 0.6)
    if not close:  # a bare leaf name finds its path: lr -> optimizer.lr
        leaves = {full.rsplit(".", 1)[-1]: full for full in everything}
        close = [leaves[leaf] for leaf in difflib.get_close_matches(name.rsplit(".", 1)[-1], leaves, 1, 0.75)]
    return f"; did you mean {close[0]!r}?" if close else ""


def check_positive(**values: float | None) -> None:
    """Raise ``UserError`` for a value that is not above 0; None stands for "not used" and passes. ``__`` in a name is a dot."""
    for name, value in values.items():
        if value is not None and not value > 0:
            raise UserError(f"{name.replace('__', '.')} must be above 0, got {value}")


def check_share(low: float = 0.0, high: float = 1.0, **values: float | None) -> None:
    """Raise ``UserError`` for a value outside [low, high]; None passes. ``__`` in a name is a dot."""
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            most = f"from {low:g} to {high:g}" if math.isfinite(high) else f"at least {low:g}"
            raise UserError(f"{name.replace('__', '.')} must be {most}, got {value}")


@contextlib.contextmanager
def reading(file: object) -> Iterator[None]:
    """While open, what a torn or foreign file does to its reader becomes one line that names the file."""
    try:
        yield
    except UserError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
        raise UserError(f"{file} is damaged ({what}); make it again, or restore it from a copy") from error
