"""What the processes of test_processes.py do."""

import os
import signal
import sys
import time
from pathlib import Path

from robolearn.errors import UserError
from robolearn.learning.interrupt import Interrupt, Stop
from robolearn.learning.processes import run_jobs


def double(number):
    return 2 * number


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail(started: Path):
    while not started.exists():
        time.sleep(0.01)
    raise UserError("the loss is nan")


def learn(folder: Path, name: str):
    """Work until told to stop, then save."""
    with Interrupt() as interrupt:
        (folder / f"{name}.started").touch()
        while not interrupt.requested:
            time.sleep(0.01)
        time.sleep(0.3)
        (folder / f"{name}.saved").touch()
    interrupt.raise_if_requested()


if __name__ == "__main__":
    place = Path(sys.argv[1])
    try:
        with Stop():  # as the command line does: a shell's background jobs would ignore Ctrl-C
            run_jobs(learn, {name: (place, name) for name in "ab"}, 2)
    except KeyboardInterrupt:
        print("stopped")
