"""What a recording came to: its episodes, its events, and what is wrong with it, as the recorder's process tells them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

MOST_MARKS = 10_000
ENDS = ("committed", "discarded", "lost")
TOLD = ("index", "success", "steps", "interventions", "reason", "truncated", "note")


@dataclass(frozen=True)
class Problem:
    """What is wrong with the recording.

    Args:
        kind: ``died``, ``silent``, ``behind`` (messages were dropped), ``disk``, ``events`` or ``lost`` (an episode).
        words: for people.
    """

    kind: str
    words: str


@dataclass(frozen=True)
class Outcome:
    """What became of an episode.

    Args:
        number: counted from 0 in this run, discarded ones too.
        state: ``recording``, ``finishing``, ``committed``, ``discarded`` or ``lost``.
        index: in the store, once committed.
        success: its label; None where nobody said.
        steps: of it.
        interventions: steps that were the operator's.
        reason: why it was lost.
        truncated: a time limit cut it.
        note: the operator's.
    """

    number: int
    state: str = "recording"
    index: int | None = None
    success: bool | None = None
    steps: int = 0
    interventions: int = 0
    reason: str = ""
    truncated: bool = False
    note: str = ""


class Ledger:
    """Kept by two threads: the run's and the one that hears the process.

    Args:
        clock: stamps what the process could not say any more [ns].

    Attributes:
        episodes: of this run, in order.
        marks: events of this run, as ``events.jsonl`` has them; the first 10,000.
        words: the last of each kind that the process said.
        changed: notified with every word.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.episodes: list[Outcome] = []
        self.marks: list[dict[str, Any]] = []
        self.words: dict[str, dict[str, Any]] = {}
        self.changed = threading.Condition()
        self.losing = ""  # why the episode at hand cannot be committed

    @property
    def at_hand(self) -> Outcome | None:
        """The episode that is being recorded."""
        return self.episodes[-1] if self.episodes and self.episodes[-1].state == "recording" else None

    def begin(self) -> int:
        """Count one more episode; returns its number."""
        with self.changed:
            self.losing = ""
            self.episodes.append(Outcome(len(self.episodes)))
            return len(self.episodes) - 1

    def change(self, number: int, **values: Any) -> None:
        """Note what became of an episode."""
        with self.changed:
            self.episodes[number] = replace(self.episodes[number], **values)
            self.changed.notify_all()

    def mark(self, values: dict[str, Any]) -> None:
        """Keep an event."""
        if len(self.marks) < MOST_MARKS:
            self.marks.append(values)

    def heard(self, word: dict[str, Any]) -> None:
        """Take a word of the process."""
        kind = word["kind"]
        with self.changed:
            self.words[kind] = word
            if kind == "losing" and self.at_hand is not None and self.at_hand.number == word["episode"]:
                self.losing = word["reason"]
            elif kind == "died":
                self._settle(word["words"])
            elif kind in ENDS and word["episode"] >= 0:
                self.change(word["episode"], state=kind, **{name: word[name] for name in TOLD if word.get(name) is not None})
                known = {name: value for name, value in word.items() if name not in ("kind", "stamp", "reason")}
                self.mark({"stamp": word["stamp"], "event": f"episode {kind}", "words": word.get("reason") or "", **known})
            self.changed.notify_all()

    def _settle(self, why: str) -> None:
        """No episode that is not committed by now will be."""
        for entry in self.episodes:
            if entry.state == "recording":
                self.losing = why
            elif entry.state == "finishing":
                self.lose(entry.number, f"{why}; it was being committed: look whether the store has it")

    def lose(self, number: int, why: str) -> None:
        """Note that an episode is lost, where the process cannot."""
        with self.changed:
            self.change(number, state="lost", reason=why)
            self.mark({"stamp": self._clock(), "event": "episode lost", "words": why, "episode": number})

    def problems(self) -> list[Problem]:
        """What is wrong on the process's side, and which episodes are lost."""
        found = []
        if "died" in self.words:
            found.append(Problem("died", self.words["died"]["words"]))
        log = self.words.get("closed", self.words.get("alive", {}))
        if log.get("trouble") or log.get("left_out"):
            left_out = f"; {log['left_out']} messages not recorded" if log.get("left_out") else ""
            found.append(Problem("disk", f"the log: {log.get('trouble') or 'the disk was full'}{left_out}"))
        if "events" in self.words:
            found.append(Problem("events", f"events.jsonl: {self.words['events']['trouble']}"))
        found += [Problem("lost", f"episode {entry.number} is lost: {entry.reason}") for entry in self.episodes if entry.state == "lost"]
        if self.losing and self.at_hand is not None:
            found.append(Problem("lost", f"episode {self.at_hand.number} is being lost: {self.losing}"))
        return found
