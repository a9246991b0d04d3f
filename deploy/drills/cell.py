"""A robot, a policy server and a runner as real processes over real DDS, and who watches the arm; all of it ends with the drill."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.deploy.drills.process import Process
from robolearn.deploy.drills.rig import options_of
from robolearn.deploy.drills.track import Track
from robolearn.deploy.robot import Robot
from robolearn.deploy.transport.base import LATCHED, Received, Transport
from robolearn.deploy.transport.choose import open_transport
from robolearn.deploy.transport.cyclone_config import read_network
from robolearn.errors import UserError
from robolearn.nodes import instantiate
from robolearn.robot_run import EVENTS, read_events

PATIENCE = 60.0  # [s] for a process to be ready, or the arm to move
STARTS = 3  # on a busy computer a runner is late, which the robot's guard does not forgive
SPEED = 0.2  # [rad/s] of a joint, at which the arm moves
END = 10.0  # [s] for a process to end
DOMAINS = (215, 232)  # DDS domains whose ports nobody else is given
STRING = "std_msgs/msg/String"


class Heard:
    """The arm as its topics tell, in the words of a :class:`Track`.

    Attributes:
        position: of the joints ``(7,)`` [rad].
        velocity: ``(7,)`` [rad/s].
        now: when that was heard [ns].
        fault: of the robot; empty where there is none.
        state: that the runner says it is in.
    """

    def __init__(self, transport: Transport, robot: Robot) -> None:
        self.position = self.velocity = np.zeros(len(robot.joints))
        self.now, self.fault, self.state = 0, "", ""
        self.counts: Counter[str] = Counter()
        self.commanded = self  # whose counts a track asks for
        self._came: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self.track = Track(self, robot, self, self)
        for topic in ("/sim/status", "/robolearn/state"):
            transport.subscribe(topic, STRING, self._came.put, LATCHED)
        transport.subscribe("/joint_states", "sensor_msgs/msg/JointState", self._came.put)

    def attend(self) -> None:
        """Take what has come."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._take(self._came.get_nowait())

    def _take(self, received: Received) -> None:
        message = received.message
        if received.topic == "/joint_states":
            self.position, self.velocity, self.now = np.array(message.position), np.array(message.velocity), received.received
            self.track.look()
        elif received.topic == "/sim/status":
            status = json.loads(message.data)
            self.fault, self.counts = str(status["fault"]), Counter(status["counts"])
        else:
            self.state = str(message.data).partition(":")[0]


class Cell:
    """Starts the processes and waits until the arm moves at speed; a context that leaves none of them behind."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Cell:
        with contextlib.ExitStack() as stack:
            self._open(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, stack: contextlib.ExitStack) -> None:
        self._folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="robolearn_drill_")))
        self._out = self._folder / "run"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_", "CYCLONEDDS"))}
        domain = DOMAINS[0] + os.getpid() % (DOMAINS[1] - DOMAINS[0])
        self._environment = {**kept, "ROS_DOMAIN_ID": str(domain), "ROS_LOCALHOST_ONLY": "1", "OMP_NUM_THREADS": "1"}
        parent, dds = f"parent={os.getpid()}", "transport.kind=cyclonedds"
        self.robot = self._start(stack, "sim-robot", "json=true", parent, dds)
        policy = "policy._target_=robolearn.deploy.drills.served.load"
        self.server = self._start(stack, "serve", "checkpoint=null", policy, "port=0", "json=true", parent)
        transport = stack.enter_context(open_transport("cyclonedds", node="drill", network=read_network(self._environment)))
        self.heard = Heard(transport, instantiate(options_of("sim_franka")))
        self.until(lambda: '"url"' in self.server.said and '"ready"' in self.robot.said)
        url = json.loads(self.server.said)["url"]
        words = "robot=sim_franka", dds, f"server={url}", "steps=100000", "on_fault=end", "overwrite=true", f"out={self._out}"
        for left in reversed(range(STARTS)):
            self.heard.state = ""
            self.runner = self._start(stack, "run", *words)
            try:
                self.until(lambda: self.heard.state == "running" and self.heard.track.speed > SPEED)
                self.play(0.5)
                self.until(lambda: self.heard.track.speed > SPEED)
                return
            except UserError:
                if not left:
                    raise

    def _start(self, stack: contextlib.ExitStack, verb: str, *words: str) -> Process:
        process = Process(verb, list(words), self._folder, self._environment)
        stack.callback(process.end)
        return process

    def until(self, true: Callable[[], bool], patience: float = PATIENCE) -> None:
        """Wait for something.

        Raises:
            UserError: it does not come, or a process has ended.
        """
        end = time.monotonic() + patience
        while not true():
            ended = [process for process in self.__dict__.values() if isinstance(process, Process) and process.code is not None]
            if ended or time.monotonic() > end:
                words = "; ".join(f"{process.verb} ended: {process.complained}" for process in ended)
                raise UserError(f"the drill did not begin: {words or f'nothing came within {patience:g} s'}")
            self.play(0.01)

    def play(self, seconds: float) -> None:
        """Watch the arm for so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.005)
            self.heard.attend()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the runner has written down."""
        return list(read_events(self._out / EVENTS))

    def wait(self, true: Callable[[], bool]) -> None:
        """Watch the arm until something holds, or is not going to."""
        end = time.monotonic() + END
        while not true() and time.monotonic() < end:
            self.play(0.05)
