"""Writers and readers of Cyclone DDS that carry serialised bytes; serialising is not theirs."""

from __future__ import annotations

import threading
import time
from typing import Any

from cyclonedds._clayer import ddspy_take, ddspy_write
from cyclonedds.core import InstanceState, ReadCondition, SampleState, ViewState
from cyclonedds.domain import DomainParticipant
from cyclonedds.idl import IdlStruct
from cyclonedds.pub import DataWriter
from cyclonedds.qos import Policy, Qos
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic
from cyclonedds.util import duration

from robolearn.deploy.transport.base import QoS, TransportError

_ANY = SampleState.Any | ViewState.Any | InstanceState.Any
_BLOCKING = 0.1  # how long a reliable write may wait for a slow reader [s]
_TIMEOUT = -10  # DDS_RETCODE_TIMEOUT
_BATCH = 32  # samples taken at once
POLICIES = {  # by DDS's numbers
    2: "durability",
    4: "deadline",
    5: "latency budget",
    6: "ownership",
    8: "liveliness",
    10: "partition",
    11: "reliability",
    12: "destination order",
    24: "type consistency",
    25: "data representation",
}


def dds_qos(qos: QoS, userdata: str) -> Qos:
    """Cyclone DDS's words for a quality of service, with what rmw tells others in an endpoint's user data."""
    depth = max(1, qos.depth)
    policies = [
        Policy.Reliability.Reliable(duration(seconds=_BLOCKING)) if qos.reliability == "reliable" else Policy.Reliability.BestEffort,
        Policy.Durability.TransientLocal if qos.durability == "transient_local" else Policy.Durability.Volatile,
        Policy.History.KeepLast(depth),
        Policy.Userdata(userdata.encode()),
    ]
    if qos.lifespan is not None:
        policies.append(Policy.Lifespan(round(qos.lifespan * 1e9)))
    if qos.durability == "transient_local":
        policies.append(Policy.DurabilityService(duration(seconds=0), Policy.History.KeepLast(depth), -1, -1, -1))
    return Qos(*policies)


class Topics:
    """Topics of one participant, each made once: DDS has one type for each.

    Raises:
        TransportError: from :meth:`get`: the topic is there with another type.
    """

    def __init__(self, participant: DomainParticipant) -> None:
        self._participant = participant
        self._made: dict[str, tuple[Any, Topic[Any]]] = {}
        self._lock = threading.Lock()

    def get(self, name: str, type: type[IdlStruct]) -> Topic[Any]:
        """The topic of this DDS name."""
        with self._lock:
            if name not in self._made:
                self._made[name] = (type, Topic(self._participant, name, type))
            known, topic = self._made[name]
            if known is not type:
                raise TransportError(f"{name} is a topic of type {known.__name__} in this process already, not {type.__name__}")
            return topic

    def all(self) -> list[Any]:
        """The topics."""
        with self._lock:
            return [topic for _, topic in self._made.values()]


class RawWriter:
    """Writes serialised messages."""

    def __init__(self, participant: DomainParticipant, topic: Topic[Any], qos: QoS, userdata: str) -> None:
        self.name = topic.name
        self.writer: DataWriter[Any] = DataWriter(participant, topic, qos=dds_qos(qos, userdata))
        self._lock = threading.Lock()
        self._open = True

    def write(self, raw: bytes) -> None:
        """Send, waiting at most 0.1 s for a slow reader.

        Raises:
            TransportError: a reader is too slow, or the writer is closed.
        """
        with self._lock:
            code = ddspy_write(self.writer._ref, raw + b"\0" * (-len(raw) % 4)) if self._open else None
        if code == _TIMEOUT:
            raise TransportError(f"{self.name}: a reader is so slow that nothing could be sent for {_BLOCKING} s")
        if code != 0:
            raise TransportError(f"{self.name}: " + ("closed" if code is None else f"Cyclone DDS refused a message (code {code})"))

    @property
    def matched(self) -> int:
        """Readers; none once closed."""
        with self._lock:
            return int(self.writer.get_publication_matched_status().current_count) if self._open else 0

    @property
    def incompatible(self) -> str | None:
        """The policy by which a reader does not match; None when there is none."""
        with self._lock:
            if not self._open:
                return None
            status = self.writer.get_offered_incompatible_qos_status()
        return POLICIES.get(status.last_policy_id, str(status.last_policy_id)) if status.total_count else None

    def wait_matched(self, count: int, timeout: float) -> None:
        """Wait until there are so many readers, but not longer than ``timeout`` [s]."""
        end = time.monotonic() + timeout
        while self.matched < count and time.monotonic() < end:
            time.sleep(0.002)

    def close(self) -> None:
        """Stop; what writes afterwards is told so."""
        with self._lock:
            self._open = False


class RawReader:
    """Reads serialised messages.

    Args:
        participant: that it belongs to.
        topic: to read.
        qos: asked of writers.
        userdata: what rmw tells others.
        others: read nothing of the participant's own writers.

    Attributes:
        condition: true while something is there; for a wait set.
    """

    def __init__(self, participant: DomainParticipant, topic: Topic[Any], qos: QoS, userdata: str, *, others: bool = False) -> None:
        self.name = topic.name
        policies = dds_qos(qos, userdata)
        self.reader: DataReader[Any] = DataReader(
            participant, topic, qos=Qos(Policy.IgnoreLocal.Participant, base=policies) if others else policies
        )
        self.condition = ReadCondition(self.reader, _ANY)
        self._lock = threading.Lock()
        self._open = True

    def take(self) -> list[bytes]:
        """What came, oldest first; not all of it when there is much."""
        with self._lock:
            taken = ddspy_take(self.reader._ref, _ANY, _BATCH) if self._open else []
        if isinstance(taken, int):
            raise TransportError(f"{self.name}: Cyclone DDS could not read (code {taken})")
        return [raw for raw, info in taken if info.valid_data]

    @property
    def matched(self) -> int:
        """Writers; none once closed."""
        with self._lock:
            return int(self.reader.get_subscription_matched_status().current_count) if self._open else 0

    @property
    def incompatible(self) -> str | None:
        """The policy by which a writer does not match; None when there is none."""
        with self._lock:
            if not self._open:
                return None
            status = self.reader.get_requested_incompatible_qos_status()
        return POLICIES.get(status.last_policy_id, str(status.last_policy_id)) if status.total_count else None

    def close(self) -> None:
        """Stop."""
        with self._lock:
            self._open = False
