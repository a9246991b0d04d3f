"""Topics on which the policy's dials are turned while it plays: ``/robolearn/dial/<name>``."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from functools import partial

from robolearn.deploy.serving.inference import Outcome
from robolearn.deploy.transport.base import Received, Transport

FLOAT = "std_msgs/msg/Float64"


class Dials:
    """Hands what it hears to the policy's server, and notes what came of it.

    Args:
        transport: where the topics are.
        names: of the dials; one topic each.
        submit: turns one to a value without waiting; see :meth:`robolearn.deploy.serving.inference.Inference.submit_dial`.
        mark: notes an event; see :meth:`robolearn.deploy.recording.recorder.Recorder.mark`.
    """

    def __init__(self, transport: Transport, names: Iterable[str], submit: Callable[[str, float], int], mark: Callable[..., None]) -> None:
        self._submit, self._mark = submit, mark
        self._lock = threading.Lock()
        self._asked: dict[int, tuple[str, float]] = {}  # of questions without an answer: dial and value
        self._noted: dict[str, str] = {}  # what was noted of each dial last
        for name in names:
            transport.subscribe(f"/robolearn/dial/{name}", FLOAT, partial(self._turn, name))

    def answered(self, outcome: Outcome) -> None:
        """Note what came of a turn; a value that a newer one has overtaken is not worth it."""
        with self._lock:
            name, value = self._asked.pop(outcome.id)
        if outcome.code != "superseded":
            self._note(name, value, outcome.error)

    def _turn(self, name: str, received: Received) -> None:
        value = float(received.message.data)
        if not math.isfinite(value):  # a server takes it for the end of the protocol, and hangs up
            self._note(name, value, f"dial {name} takes a finite number, got {value}")
            return
        with self._lock:  # the answer may come before the number is known
            self._asked[self._submit(name, value)] = (name, value)

    def _note(self, name: str, value: float, error: str) -> None:
        """Once, however often the same is sent."""
        words = error or f"{name} is {value:g}"
        if self._noted.get(name) != words:
            self._noted[name] = words
            self._mark("dial refused" if error else "dial", words, name=name, value=value if math.isfinite(value) else str(value))
