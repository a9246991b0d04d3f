"""ROS 1's bytes of ROS 2's dataclasses: the same fields in ROS 1's order, spelling and types."""

from __future__ import annotations

import struct
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys.base import normalize_fieldname

from robolearn.deploy.messages.codec import typestore
from robolearn.deploy.messages.field_lists import PARTS
from robolearn.deploy.messages.values import Maker
from robolearn.errors import UserError

_FILLER = "structure_needs_at_least_one_member"


def layout(type: str) -> str:
    """ROS 1's name of a type: ``pkg/msg/YRequest`` of ``pkg/srv/Y_Request``, ``pkg/msg/ZGoal`` of ``pkg/action/Z_Goal``.

    Raises:
        UserError: ROS 1 does not have it.
    """
    package, kind, name = type.split("/")
    for part in PARTS.get(f".{kind}", ()):
        name = name.removesuffix(f"_{part}") + part if part and name.endswith(f"_{part}") else name
    found = f"{package}/msg/{name}"
    if found not in typestore("noetic")[0].types:
        raise UserError(f"ROS 1 has no {type}")
    return found


def definition(type: str) -> tuple[str, str]:
    """ROS 1's definition of a type, nested ones' behind it, and its md5 sum.

    Raises:
        UserError: ROS 1 does not have it.
    """
    text, md5 = typestore("noetic")[0].generate_msgdef(layout(type), ros_version=1)
    return str(text), str(md5)


def encode(message: Any) -> bytes:
    """Serialised for ROS 1; every value must fit its field already.

    Raises:
        UserError: ROS 1 does not have the type, or has another of that name.
    """
    name = layout(message.__msgtype__)
    store, maker = typestore("noetic")
    try:
        return bytes(store.serialize_ros1(_translated(message, name, store, maker), name))
    except (TypeError, AttributeError, struct.error):
        raise UserError(f"ROS 1's {name} has fields of other types than ROS 2's {message.__msgtype__}") from None


def decode(name: str, type: str, data: memoryview, maker: Maker) -> Any:
    """The message of type ``type``, made by ``maker``, of bytes of ROS 1's type ``name``; raises whatever bad bytes raise."""
    store, _ = typestore("noetic")
    return _translated(store.deserialize_ros1(data, name), type, maker.store, maker)


def _translated(message: Any, type: str, store: Any, maker: Maker) -> Any:
    """A message with the same values, of a type of another store: fields go by their names, in any case."""
    given = {name.lower(): value for name, value in vars(message).items()}
    values = {}
    for raw_name, description in store.fielddefs[type][1]:
        name = normalize_fieldname(raw_name)
        if name.lower() in given and name != _FILLER:
            values[name] = _value(given[name.lower()], description, store, maker)
    return maker.assemble(type, values)


def _value(value: Any, description: Any, store: Any, maker: Maker) -> Any:
    kind, what = description
    if kind == Nodetype.NAME:
        return _translated(value, what, store, maker)
    if kind in (Nodetype.ARRAY, Nodetype.SEQUENCE) and what[0][0] == Nodetype.NAME:
        return [_translated(item, what[0][1], store, maker) for item in value]
    return value
