"""A participant that is not what it seems: a matched writer whose packets are forged, so that any bytes reach a reader as its samples."""

from __future__ import annotations

import socket
import struct
import sys
from typing import Any

from robolearn.deploy.transport.cyclone import Cyclone

TOPIC, TYPE = "/joint_states", "sensor_msgs/msg/JointState"
_HEAD = b"RTPS\x02\x01\x01\x10"  # protocol 2.1, vendor Eclipse Cyclone
_DATA, _LITTLE_ENDIAN_WITH_PAYLOAD = 0x15, 0x05


class Forger:
    """Sends samples in the name of a writer elsewhere.

    Args:
        guid: the writer's DDS id, 16 bytes in hexadecimal digits.
        domain: DDS domain.
    """

    def __init__(self, guid: str, domain: int) -> None:
        self._prefix, self._entity = bytes.fromhex(guid)[:12], bytes.fromhex(guid)[12:]
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._ports = [7400 + 250 * domain + 11 + 2 * index for index in range(3)]  # of data, for the first processes of the domain
        self._number = 1000

    def sample(self, payload: bytes) -> None:
        """Have the reader get ``payload`` as the writer's next sample."""
        self._number += 1
        body = struct.pack("<HH", 0, 16) + bytes(4) + self._entity + struct.pack("<iI", 0, self._number) + payload
        self.packet(_HEAD + self._prefix + struct.pack("<BBH", _DATA, _LITTLE_ENDIAN_WITH_PAYLOAD, len(body)) + body)

    def packet(self, content: bytes) -> None:
        """Send anything."""
        for port in self._ports:
            self._socket.sendto(content, ("127.0.0.1", port))

    def protocol(self, content: bytes) -> None:
        """Send anything in the name of the writer's process."""
        self.packet(_HEAD + self._prefix + content)

    def close(self) -> None:
        """Send no more."""
        self._socket.close()


def main() -> None:
    """Match, send one honest message, and lend the writer's name."""
    transport = Cyclone("hostile")
    publisher: Any = transport.publisher(TOPIC, TYPE)
    print("ready", flush=True)
    print(publisher._writer.writer.guid.hex, flush=True)
    sys.stdin.read()
    transport.close()


if __name__ == "__main__":
    main()
