"""Processes that a run starts beside itself: a simulated robot."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from typing import Any

from robolearn.config import option_value
from robolearn.deploy.safety import Problem
from robolearn.errors import UserError

END_S = 5.0  # [s]


class SimulatedRobotChild:
    """A ``robolearn sim-robot`` of this run's own, gone when the run is.

    Args:
        options: of the verb, such as ``{"task": "one_leg", "controller": "equilibrium_pose"}``.
        timeout: [s] it may take to be ready.

    Raises:
        UserError: it ended, or took longer; the message quotes what it said.
    """

    def __init__(self, options: Mapping[str, Any], timeout: float = 120.0) -> None:
        given = {**options, "parent": os.getpid(), "json": True}
        words = [f"{name}={option_value(value) if not isinstance(value, bool) else json.dumps(value)}" for name, value in given.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "robolearn", "sim-robot", *words],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: list[str] = []
        self._ready = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, args=(stream,), daemon=True) for stream in (self.process.stdout, self.process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        until = time.monotonic() + timeout
        while not self._ready.wait(0.05):
            if self.process.poll() is not None or time.monotonic() > until:
                self.close()
                said = " ".join(self._said[-20:]).removeprefix("error: ")
                raise UserError(f"the simulated robot did not start: {said or 'it said nothing'}")

    def _read(self, stream: Any) -> None:
        with stream:
            for line in stream:
                self._said.append(line.strip())
                if line.startswith('{"ready": true'):
                    self._ready.set()

    def problems(self, now: int) -> Iterable[Problem]:
        """Whether it has ended, with its last words."""
        if self.process.poll() is not None:
            yield Problem("simulated robot", f"the simulated robot has ended: {' '.join(self._said[-3:])[:300]}", "stop")

    def close(self) -> None:
        """End it, by force where it does not listen."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(1.0)
