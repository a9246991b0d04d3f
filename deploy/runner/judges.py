"""Who prepares episodes and says how they go: a simulated robot's world, or a person."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable, Iterable
from typing import Any

from robolearn.deploy.runner.roles import Verdict
from robolearn.deploy.safety import Problem
from robolearn.deploy.transport.base import LATCHED, QoS, Received, Transport

STRING = "std_msgs/msg/String"


class OperatorJudge:
    """A person sets the scene, says when it is set, and then success, failure or discard.

    Args:
        begins: whether somebody has said that the scene is set since the last call.
        ask: told that somebody should.
    """

    def __init__(self, begins: Callable[[], bool] = lambda: True, ask: Callable[[], None] = lambda: None) -> None:
        self._begins, self._ask, self._set = begins, ask, False

    def prepare(self, seed: int) -> None:
        """Whatever was said before is of another scene."""
        self._begins()
        self._set = False
        self._ask()

    @property
    def ready(self) -> bool:
        """Whether somebody has said so."""
        self._set = self._set or self._begins()
        return self._set

    def verdict(self) -> Verdict:
        """Nobody knows before the operator says."""
        return Verdict()


class SimulatedJudge:
    """The world of ``robolearn sim-robot``: it is reset to a seed's start, and judges as the task does.

    Args:
        transport: where it is.
        level: of randomness; the world's own unless given.
        beside: told of every message that is heard.
    """

    def __init__(self, transport: Transport, level: str | None = None, beside: Any = None) -> None:
        self._level, self._beside, self._new = level, beside, transport.messages.new
        self._lock = threading.Lock()
        self._status: dict[str, Any] = {}
        self._token = ""
        self._reset = transport.publisher("/sim/reset", STRING, QoS("reliable", depth=10))
        transport.subscribe("/sim/status", STRING, self._hear, LATCHED)
        self._asked = ""

    def prepare(self, seed: int) -> None:
        """Ask for the start of a seed."""
        self._token = secrets.token_hex(4)
        self._asked = json.dumps({"seed": seed, "level": self._level, "token": self._token})
        self._sent = False
        self._send()

    def _send(self) -> None:
        if not self._sent and self._reset.readers:
            self._reset.publish(self._new(STRING, data=self._asked))
            self._sent = True

    @property
    def ready(self) -> bool:
        """Whether the world stands at that start."""
        self._send()
        return self._now().get("token") == self._token

    def verdict(self) -> Verdict:
        """How the world judges; nothing while it still tells of another episode."""
        status = self._now()
        if status.get("token") != self._token:
            return Verdict()
        lost = str(status["lost"])
        return Verdict(bool(status["success"]) or bool(lost), bool(status["success"]), dict(status["stages"]), lost)

    def problems(self, now: int) -> Iterable[Problem]:
        """What the robot's own fault is, if any."""
        fault = self._now().get("fault")
        if fault:
            yield Problem("driver", f"the robot reports {fault}", "stop")

    def _now(self) -> dict[str, Any]:
        with self._lock:
            return self._status

    def _hear(self, received: Received) -> None:
        if self._beside is not None:
            self._beside(received)
        try:
            status = json.loads(received.message.data)
            {key: status[key] for key in ("token", "success", "lost", "stages", "fault")}
        except (ValueError, KeyError, TypeError):
            return
        with self._lock:
            self._status = status
