"""Saving the page's marks: a new store beside the one that is shown, made in the background."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robolearn.datasets.editing import Plan, require_apart, write
from robolearn.datasets.layout import StoreError
from robolearn.datasets.marking import Mark, marked_pieces, read_mark
from robolearn.datasets.reader import StoreReader
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError

log = logging.getLogger(__name__)
TOOL = "view"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


class Saver:
    """Makes one store after another in a thread, and says how far it is.

    Args:
        store: what is shown.
        folder: where new stores go.
    """

    def __init__(self, store: StoreReader, folder: Path) -> None:
        self.folder = folder
        self._store = store
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._facts: dict[str, Any] = {"state": "idle"}

    def facts(self) -> dict[str, Any]:
        """``state`` (idle, running, done, failed), and how far it is, what was made or why not."""
        with self._lock:
            return dict(self._facts)

    def start(self, request: Any) -> dict[str, Any]:
        """Begin to make the store that ``{"name": ..., "marks": {episode: mark}}`` asks for; returns :meth:`facts`.

        Raises:
            StoreError: a name that is none or taken, marks that do not fit, or another store is being made.
        """
        if not isinstance(request, Mapping) or not isinstance(request.get("marks"), Mapping):
            raise StoreError("expected an object with a name and marks")
        plan, notes = self._plan(place(self.folder, request.get("name")), request["marks"])
        with self._lock:
            if self._facts["state"] == "running":
                raise StoreError("a store is being made already; wait until it is complete")
            self._facts = {"state": "running", "store": str(plan.out), "done": 0, "total": plan.work}
            self._thread = threading.Thread(target=self._work, args=(plan, notes), name="saving")
            self._thread.start()
        return self.facts()

    def _plan(self, out: Path, entries: Mapping[str, Any]) -> tuple[Plan, list[str]]:
        marks: dict[int, Mark] = {}
        for key, entry in entries.items():
            if not key.isascii() or not key.isdigit() or len(key) > 9:
                raise StoreError(f"{key[:40]!r} is no episode's number")
            marks[int(key)] = read_mark(entry, f"the mark of episode {key}")
        if not any(mark != Mark() for mark in marks.values()):
            raise StoreError("nothing is marked, so there is nothing to save")
        pieces, notes = marked_pieces(self._store, marks, TOOL)
        plan = Plan(out, [self._store], pieces, self._store.env_spec, {"tool": TOOL, "marked": len(notes)})
        require_apart(out, [self._store])
        if out.exists():
            raise StoreError(f"{out} exists; give another name")
        return plan, notes

    def _work(self, plan: Plan, notes: list[str]) -> None:
        try:
            write([plan], overwrite=False, advance=self._advance)
            made = DemoStore.open(plan.out)
            facts = {"state": "done", "episodes": made.num_episodes, "fingerprint": made.fingerprint(), "changes": notes[:200]}
        except UserError as error:
            facts = {"state": "failed", "error": str(error)}
        except Exception:
            log.exception("could not make %s", plan.out)
            facts = {"state": "failed", "error": "something went wrong; the terminal says what"}
        with self._lock:
            self._facts = {**facts, "store": str(plan.out)}

    def _advance(self, rows: int) -> None:
        with self._lock:
            self._facts["done"] += rows

    def wait(self) -> None:
        """Until what was begun is complete."""
        if self._thread is not None:
            self._thread.join()


def place(folder: Path, name: Any) -> Path:
    """Where a store of that name goes: within ``folder``, ending in ``.zarr``.

    Raises:
        StoreError: it is no plain name.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StoreError("give the new store a plain name of letters, digits, '_', '.', '-', such as judged.zarr")
    return folder / (name if name.endswith(".zarr") else f"{name}.zarr")
