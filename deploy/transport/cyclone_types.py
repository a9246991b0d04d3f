"""ROS's names and types as DDS knows them: Cyclone DDS's types, made from the message definitions."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from cyclonedds.idl import IdlStruct, make_idl_struct, types
from cyclonedds.idl.annotations import final
from rosbags.interfaces import Nodetype

from robolearn.deploy.messages import Messages
from robolearn.deploy.transport.base import TransportError

_NAME = re.compile(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", re.ASCII)
_NUMBERS = {"byte": "uint8", "char": "uint8"}
_HEAD = {"guid": types.uint64, "sequence": types.int64}  # what rmw_cyclonedds puts before requests and responses


def topic_name(name: str, prefix: str = "rt", suffix: str = "") -> str:
    """DDS's name of a topic (``rt``), a service's requests (``rq``) or responses (``rr``): ``rt/joint_states`` of ``/joint_states``.

    Raises:
        TransportError: it is no ROS name.
    """
    if not _NAME.fullmatch(name):
        raise TransportError(f"{name!r} is no ROS name: letters, digits and _, in parts that / divides and no digit begins")
    return f"{prefix}/{name.lstrip('/')}{suffix}"


def type_name(type: str) -> str:
    """DDS's name of a type: ``sensor_msgs::msg::dds_::JointState_`` of ``sensor_msgs/msg/JointState``."""
    package, kind, name = type.split("/")
    return f"{package}::{kind}::dds_::{name}_"


class TypeMaker:
    """Makes Cyclone DDS's types of ROS's.

    Only their names and fields matter, for discovery: samples are serialised and read elsewhere.
    """

    def __init__(self, messages: Messages) -> None:
        self._fields = messages.store.fielddefs
        self._made: dict[str, type[IdlStruct]] = {}

    def message(self, type: str) -> type[IdlStruct]:
        """The type of a topic."""
        if type not in self._made:
            fields = {name: self._described(description) for name, description in self._fields[type][1]}
            self._made[type] = _struct(type_name(type), fields or {"structure_needs_at_least_one_member": types.uint8})
        return self._made[type]

    def exchanged(self, type: str) -> type[IdlStruct]:
        """The type of a service's requests or responses: rmw_cyclonedds's head, and the message's fields."""
        key = f"{type} exchanged"
        if key not in self._made:
            fields = {name: self._described(description) for name, description in self._fields[type][1]}
            self._made[key] = _struct(type_name(type), {**_HEAD, **{f"{name}_": kind for name, kind in fields.items()}})
        return self._made[key]

    def _described(self, description: Any) -> Any:
        kind, what = description
        if kind == Nodetype.NAME:
            return self.message(what)
        if kind == Nodetype.BASE:
            base, limit = what
            if base == "string":
                return types.bounded_str[limit] if limit else str
            return bool if base == "bool" else getattr(types, _NUMBERS.get(base, base))
        inner, length = self._described(what[0]), what[1]
        if kind == Nodetype.ARRAY:
            return types.array[inner, length]
        return types.sequence[inner, length] if length else types.sequence[inner]


def _struct(name: str, fields: dict[str, Any]) -> type[IdlStruct]:
    made = make_idl_struct(name.rsplit("::", 1)[-1], name, fields, dataclassify=False)
    struct: type[IdlStruct] = dataclasses.dataclass(final(made))
    return struct
