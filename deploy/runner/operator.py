"""An operator beside a run: whoever holds a device may begin episodes, act instead of the policy, say how it went, and stop the robot."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.runner.command import Tick
from robolearn.deploy.safety import ESTOP, Problem, State
from robolearn.deploy.teleop.device import Device, OperatorInput
from robolearn.learning.session import STOPPED, Session, Status

HANG_S = 0.5  # [s] without a word of a device after which it hangs
POLL_S = 0.02  # [s] between two looks at the device

Stage = Literal["between", "asked", "playing"]  # of an episode: nobody wants one, the operator does, it is recorded
Look = Callable[[], Mapping[str, NDArray[Any]]]


class Listener(Protocol):
    """Hears what an operator wants of a run; see :class:`robolearn.deploy.runner.stops.Stops`."""

    def note(self, event: str) -> None:
        """Take a word."""
        ...


class Operator:
    """Asks a device on a thread of its own, so that a page or a mouse never keeps the command loop waiting.

    The loop reads :attr:`acts` and :attr:`target`, and is held by :meth:`problems` while the operator pauses or is not heard of.

    Args:
        device: see :class:`robolearn.deploy.teleop.device.Device`.
        stops: hears the labels, the emergency stop and re-arming.
        look: gives what the robot observes now, ``{name: (...)}`` with ``tcp_pos`` and ``tcp_rot6d``; may raise where there is nothing yet.
        has_policy: a policy acts until the operator takes over; otherwise the operator does.
        task: for display.
        wanted: episodes that there are to be.
        control_hz: steps a second.
        scene: is shown what is observed.
        clock: [ns], monotonic.
    """

    def __init__(
        self,
        device: Device,
        stops: Listener,
        look: Look,
        *,
        has_policy: bool,
        task: str = "",
        wanted: int = 0,
        control_hz: float = 10.0,
        scene: Any = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.device, self._stops, self._look, self._scene, self._clock = device, stops, look, scene, clock
        self._task, self._wanted, self._hz = task, wanted, control_hz
        self._lock = threading.Lock()
        self._session = Session(has_policy=has_policy)
        self._stage: Stage = "between"
        self._skips = False
        self._acts = not has_policy
        self._target: NDArray[np.float32] | None = None
        self._heard_at, self._failed = clock(), ""
        self._tick: Tick | None = None
        self._fault, self._gripper = "", -1.0
        self._steps = self._episodes = self._successes = self._jumps = 0
        self._begun_at = clock()
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Connect the device, and begin to ask it.

        Raises:
            UserError: it is not there.
        """
        self.device.open()
        self._heard_at = self._clock()
        self._thread = threading.Thread(target=self._ask, name="operator", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ask no more, and let go of the device."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join(2.0)
        self.device.close()

    # -- the command loop's side --------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether the operator has asked for the episode."""
        return self._stage != "between"

    def choice(self) -> tuple[bool, NDArray[np.float32] | None]:
        """Whether the operator acts, and the target ``(10,)`` then."""
        with self._lock:
            return self._acts, self._target

    def problems(self, now: int) -> Iterator[Problem]:
        """``wait`` while an episode is under way and the operator pauses it, or nobody is heard of."""
        with self._lock:
            stage, failed, paused, silent = self._stage, self._failed, self._session.paused, self._clock() - self._heard_at
        if stage == "between":
            return
        if failed:
            yield Problem("operator", failed, "wait")
        elif silent > HANG_S * 1e9:
            yield Problem("operator", "the operator's device hangs", "wait")
        elif paused:
            yield Problem("operator", paused, "wait")

    def prepare(self) -> None:
        """An episode is prepared, and begins when the operator says so, or has said so since the last one."""
        with self._lock:
            self._steps, self._gripper, self._jumps = 0, -1.0, self._jumps + 1
            self._target = None

    def began(self) -> None:
        """It is recorded from now on."""
        self._stage, self._steps = "playing", 0

    def stepped(self) -> None:
        """A step was recorded."""
        self._steps += 1

    def ended(self, success: bool | None, message: str) -> None:
        """It is over and kept: with its label, or what there is to say."""
        with self._lock:
            self._stage = "between"
            self._episodes, self._successes = self._episodes + 1, self._successes + bool(success)
            told = {True: "saved as a success", False: "saved as a failure", None: "saved without a label"}[success]
            self._session.over(f"{told}: {message}" if message else told)

    def dropped(self) -> None:
        """It is over, and never was."""
        with self._lock:
            self._stage = "between"
            self._session.over("discarded")

    def skips(self) -> bool:
        """Whether another start was asked for since the last call."""
        skips, self._skips = self._skips, False
        return skips

    def see(self, tick: Tick, fault: str) -> None:
        """What the last tick did, and the fault that is latched, if any."""
        self._tick, self._fault = tick, fault
        if tick.target is not None and np.isfinite(tick.target[-1]):
            self._gripper = 1.0 if tick.target[-1] > 0 else -1.0

    # -- the device's side --------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Ask the device once, do what it wants, and show it how things stand."""
        try:
            seen = self._look()
        except Exception:  # nothing was measured yet
            seen = {}
        if {"tcp_pos", "tcp_rot6d"} <= seen.keys():
            tool = np.concatenate([seen["tcp_pos"], seen["tcp_rot6d"], [self._gripper]]).astype(np.float32)
            self._take(self.device.poll(self._clock(), tool))
        else:
            self._heard_at = self._clock()
        self.device.show(self.status(), {name: value for name, value in seen.items() if value.dtype == np.uint8 and value.ndim == 3})
        if self._scene is not None and seen:
            self._scene.show(seen)

    def try_turn(self) -> bool:
        """As :meth:`turn`; False from when the device has failed: whatever it does, the robot waits and says why."""
        try:
            self.turn()
        except Exception as error:
            self._failed = f"the operator's device failed: {type(error).__name__}: {error}"[:300]
        return not self._failed

    def status(self) -> Status:
        """What the operator is shown."""
        with self._lock:
            session, hours = self._session, (self._clock() - self._begun_at) / 3.6e12
            paused, message = self._words()
            return Status(
                task=self._task,
                phase=session.phase,
                paused=paused,
                actor=session.actor,
                has_policy=session.has_policy,
                episodes=self._episodes,
                wanted=self._wanted,
                successes=self._successes,
                steps=self._steps,
                seconds=self._steps / self._hz,
                rate=self._episodes / max(hours, 1e-9),
                message=message,
                gripper=self._gripper,
                jumps=self._jumps,
            )

    def _words(self) -> tuple[str, str]:
        """Why the robot does not move, and what else there is to say."""
        session, tick = self._session, self._tick
        if tick is None:
            return session.paused, session.message
        if tick.state in (State.STOPPING, State.FAULT):
            return f"emergency stop: {self._fault}; see to it, then rearm", session.message
        wrong = "; ".join(problem.words for problem in tick.problems if problem.cause != "operator")
        if session.paused == STOPPED or any(problem.cause == ESTOP for problem in tick.problems):
            return STOPPED.replace("resume", "record"), session.message
        if tick.state is State.HOLD and wrong and not session.paused:
            return f"the robot holds: {wrong}", session.message
        if self._stage == "asked":
            return session.paused, f"begins as soon as it can{': ' if wrong else ''}{wrong}"
        return session.paused, session.message

    def _take(self, heard: OperatorInput) -> None:
        with self._lock:
            self._heard_at = self._clock()
            events = list(self._heeded(heard.events))
            for command in self._session.hear(heard.active, events):
                if command == "begin":
                    self._stage = "asked"
                elif command in ("success", "failure", "discard", "quit"):
                    self._stops.note(command)
                elif command == "reset":
                    self._skips = True
                    self._stops.note("discard")
            for event in events:
                if event in ("estop", "rearm"):
                    self._stops.note(event)
            session = self._session
            self._acts = not session.has_policy or (session.phase == "recording" and session.actor == "operator")
            self._target = _usable(heard.target) if heard.active else None

    def _heeded(self, events: Iterable[str]) -> Iterator[str]:
        """The events that mean something now: an episode begins once, only one that is recorded has a label, and nothing is undone."""
        for event in events:
            if event == "undo" or (event == "record" and self._stage != "between"):
                continue
            if event in ("success", "failure", "discard", "reset") and self._stage != "playing":
                continue
            if event == "record" and self._tick is not None and self._tick.state is not State.IDLE:
                continue  # it comes to rest, or waits for being re-armed
            yield event

    def _ask(self) -> None:
        while not self._closed.wait(POLL_S) and self.try_turn():
            pass


def _usable(target: NDArray[np.float32] | None) -> NDArray[np.float32] | None:
    if target is None or target.shape != (10,) or not all(map(math.isfinite, target.tolist())):
        return None
    return target
