"""Drills of the recorder, a real process with a real store: it is killed, or its disk is full; committed episodes have to be there."""

from __future__ import annotations

import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from robolearn.deploy.drills.drill import Drill, Row
from robolearn.deploy.drills.rig import Rig, options_of
from robolearn.deploy.messages import Messages
from robolearn.deploy.recording.recorder import Recorder
from robolearn.deploy.robot import Robot
from robolearn.deploy.safety import State
from robolearn.nodes import find_target, instantiate

GROUP = "recorder and disk"
PATIENCE = 20.0  # [s] in which the process has to notice
STORE = "robolearn.datasets.store.DemoStore"


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not true() and time.monotonic() < deadline:
        time.sleep(0.02)


def _kill(recorder: Recorder) -> None:
    os.kill(recorder.pid, signal.SIGKILL)
    _until(lambda: not recorder.alive)


def _fill(recorder: Recorder) -> None:
    """No file may grow any more, which is how a full disk looks to the process."""
    resource.prlimit(recorder.pid, resource.RLIMIT_FSIZE, (1, 1))
    recorder.mark("drill", "the disk is full")
    _until(lambda: bool(recorder.problems()))


@dataclass(frozen=True)
class RecorderDrill:
    """One episode is committed, a second is under way when something happens to the recorder.

    Args:
        name: short.
        fault: in words.
        spoil: has it happen.
        says: what the runner has to say.
    """

    name: str
    fault: str
    spoil: Callable[[Recorder], None]
    says: str

    def run(self) -> Row:
        """Do it."""
        robot: Robot = instantiate(options_of("sim_franka"))
        with tempfile.TemporaryDirectory(prefix="robolearn_drill_") as folder:
            recorder = Recorder(Path(folder), Messages().definition, robot.spec("drill", 10.0), kind="store")
            try:
                recorder.wait_ready()
                self._commit_one(recorder, robot)
                drill = Drill(
                    self.name, GROUP, self.fault, lambda rig: self.spoil(recorder), State.FAULT, self.says, options={"journal": recorder}
                )
                row = drill.run()
            finally:
                recorder.close(5.0)
            kept = int(find_target(STORE).open(Path(folder) / "episodes.zarr").num_episodes)
        return replace(row, committed=(min(kept, 1), 1), ok=row.ok and kept >= 1)

    def _commit_one(self, recorder: Recorder, robot: Robot) -> None:
        """A short episode, committed before the fault."""
        rig = Rig()
        try:
            rig.begin(0.3)
            observation: Any = rig.observe()
            recorder.begin("rollout", seed=1)
            for _ in range(5):
                recorder.step(observation, rig.autonomy.target)
            recorder.finish(True, True)
            recorder.wait(PATIENCE)
        finally:
            rig.close()


DRILLS = [
    RecorderDrill("killed_recorder", "recorder killed (a real process)", _kill, "signal 9"),
    RecorderDrill("full_disk", "disk full (a real process)", _fill, "the disk is full"),
]
