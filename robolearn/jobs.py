"""Several commands at once, each begun when those that it needs have ended well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robolearn.learning.interrupt import Terminated

LOOK_S = 0.05  # between two looks at what is playing


@dataclass(frozen=True)
class Command:
    """A process that is to be.

    Args:
        name: unique among those played together.
        words: program and arguments.
        needs: names of those that must have ended with exit code 0.
        log: file that its output is appended to.
    """

    name: str
    words: tuple[str, ...]
    needs: frozenset[str]
    log: Path


@dataclass
class _Playing:
    command: Command
    process: subprocess.Popen[bytes]
    begun: float


def play_together(commands: Sequence[Command], jobs: int, ended: Callable[[str, int, float], None]) -> list[str]:
    """Play commands, up to ``jobs`` at once, sharing the cores; returns the names of those that failed.

    After a failure none is begun any more, and those that play are waited for. Ctrl-C and SIGTERM are passed on to all of them and
    raised once they have ended, their work saved.

    Args:
        commands: in an order in which each comes after what it needs; the first that can begin does.
        jobs: how many at once.
        ended: called with a command's name, exit code and minutes.
    """
    left, playing, done, failed = list(commands), list[_Playing](), set[str](), list[str]()
    asked: KeyboardInterrupt | None = None
    while True:
        try:
            while not failed and asked is None and len(playing) < jobs and (ready := [one for one in left if one.needs <= done]):
                left.remove(ready[0])
                playing.append(_begin(ready[0], jobs))
            if not playing:
                break
            time.sleep(LOOK_S)
            for one in [one for one in playing if one.process.poll() is not None]:
                playing.remove(one)
                code = int(one.process.returncode)
                done.update([one.command.name] if code == 0 else [])
                failed += [] if code == 0 else [one.command.name]
                ended(one.command.name, code, (time.monotonic() - one.begun) / 60)
        except KeyboardInterrupt as stop:
            asked = stop
            for one in playing:
                one.process.send_signal(signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT)
    if asked is not None:
        raise asked
    return failed


def _begin(command: Command, jobs: int) -> _Playing:
    print(f"{command.name}: begun, its output goes to {command.log}", file=sys.stderr, flush=True)
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    with command.log.open("ab") as log:
        process = subprocess.Popen(command.words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    return _Playing(command, process, time.monotonic())
