"""Which DDS domain, which network and which peers: ROS's environment variables as a configuration of Cyclone DDS."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import quoteattr

from robolearn.deploy.transport.base import TransportError

RANGES = ("LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT")
MOST_DOMAIN = 232  # above, DDS's ports run out
# With unicast discovery every process takes a number, and every peer is asked under all of them.
_MOST_PROCESSES = 40
_LEASE = "4s"  # a peer that says nothing for so long is gone
_LARGEST = 96 << 20  # of one message [bytes]


@dataclass(frozen=True)
class Network:
    """What ROS's environment asks for.

    Args:
        domain: DDS domain, 0 to 232.
        reach: one of ``RANGES``: peers on this computer, on this computer's networks, none, or as Cyclone DDS has it by default.
        peers: addresses to look for others at, besides.
        own: whether the user's ``CYCLONEDDS_URI`` says everything, so that nothing is generated.
    """

    domain: int
    reach: str
    peers: tuple[str, ...] = ()
    own: bool = False

    @property
    def xml(self) -> str | None:
        """The configuration; None when there is nothing to say."""
        return None if self.own or self.reach == "SYSTEM_DEFAULT" else _xml(self)


def read_network(environment: Mapping[str, str] = os.environ) -> Network:
    """What the environment asks for: ``ROS_DOMAIN_ID``, ``ROS_LOCALHOST_ONLY``, ``ROS_AUTOMATIC_DISCOVERY_RANGE``, ``ROS_STATIC_PEERS``.

    Where it does not say, participants stay on this computer: a runner moves a robot, and must be told to listen to a network.

    Raises:
        TransportError: a value that means nothing.
    """
    peers = tuple(peer.strip() for peer in environment.get("ROS_STATIC_PEERS", "").split(";") if peer.strip())
    return Network(_domain(environment), _reach(environment), peers, bool(environment.get("CYCLONEDDS_URI")))


def _domain(environment: Mapping[str, str]) -> int:
    text = environment.get("ROS_DOMAIN_ID", "").strip() or "0"
    if not text.isdecimal() or int(text) > MOST_DOMAIN:
        raise TransportError(f"ROS_DOMAIN_ID must be a whole number from 0 to {MOST_DOMAIN}, got {text!r}")
    return int(text)


def _reach(environment: Mapping[str, str]) -> str:
    only = environment.get("ROS_LOCALHOST_ONLY", "").strip()
    if only not in ("", "0", "1"):
        raise TransportError(f"ROS_LOCALHOST_ONLY must be 0 or 1, got {only!r}")
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "").strip().upper()
    if reach and reach not in RANGES:
        raise TransportError(f"ROS_AUTOMATIC_DISCOVERY_RANGE must be one of {', '.join(RANGES)}, got {reach!r}")
    if only == "1":
        return "LOCALHOST"
    return reach or ("SUBNET" if only == "0" else "LOCALHOST")


def _xml(network: Network) -> str:
    local = network.reach == "LOCALHOST"
    interface = '<NetworkInterface name="lo" multicast="false"/>' if local else '<NetworkInterface autodetermine="true"/>'
    addresses = (["127.0.0.1"] if local else []) + list(network.peers)
    peers = "".join(f"<Peer address={quoteattr(address)}/>" for address in addresses)
    multicast = {"LOCALHOST": "false", "SUBNET": "spdp", "OFF": "false"}[network.reach]
    # With peers named one by one, processes must have numbers to be found under.
    numbers = f"<ParticipantIndex>auto</ParticipantIndex><MaxAutoParticipantIndex>{_MOST_PROCESSES}</MaxAutoParticipantIndex>"
    return (
        '<CycloneDDS xmlns="https://cdds.io/config"><Domain Id="any">'
        f"<General><Interfaces>{interface}</Interfaces><AllowMulticast>{multicast}</AllowMulticast>"
        "<MaxMessageSize>65500B</MaxMessageSize></General>"
        f"<Discovery>{numbers}<Peers>{peers}</Peers><LeaseDuration>{_LEASE}</LeaseDuration></Discovery>"
        f'<Internal><SocketReceiveBufferSize min="default" max="4MB"/><MaxSampleSize>{_LARGEST}B</MaxSampleSize></Internal>'
        "</Domain></CycloneDDS>"
    )
