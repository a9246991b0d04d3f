"""What happens in an operator's session, apart from any world, robot or device: a state machine that hears of events and of steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Phase = Literal["ready", "recording", "ended"]
Actor = Literal["operator", "policy"]
Command = Literal["begin", "success", "failure", "discard", "undo", "reset", "release", "quit"]

NO_ANSWER = "the operator's device does not answer; resume when you are back"
STOPPED = "emergency stop; rearm, then resume"
ASKED = "paused"
WENT_BACK = "went back; take over, or resume"


@dataclass(frozen=True)
class Status:
    """What an operator is shown.

    Args:
        task: its name.
        phase: ``ready`` (nothing is recorded), ``recording``, or ``ended`` (the episode is over and waits for its label).
        paused: why nothing moves; empty where things may move.
        actor: who acts.
        has_policy: whether there is a policy to take over from.
        episodes: in the store.
        wanted: how many there are to be.
        successes: of those saved in this session.
        steps: of the episode at hand.
        seconds: of the episode at hand.
        rate: episodes saved an hour, in this session.
        message: how the episode ended, or what was done last.
        solved: the task says that it is done.
        gripper: last commanded, -1 open, +1 close.
        jumps: how often the tool was put elsewhere at once (a reset, an undo): a device forgets its target when this changes.
    """

    task: str = ""
    phase: Phase = "ready"
    paused: str = ""
    actor: Actor = "operator"
    has_policy: bool = False
    episodes: int = 0
    wanted: int = 0
    successes: int = 0
    steps: int = 0
    seconds: float = 0.0
    rate: float = 0.0
    message: str = ""
    solved: bool = False
    gripper: float = -1.0
    jumps: int = 0


class Session:
    """Turns what an operator does into commands to whoever plays the steps; a robot's runner and a simulated world use the same.

    Commands: ``begin`` an episode (from its start), save it as a ``success`` or ``failure``, ``discard`` it (the same start
    again), ``undo`` its last steps, ``reset`` (discard it, another start), ``release`` (the policy acts from here, and forgets
    its queue), ``quit``.

    Args:
        has_policy: a policy acts until the operator takes over.
        confirm: a solved episode waits for the operator's label; otherwise it is saved as a success at once.
    """

    def __init__(self, *, has_policy: bool = False, confirm: bool = True) -> None:
        self.phase: Phase = "ready"
        self.paused = ""
        self.has_policy, self.confirm = has_policy, confirm
        self.actor: Actor = "operator"
        self.solved = False
        self.message = ""

    @property
    def playing(self) -> bool:
        """Whether steps are to be played now."""
        return not self.paused and self.phase != "ended"

    def hear(self, active: bool, events: Iterable[str]) -> list[Command]:
        """What the operator did since the last call, and whether the device answers; what is to be done, in order.

        A device that falls silent pauses an episode; before one nothing is lost, and it goes on by itself.
        """
        commands: list[Command] = []
        for event in events:
            commands += self._event(event, active)
        if not active and not self.paused and self.phase == "recording":
            self.paused = NO_ANSWER
        return commands

    def stepped(self, solved: bool, lost: str = "") -> list[Command]:
        """A step was played: whether the task is solved now, and why the episode is over without a result, if it is."""
        if self.phase != "recording" or not (solved or lost):
            return []
        self.phase, self.solved = "ended", solved
        self.message = "solved" if solved else f"over: {lost}"
        return self._save("success") if solved and not self.confirm else []

    def over(self, message: str) -> None:
        """The episode has ended without the operator, and is dealt with: a judge's word, a time limit, a fault."""
        self._ready(message)

    def _event(self, event: str, active: bool) -> list[Command]:
        if event == "quit":
            return ["quit"]
        if event in ("pause", "resume", "estop", "rearm"):
            self._halt(event, active)
            return []
        if event in ("takeover", "release"):
            return self._hand(event)
        if event == "record":
            return self._begin(active)
        if event == "undo":
            return self._undo()
        if event in ("success", "failure"):
            return self._save("success" if event == "success" else "failure") if self.phase != "ready" else []
        return self._drop("discard" if event == "discard" else "reset") if event in ("discard", "reset") else []

    def _halt(self, event: str, active: bool) -> None:
        if event == "estop":
            self.paused = STOPPED
        elif (event == "rearm" and self.paused == STOPPED) or (event == "pause" and not self.paused):
            self.paused = ASKED
        elif event == "resume" and self.paused != STOPPED and active:
            self.paused = ""

    def _hand(self, event: str) -> list[Command]:
        wanted: Actor = "operator" if event == "takeover" else "policy"
        if not self.has_policy or self.phase != "recording" or wanted == self.actor:
            return []
        self.actor = wanted
        if self.paused == WENT_BACK:
            self.paused = ""
        return ["release"] if wanted == "policy" else []

    def _begin(self, active: bool) -> list[Command]:
        if self.phase != "ready" or self.paused == STOPPED or not active:
            return []
        self.phase, self.paused, self.message = "recording", "", ""
        self.actor = "policy" if self.has_policy else "operator"
        return ["begin"]

    def _undo(self) -> list[Command]:
        if self.phase == "ready":
            return []
        self.phase, self.solved, self.message = "recording", False, ""
        if self.actor == "policy" and not self.paused:
            self.paused = WENT_BACK  # or it would do the same again
        return ["undo"]

    def _save(self, label: Literal["success", "failure"]) -> list[Command]:
        self._ready(f"saved as a {label}")
        return [label]

    def _drop(self, command: Literal["discard", "reset"]) -> list[Command]:
        had = self.phase != "ready"
        self._ready("discarded" if had else "another start" if command == "reset" else "")
        return [command]

    def _ready(self, message: str) -> None:
        self.phase, self.actor, self.solved, self.message = "ready", "operator", False, message
        if self.paused == WENT_BACK:
            self.paused = ""
