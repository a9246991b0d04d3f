"""Tells ROS's tools which node a participant is, and which endpoints it has: the topic ``ros_discovery_info``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.deploy.transport.base import LATCHED
from robolearn.deploy.transport.cyclone_endpoints import RawReader, RawWriter

if TYPE_CHECKING:
    from robolearn.deploy.transport.cyclone import Cyclone

_TYPE = "rmw_dds_common/msg/ParticipantEntitiesInfo"


class Graph:
    """Publishes what belongs to one node."""

    def __init__(self, transport: Cyclone, node: str) -> None:
        self._messages, self._node = transport.messages, node
        self._participant = transport.participant
        topic = transport.topics.get("ros_discovery_info", transport.types.message(_TYPE))
        self._writer = RawWriter(transport.participant, topic, LATCHED, transport.typehash(_TYPE))

    def tell(self, writers: Sequence[RawWriter], readers: Sequence[RawReader]) -> None:
        """Publish the endpoints as they are now."""
        node = {
            "node_namespace": "/",
            "node_name": self._node,
            "reader_gid_seq": [self._gid(reader.reader) for reader in readers],
            "writer_gid_seq": [self._gid(writer.writer) for writer in writers],
        }
        info = self._messages.new(_TYPE, gid=self._gid(self._participant), node_entities_info_seq=[node])
        self._writer.write(self._messages.encode(info))

    def _gid(self, entity: Any) -> dict[str, Any]:
        """An entity's DDS id, as long as the distribution has it."""
        data = self._messages.new("rmw_dds_common/msg/Gid").data.copy()
        data[:16] = np.frombuffer(entity.guid.bytes, np.uint8)
        return {"data": data}
