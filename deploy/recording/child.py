"""The recorder's own process: reads frames from its parent until there are none, and writes the log, the episodes and the events.

It heeds neither Ctrl-C nor SIGTERM: those are for the parent, whose end it notices, finishing its files.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from robolearn.deploy.recording.episodes import INTERVENTION, Episodes
from robolearn.deploy.recording.frames import Frame, FrameReader, arrays_of
from robolearn.deploy.recording.raw_log import RawLog, disk_trouble
from robolearn.errors import UserError
from robolearn.run import jsonable
from robolearn.spec import EnvSpec

FLUSH = 0.5  # [s] between two flushes of the log, and two words to the parent
EVENTS = "events.jsonl"
Fields = Mapping[str, Any]


class Parent:
    """Says things to the parent, a line of JSON each; whether it is still there."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pid = os.getppid()

    def say(self, kind: str, **values: Any) -> None:
        """One word; lost where nobody listens."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, json.dumps({"kind": kind, **values}, default=jsonable).encode() + b"\n")

    @property
    def is_gone(self) -> bool:
        """Whether it died; the pipe alone does not say so where another child of its holds the other end."""
        return os.getppid() != self._pid


class Recording:
    """One run being recorded.

    Args:
        folder: the run's.
        fields: what the parent's first frame says.
        parent: to be told what happens.

    Raises:
        UserError: the store or the log cannot be written as asked.
    """

    def __init__(self, folder: Path, fields: Fields, parent: Parent) -> None:
        self._parent, self._episode, self._lost = parent, -1, ""
        self._steps, self._interventions = 0, 0
        self.episodes: Episodes | None = None
        self.log: RawLog | None = None
        if fields["spec"] is not None:
            spec = EnvSpec.from_dict(fields["spec"])
            self.episodes = Episodes(Path(fields["store"]), spec, kind=fields["kind"], image_codec=fields["image_codec"])
        if fields["raw"]:
            file = _free(folder / "run.mcap")
            self.log = RawLog(file, encoding=fields["encoding"], compression=fields["compression"], run=fields["run"])
        self._events = (folder / EVENTS).open("a", buffering=1)
        where = {"store": self.episodes and self.episodes.place, "episodes": self.episodes and self.episodes.kind}
        parent.say("ready", log=self.log and self.log.file.name, **where)

    def take(self, frame: Frame) -> None:
        """Do what a frame says."""
        getattr(self, f"_on_{frame.kind}")(frame, frame.fields)

    def flush(self) -> None:
        """Put on the disk what came, and say how it goes."""
        values: dict[str, Any] = {}
        if self.log is not None:
            self.log.flush()
            values = {"trouble": self.log.trouble, "left_out": self.log.left_out, "messages": self.log.messages, "bytes": self.log.written}
        self._parent.say("alive", **values)

    def close(self) -> None:
        """Discard the episode that was not ended, and finish the files."""
        try:
            if self.episodes is not None:
                self.episodes.close()
        finally:
            if self.log is not None:
                self.log.close()
            self.flush_words()

    def flush_words(self) -> None:
        """The last word on the log."""
        if self.log is not None:
            self._parent.say("closed", trouble=self.log.trouble, left_out=self.log.left_out, messages=self.log.messages)
        with contextlib.suppress(OSError):
            self._events.close()

    # -- what frames say ---------------------------------------------------------------------------------------------

    def _on_channel(self, frame: Frame, fields: Fields) -> None:
        if self.log is not None:
            names = ("direction", "topic", "type", "definition")
            self.log.channel(fields["channel"], **{name: fields[name] for name in names})

    def _on_message(self, frame: Frame, fields: Fields) -> None:
        if self.log is not None:
            self.log.message(fields["channel"], fields["stamp"], frame.blobs[0])

    def _on_mark(self, frame: Frame, fields: Fields) -> None:
        self._note(fields)

    def _on_begin(self, frame: Frame, fields: Fields) -> None:
        self._episode, self._lost, self._steps, self._interventions = fields["episode"], "", 0, 0
        if self.episodes is not None:
            with self._losing():
                self.episodes.recorder.discard()
                self.episodes.recorder.begin(**fields["provenance"])

    def _on_step(self, frame: Frame, fields: Fields) -> None:
        arrays = arrays_of(frame)
        observation = {name[2:]: value for name, value in arrays.items() if name.startswith("o/")}
        extras = {name[2:]: value for name, value in arrays.items() if name.startswith("x/")}
        self._steps += 1
        self._interventions += bool(extras.get(INTERVENTION, False))
        if self.log is not None:
            words = {"episode": self._episode, "step": self._steps - 1, "reward": fields["reward"]}
            self.log.step(fields["stamp"], {**words, "action": arrays["action"], **observation, **extras})
        if self.episodes is not None and not self._lost:
            with self._losing():
                self.episodes.recorder.add(observation, arrays["action"], reward=fields["reward"], **extras)

    def _on_finish(self, frame: Frame, fields: Fields) -> None:
        success, index = fields["success"], None
        if self.episodes is not None and not self._lost:
            known = dict(fields["provenance"]) | ({} if success is not None else {"labelled": False})
            ended = {"terminated": fields["terminated"], "truncated": fields["truncated"]}
            with self._losing():
                index = self.episodes.recorder.end(success=bool(success), **ended, **known)
        if self._lost:
            self._drop("lost", fields["stamp"], reason=self._lost)
            return
        told = {"index": index, "success": success, "interventions": self._interventions, "truncated": fields["truncated"]}
        self._end("committed", fields["stamp"], **told, note=fields["provenance"].get("note", ""))

    def _on_discard(self, frame: Frame, fields: Fields) -> None:
        self._drop("lost" if fields["reason"] else "discarded", fields["stamp"], reason=fields["reason"])

    def _drop(self, outcome: str, stamp: int, reason: str) -> None:
        if self.episodes is not None:
            self.episodes.recorder.discard()
        self._end(outcome, stamp, reason=reason)

    def _end(self, outcome: str, stamp: int, **values: Any) -> None:
        told = {"episode": self._episode, "steps": self._steps, **values}
        if self.log is not None:
            self.log.episode({"outcome": outcome, **told})
        known = {name: value for name, value in told.items() if name != "reason"}
        self._note({"stamp": stamp, "event": f"episode {outcome}", "words": str(values.get("reason") or ""), **known})
        self._parent.say(outcome, stamp=stamp, **told)
        self._episode = -1

    @contextlib.contextmanager
    def _losing(self) -> Any:
        """What goes wrong with the episode at hand costs that episode, and is said."""
        try:
            yield
        except (UserError, OSError) as error:
            self._lost = " ".join(str(error).split()) or type(error).__name__
            self._parent.say("losing", episode=self._episode, reason=self._lost)

    def _note(self, values: Fields) -> None:
        if self.log is not None:
            self.log.event(values["stamp"], values)
        try:
            self._events.write(json.dumps(dict(values), default=jsonable) + "\n")
        except OSError as error:
            self._parent.say("events", trouble=disk_trouble(error))


def main() -> int:
    """Record until the parent says no more."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    parent = Parent(os.dup(1))
    os.dup2(2, 1)  # what libraries print is for the log
    frames = FrameReader(0)
    first = frames.next(60.0)
    if first is None or first.kind != "open":
        return 2
    with contextlib.suppress(OSError):
        os.nice(int(first.fields["nice"]))
    try:
        recording = Recording(Path(first.fields["folder"]), first.fields, parent)
    except (UserError, OSError) as error:
        parent.say("refused", words=" ".join(str(error).split()))
        return 1
    try:
        _record(recording, frames, parent)
    finally:
        recording.close()
    return 0


def _record(recording: Recording, frames: FrameReader, parent: Parent) -> None:
    flushed = time.monotonic()
    with contextlib.suppress(EOFError):
        while True:
            frame = frames.next(FLUSH / 2)
            if frame is not None:
                recording.take(frame)
            elif parent.is_gone:
                return
            if time.monotonic() - flushed >= FLUSH:
                recording.flush()
                flushed = time.monotonic()


def _free(file: Path) -> Path:
    """The file, or the first of its name with a number that is not there."""
    number, free = 0, file
    while free.exists():
        number += 1
        free = file.with_name(f"{file.stem}_{number}{file.suffix}")
    return free


if __name__ == "__main__":
    sys.exit(main())
