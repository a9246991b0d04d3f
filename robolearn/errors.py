"""Errors that are the user's to mend, which the command line prints as a line without a traceback, and the hint that ends many of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Says what was expected, what came, and what would have worked."""


def nearest(name: str, names: Iterable[str]) -> str:
    """A hint such as ``; did you mean 'seed'?``, or nothing when no name is close."""
    everything = list(names)
    close = difflib.get_close_matches(name, everything, 1, 0.6)
    if not close:  # a bare leaf name finds its path: lr -> optimizer.lr
        leaves = {full.rsplit(".", 1)[-1]: full for full in everything}
        close = [leaves[leaf] for leaf in difflib.get_close_matches(name.rsplit(".", 1)[-1], leaves, 1, 0.75)]
    return f"; did you mean {close[0]!r}?" if close else ""
