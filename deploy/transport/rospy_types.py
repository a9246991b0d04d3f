"""What rospy must know of a message's type: classes that carry serialised bytes, with the type's name, definition and md5 sum."""

from __future__ import annotations

import functools
import hashlib
from typing import Any

from robolearn.deploy.messages import ros1

ANY = "*"  # an md5 sum that every publisher accepts


def ros1_name(type: str) -> str:
    """``pkg/Name`` of ``pkg/msg/Name``, as ROS 1 has it.

    Raises:
        UserError: ROS 1 does not have the type.
    """
    return ros1.layout(type).replace("/msg/", "/")


@functools.cache
def md5_of(type: str) -> str:
    """A message type's md5 sum.

    Raises:
        UserError: ROS 1 does not have the type.
    """
    return ros1.definition(type)[1]


@functools.cache
def service_md5_of(type: str) -> str:
    """A service type's md5 sum: of what those of request and response are made of, one behind the other.

    Raises:
        UserError: ROS 1 does not have the type.
    """
    return hashlib.md5("".join(_hashed(f"{type}_{part}") for part in ("Request", "Response")).encode()).hexdigest()


def _hashed(type: str) -> str:
    """What a message type's md5 sum is made of: its definition with nested types' md5 sums for their names."""
    text = ros1.definition(type)[0].split("=" * 80)[0]
    lines = []
    for line in text.strip().splitlines():
        kind, _, name = line.partition(" ")
        package, slash, bare = kind.partition("[")[0].partition("/")
        lines.append(f"{md5_of(f'{package}/msg/{bare}')} {name}" if slash else line)
    return "\n".join(lines)


@functools.cache
def message_class(type: str, md5: str = "") -> Any:
    """A class for rospy whose instances hold serialised bytes, ``_buff``.

    Args:
        type: ROS 2's name.
        md5: ``ANY`` for a subscription that is to hear every publisher; the type's own without.

    Raises:
        UserError: ROS 1 does not have the type.
    """
    import genpy

    text, own_md5 = ros1.definition(type)

    class Raw(genpy.Message):  # type: ignore[misc]  # rospy has no types
        __slots__ = ("_buff",)
        _type, _md5sum, _full_text, _has_header = ros1_name(type), md5 or own_md5, text, False
        _slot_types: tuple[str, ...] = ()

        def __init__(self, raw: bytes = b"") -> None:
            self._buff = raw

        def serialize(self, buff: Any) -> None:
            buff.write(self._buff)

        def deserialize(self, raw: bytes) -> Any:
            self._buff = raw
            return self

    return Raw


@functools.cache
def service_class(type: str) -> Any:
    """A service's class for rospy, whose requests and responses hold serialised bytes.

    Raises:
        UserError: ROS 1 does not have the type.
    """

    class RawService:
        _type, _md5sum = type.replace("/srv/", "/"), service_md5_of(type)
        _request_class, _response_class = message_class(f"{type}_Request"), message_class(f"{type}_Response")

    return RawService
