"""Raw messages, steps and events of a run in one MCAP file, whole up to the last second whatever ends the process or fills the disk."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.errors import UserError
from robolearn.run import jsonable

PENDING = 32 << 20  # bytes that wait for a disk with room; then messages are left out
PARTS = {"cdr": ("ros2", "ros2msg"), "ros1": ("ros1", "ros1msg")}  # encoding of messages: MCAP's profile, and encoding of schemas
EVENTS, STEPS = "/robolearn/events", "/robolearn/steps"
JSON_SCHEMA = b'{"type": "object"}'


def disk_trouble(error: OSError) -> str:
    """What a disk that does not take what is written is told to be."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return f"{'the disk is full' if full else 'the disk fails'} ({error.strerror})"


class Sink:
    """A stream that never fails: what the disk does not take waits in memory, in order, and is tried again.

    Args:
        file: where to write; must not exist.

    Attributes:
        trouble: what the disk said last, in words; None where it takes everything.
    """

    def __init__(self, file: Path) -> None:
        self.trouble: str | None = None
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        self._waiting = bytearray()
        self._position = 0

    def tell(self) -> int:
        """Bytes so far, those that wait too."""
        return self._position

    def write(self, data: Any) -> int:
        """Take bytes; nothing is written before :meth:`flush`."""
        self._waiting += data
        self._position += len(data)
        return len(data)

    @property
    def waiting(self) -> int:
        """Bytes that are not on the disk."""
        return len(self._waiting)

    def flush(self) -> None:
        """Write what waits, as far as the disk takes it."""
        while self._waiting:
            try:
                written = os.write(self._descriptor, self._waiting[: 1 << 20])
            except OSError as error:
                self.trouble = disk_trouble(error)
                return
            del self._waiting[:written]
        self.trouble = None

    def close(self) -> None:
        """Write what the disk takes, down to the platter, and close."""
        self.flush()
        if self.trouble is None:
            os.fsync(self._descriptor)
        os.close(self._descriptor)


class RawLog:
    """Writes one MCAP file.

    Args:
        file: must not exist.
        encoding: of raw messages: ``cdr`` (ROS 2) or ``ros1``.
        compression: ``zstd``, ``lz4`` or ``none``.
        run: what the file's metadata say of the run.

    Raises:
        UserError: the package ``mcap`` is missing, or no such encoding or compression.
    """

    def __init__(self, file: Path, *, encoding: str = "cdr", compression: str = "zstd", run: Mapping[str, Any] | None = None) -> None:
        try:
            from mcap.writer import CompressionType, Writer
        except ImportError as error:
            raise UserError("raw messages are recorded with the package mcap, which is not installed; `pip install mcap`") from error
        if encoding not in PARTS:
            raise UserError(f"no encoding {encoding!r}; there are {', '.join(PARTS)}")
        known = {entry.name.lower(): entry for entry in CompressionType}
        if compression not in known:
            raise UserError(f"no compression {compression!r}; there are {', '.join(known)}")
        self.file, self._encoding = file, encoding
        profile, self._schema_encoding = PARTS[encoding]
        self._sink = Sink(file)
        sink: Any = self._sink  # a stream as far as the writer asks
        self._writer: Any = Writer(sink, compression=known[compression])
        self._writer.start(profile=profile, library="robolearn")
        self._writer.add_metadata("run", _texts(run or {}))
        self._schemas: dict[str, int] = {}
        self._channels: dict[int, int] = {}  # the parent's number: the file's
        self._own: dict[str, int] = {}
        self.left_out = 0
        self.messages = 0
        self._sink.flush()

    @property
    def trouble(self) -> str | None:
        """What is wrong with the disk, in words."""
        return self._sink.trouble

    @property
    def written(self) -> int:
        """Bytes on the disk."""
        return self._sink.tell() - self._sink.waiting

    def channel(self, number: int, *, direction: str, topic: str, type: str, definition: str) -> None:
        """Say what messages of a number are.

        Args:
            number: that :meth:`message` will give.
            direction: ``received`` or ``sent``.
            topic: its ROS name.
            type: ``sensor_msgs/msg/JointState``.
            definition: ROS definition with those it is made of, set apart as ``ros2msg`` and ``ros1msg`` want it.
        """
        if type not in self._schemas:
            name = type.replace("/msg/", "/") if self._encoding == "ros1" else type
            self._schemas[type] = self._writer.register_schema(name, self._schema_encoding, definition.encode())
        self._channels[number] = self._writer.register_channel(topic, self._encoding, self._schemas[type], {"direction": direction})

    def message(self, number: int, stamp: int, raw: bytes) -> None:
        """Keep a serialised message as it came; ``stamp`` [ns]."""
        self._add(self._channels[number], stamp, raw)

    def event(self, stamp: int, values: Mapping[str, Any]) -> None:
        """Keep an event on the topic ``/robolearn/events``, as JSON."""
        self._add_json(EVENTS, stamp, values)

    def step(self, stamp: int, values: Mapping[str, Any]) -> None:
        """Keep a step's numbers on the topic ``/robolearn/steps``, as JSON; pictures are left out: they are in their own topics."""
        small = {name: value for name, value in values.items() if not (isinstance(value, np.ndarray) and value.ndim > 1)}
        self._add_json(STEPS, stamp, small)

    def episode(self, values: Mapping[str, Any]) -> None:
        """Say in the file's metadata how an episode ended."""
        self._writer.add_metadata("episode", _texts(values))

    def flush(self) -> None:
        """Put on the disk what came so far."""
        self._writer.flush()

    def close(self) -> None:
        """Write the index, and close."""
        self._writer.finish()
        self._sink.close()

    def _add_json(self, topic: str, stamp: int, values: Mapping[str, Any]) -> None:
        if topic not in self._own:
            schema = self._writer.register_schema(topic.strip("/"), "jsonschema", JSON_SCHEMA)
            self._own[topic] = self._writer.register_channel(topic, "json", schema)
        self._add(self._own[topic], stamp, json.dumps(values, default=jsonable).encode())

    def _add(self, channel: int, stamp: int, data: bytes) -> None:
        if self._sink.waiting > PENDING:
            self._sink.flush()
            if self._sink.waiting > PENDING:
                self.left_out += 1
                return
        self._writer.add_message(channel, log_time=max(stamp, 0), data=data, publish_time=max(stamp, 0), sequence=self.messages)
        self.messages += 1


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    """Metadata of MCAP are texts."""
    return {key: value if isinstance(value, str) else json.dumps(value, default=jsonable) for key, value in values.items()}
