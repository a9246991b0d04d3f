"""A run that commits an episode, begins another, and waits to be killed; what the test of a dead parent starts."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from robolearn.deploy.recording.recorder import Recorder
from tests.deploy.recording.doubles import SPEC, definition, episode, joint_state, play, record

if __name__ == "__main__":
    recorder = Recorder(Path(sys.argv[1]), definition, SPEC)
    recorder.wait_ready()
    # Another child that has the recorder's pipe: its end alone does not tell the recorder that its parent died.
    pipe = recorder._link._out
    bystander = subprocess.Popen(["sleep", "60"], pass_fds=[pipe], stdout=subprocess.DEVNULL)
    record(recorder, 0)
    recorder.wait(30)
    recorder.begin()
    play(recorder, episode(1))
    for number in range(20):
        recorder.received(joint_state(number))
    time.sleep(0.3)  # what waits goes out a hundred times a second
    print(recorder.pid, bystander.pid, os.getpid(), flush=True)
    time.sleep(60)
