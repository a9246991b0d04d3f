"""Several commands at once, each begun when those that it needs have ended well."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robolearn.learning.interrupt import Interrupt

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
    raised once they have ended, their work saved. No process is left behind, whatever happens.

    Args:
        commands: in an order in which each comes after what it needs; the first that can begin does.
        jobs: how many at once.
        ended: called with a command's name, exit code and minutes.
    """
    left, playing, done, failed = list(commands), list[_Playing](), set[str](), list[str]()
    told = False
    with Interrupt("what is playing") as interrupt:
        try:
            while True:
                stopping = bool(failed) or interrupt.requested
                while not stopping and len(playing) < jobs and (ready := [one for one in left if one.needs <= done]):
                    left.remove(ready[0])
                    playing.append(_begin(ready[0], jobs))
                if not playing:
                    break
                if interrupt.requested and not told:
                    told = True
                    for one in playing:
                        one.process.send_signal(interrupt.signal)
                time.sleep(LOOK_S)
                for one in [one for one in playing if one.process.poll() is not None]:
                    playing.remove(one)
                    code = int(one.process.returncode)
                    done.update([one.command.name] if code == 0 else [])
                    failed += [] if code == 0 else [one.command.name]
                    ended(one.command.name, code, (time.monotonic() - one.begun) / 60)
        finally:
            for one in playing:
                one.process.terminate()
            for one in playing:
                one.process.wait()
    interrupt.raise_if_requested()
    return failed


def _begin(command: Command, jobs: int) -> _Playing:
    threads = str(max(1, cores() // jobs))
    environment = {"OMP_NUM_THREADS": threads, **os.environ}
    with command.log.open("ab") as log:
        log.write(f"$ {shlex.join(command.words)}\n".encode())
        log.flush()
        process = subprocess.Popen(command.words, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment)
    return _Playing(command, process, time.monotonic())


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
