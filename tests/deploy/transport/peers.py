"""Programs that tests start as processes of their own and give orders to, one JSON line each, until their input ends."""

import json
import os
import subprocess
import sys
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[3]


class Peer:
    """A process that runs :func:`obey`; its orders are its functions.

    Args:
        program: file of Python to run.
        role: its first argument.
        environment: besides this process's.
    """

    def __init__(self, program, role, environment):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, str(program), role],
            env={**os.environ, **environment, "PYTHONPATH": os.pathsep.join(paths)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._answer() == "ready"

    def __call__(self, order, **options):
        """What the program's function of that name gives; what it raises is raised here as ``RuntimeError``."""
        self._process.stdin.write(json.dumps([order, options]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self):
        line = self._process.stdout.readline()
        assert line, f"the program ended with {self._process.wait(10)}"
        answer = json.loads(line)
        if "raised" in answer:
            raise RuntimeError(answer["raised"])
        return answer["value"]

    def close(self):
        """End the program by ending its input; gives its exit code."""
        self._process.stdin.close()
        try:
            return self._process.wait(15)
        finally:
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process.stdout.close()


def obey(functions):
    """Do what comes in on standard input, answering each order with a line; whatever else is printed goes to the error stream."""
    answers, sys.stdout = sys.stdout, sys.stderr

    def answer(**fields):
        print(json.dumps(fields), file=answers, flush=True)

    answer(value="ready")
    for line in sys.stdin:
        order, options = json.loads(line)
        try:
            answer(value=functions[order](**options))
        except Exception as error:
            traceback.print_exc()
            answer(raised=f"{type(error).__name__}: {error}")
