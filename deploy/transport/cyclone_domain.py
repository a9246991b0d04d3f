"""A process's part in a DDS domain: made with our configuration, shared by all its participants, ended with the last of them."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

from cyclonedds.core import DDSException
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.qos import Policy, Qos

from robolearn.deploy.transport.base import TransportError
from robolearn.deploy.transport.cyclone_config import Network

_lock = threading.Lock()
_domains: dict[int, tuple[Any, str | None, int]] = {}  # domain, configuration, participants


def join(network: Network, name: str) -> DomainParticipant:
    """A participant of the domain; give it back with :func:`leave`.

    Raises:
        TransportError: Cyclone DDS refused the configuration, for its own reason, or this process is in the domain with another one.
    """
    with _lock:
        domain, xml, count = _domains.get(network.domain, (None, network.xml, 0))
        if xml != network.xml:
            raise TransportError(f"this process is in ROS domain {network.domain} already, with another network configuration")
        if domain is None and xml is not None:
            domain = _reasoned(network, lambda: Domain(network.domain, xml))
        qos = Qos(Policy.EntityName(name), Policy.Userdata(b"enclave=/;"))
        try:
            participant = _reasoned(network, lambda: DomainParticipant(network.domain, qos))
        except TransportError:
            if domain is not None and not count:
                delete(domain)
            raise
        _domains[network.domain] = (domain, xml, count + 1)
        return participant


def leave(network: Network, participant: DomainParticipant) -> None:
    """End a participant, and with the last one what the process has of the domain."""
    with _lock:
        delete(participant)
        domain, xml, count = _domains.pop(network.domain)
        if count > 1:
            _domains[network.domain] = (domain, xml, count - 1)
        elif domain is not None:
            delete(domain)


def delete(entity: Any) -> None:
    """End an entity of Cyclone DDS now, with all that belongs to it; its Python object is a husk from here on."""
    forget(entity)
    entity._delete(entity._ref)


def forget(entity: Any) -> None:
    """Have the Python object of an entity end nothing when it goes: its parent's end was its own."""
    type(entity)._entities.pop(entity._ref, None)


def _reasoned(network: Network, make: Callable[[], Any]) -> Any:
    """Make an entity; what Cyclone DDS says on the error stream about a failure goes into the error."""
    said = _Said()
    try:
        with said:
            return make()
    except DDSException as error:
        source = f"CYCLONEDDS_URI={os.environ['CYCLONEDDS_URI']}" if network.own else f"the configuration of a {network.reach} network"
        reason = said.text or str(error)
        raise TransportError(f"Cyclone DDS could not join ROS domain {network.domain} with {source}: {reason}") from None


class _Said:
    """What the process writes to its error stream meanwhile; it is written there afterwards."""

    text = ""

    def __enter__(self) -> None:
        self._file = tempfile.TemporaryFile()
        self._before = os.dup(2)
        os.dup2(self._file.fileno(), 2)

    def __exit__(self, *_: object) -> None:
        os.dup2(self._before, 2)
        os.close(self._before)
        self._file.seek(0)
        raw = self._file.read()
        self._file.close()
        self.text = " ".join(raw.decode(errors="replace").split())
        if raw:
            os.write(2, raw)
