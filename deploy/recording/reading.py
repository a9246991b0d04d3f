"""Reads the MCAP file of a run back, up to the tear where its recorder was killed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from robolearn.errors import UserError


@dataclass(frozen=True)
class Logged:
    """A message as it lies in the file.

    Args:
        topic: its ROS name.
        type: ``sensor_msgs/msg/JointState``; of events and steps their topic.
        raw: as it was serialised.
        stamp: [ns].
        direction: ``received``, ``sent``, or empty for what the recorder says itself (JSON).
    """

    topic: str
    type: str
    raw: bytes
    stamp: int
    direction: str


def read_log(file: Path) -> Iterator[Logged]:
    """Every message in the order of the file; one that is torn ends where it is torn.

    Raises:
        UserError: this is no MCAP file, or the package ``mcap`` is missing.
    """
    try:
        from mcap.exceptions import EndOfFile, InvalidMagic
        from mcap.records import Channel, Message, Schema
        from mcap.stream_reader import CRCValidationError, StreamReader
    except ImportError as error:
        raise UserError("reading a log needs the package mcap; `pip install mcap`") from error
    schemas: dict[int, Schema] = {}
    channels: dict[int, Channel] = {}
    with file.open("rb") as stream:
        try:
            for record in StreamReader(stream, validate_crcs=True).records:
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    channel = channels[record.channel_id]
                    type = schemas[channel.schema_id].name
                    yield Logged(channel.topic, type, record.data, record.log_time, channel.metadata.get("direction", ""))
        except InvalidMagic as error:
            raise UserError(f"{file} is no MCAP file") from error
        except (EndOfFile, CRCValidationError):
            return
