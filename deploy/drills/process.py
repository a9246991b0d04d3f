"""A command of robolearn as a process of a drill's own, which leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path


class Process:
    """``robolearn VERB ...`` in a session of its own, so that whatever it starts ends with it.

    Args:
        verb: which.
        words: its options.
        folder: where its output goes.
        environment: its own.
    """

    def __init__(self, verb: str, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.verb = verb
        self._files = folder / f"{verb}.out", folder / f"{verb}.err"
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            command = [sys.executable, "-m", "robolearn", verb, *words]
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )

    @property
    def said(self) -> str:
        """On stdout so far."""
        return self._files[0].read_text()

    @property
    def complained(self) -> str:
        """The last line on stderr."""
        return (self._files[1].read_text().strip().splitlines() or [""])[-1]

    @property
    def code(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.poll()

    @property
    def left(self) -> bool:
        """Whether it, or anything that it has started, is still there."""
        self._process.poll()
        return any(_member(stat, self._process.pid) for stat in Path("/proc").glob("[0-9]*/stat"))

    def signal(self, number: int) -> None:
        """To it alone, not to what it has started."""
        self._process.send_signal(number)

    def end(self) -> None:
        """With everything that it has started, by force."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _member(stat: Path, group: int) -> bool:
    """Whether a process of Linux's ``/proc/.../stat`` is alive and of a process group."""
    with contextlib.suppress(OSError):
        state, _, its = stat.read_text().rpartition(")")[2].split()[:3]
        return state != "Z" and int(its) == group
    return False
