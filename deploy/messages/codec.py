"""Messages of a ROS distribution as plain dataclasses, made, serialised and read back without ROS."""

from __future__ import annotations

import functools
from typing import Any

from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_typestore

from robolearn.deploy.messages.field_lists import LAYERS, read_field_lists
from robolearn.deploy.messages.values import Maker
from robolearn.errors import UserError, nearest

# What may come over the wire: messages with bulk data (pictures, clouds) and all others [bytes].
MOST_BULK, MOST = 64 << 20, 1 << 20
_BULK = ("uint8", "int8", "byte", "char", "float32", "uint16")


class MalformedError(UserError):
    """Bytes that are no message of the type they are said to be."""


class Messages:
    """Makes, encodes and decodes the messages of one distribution of ROS.

    Messages are rosbags' dataclasses: numbers, strings, nested messages, lists of them, and arrays as numpy; a class's
    ``__msgtype__`` is its type. Those decoded hold read-only views of the bytes that they came from. Callers use ROS 2's field
    names and types on ROS 1 too.

    Args:
        distro: ``humble``, ``iron``, ``jazzy``, ``kilted`` or ``lyrical``.

    Raises:
        UserError: an unknown distribution.
    """

    def __init__(self, distro: str = "humble") -> None:
        known = [name for name in LAYERS if name != "noetic"]
        if distro not in known:
            raise UserError(f"no messages of ROS distribution {distro!r}; there are {', '.join(known)}{nearest(distro, known)}")
        self.distro = distro
        self.store, self._maker = typestore(distro)

    def new(self, type: str, /, **fields: Any) -> Any:
        """A message; what is not given is ROS's default, nested messages may be dictionaries, arrays lists.

        Raises:
            UserError: an unknown type or field, or a value that does not fit.
        """
        return self._maker.make(self.check(type), fields)

    def encode(self, message: Any) -> bytes:
        """Serialised for ROS 2: CDR, little endian, with its four-byte header.

        Lists that were put into a message by hand become arrays in it.

        Raises:
            UserError: not a message, or a value that does not fit its field.
        """
        return bytes(self.store.serialize_cdr(self.fitted(message), message.__msgtype__, little_endian=True))

    def decode(self, type: str, data: bytes | memoryview) -> Any:
        """The message of CDR bytes of either byte order.

        Raises:
            MalformedError: they are not a whole message of that type and nothing else.
            UserError: an unknown type.
        """
        most = self.most_bytes(self.check(type))
        if len(data) > most:
            raise MalformedError(f"{type}: {len(data)} bytes; at most {most} are read")
        try:
            return self.store.deserialize_cdr(memoryview(data), type)
        except Exception as error:  # whatever hostile bytes do to the generated decoder, they stop here
            raise MalformedError(f"{len(data)} bytes are no {type}: {' '.join(str(error).split())[:200]}") from None

    def encode_ros1(self, message: Any) -> bytes:
        """Serialised for ROS 1; a header's ``seq`` is 0, and fields that ROS 1 lacks are left out.

        Raises:
            UserError: not a message, a value that does not fit, or a type that ROS 1 does not have.
        """
        from robolearn.deploy.messages import ros1

        return ros1.encode(self.fitted(message))

    def decode_ros1(self, type: str, data: bytes | memoryview) -> Any:
        """The message of ROS 1's bytes; fields that ROS 1 lacks are ROS 2's defaults.

        Raises:
            MalformedError: they are not a whole message of that type and nothing else.
            UserError: an unknown type, here or in ROS 1.
        """
        from robolearn.deploy.messages import ros1

        most = self.most_bytes(self.check(type))
        if len(data) > most:
            raise MalformedError(f"{type}: {len(data)} bytes; at most {most} are read")
        layout = ros1.layout(type)
        try:
            return ros1.decode(layout, type, memoryview(data), self._maker)
        except Exception as error:
            raise MalformedError(f"{len(data)} bytes are no ROS 1 {type}: {' '.join(str(error).split())[:200]}") from None

    def definition(self, type: str) -> str:
        """The definition as text, those of nested types behind it: what MCAP calls a ``ros2msg`` schema."""
        return definition(self.store, self.check(type))

    def hash(self, type: str) -> str:
        """ROS 2's hash of the type, ``RIHS01_`` and 64 hexadecimal digits."""
        return str(self.store.hash_rihs01(self.check(type)))

    def check(self, type: str) -> str:
        """``type`` itself.

        Raises:
            UserError: it is unknown.
        """
        if type not in self.store.types:
            raise UserError(f"no message type {type!r} in ROS {self.distro}{nearest(type, self.store.types)}")
        return type

    def prepared(self, type: str, *, ros1: bool = False) -> str:
        """``type`` itself, what reads and writes it compiled: the first message of a type takes 20 ms, which no tick has.

        Raises:
            UserError: it is unknown.
        """
        empty = self.new(type)
        if ros1:
            self.decode_ros1(type, self.encode_ros1(empty))
        else:
            self.decode(type, self.encode(empty))
        return type

    def fitted(self, message: Any) -> Any:
        """``message`` itself, its values brought into the form that can be encoded.

        Raises:
            UserError: not a message, or a value that does not fit its field.
        """
        type = getattr(message, "__msgtype__", None)
        if not isinstance(type, str):
            raise UserError(f"not a message: {message!r:.80}; make one with Messages.new('pkg/msg/Name', ...)")
        self.check(type)
        self._maker.fit(message)
        return message

    def most_bytes(self, type: str) -> int:
        """How long a message of this type may be to be read [bytes]; those with bulk data may be longer."""
        fields = self.store.fielddefs[type][1]
        bulk = any(kind == Nodetype.SEQUENCE and what[0][1][0] in _BULK for _, (kind, what) in fields if kind == Nodetype.SEQUENCE)
        return MOST_BULK if bulk else MOST


@functools.cache
def typestore(distro: str) -> tuple[Any, Maker]:
    """Rosbags' types of a distribution and ours, one store for the whole process, and what makes messages of it."""
    base = Stores.ROS1_NOETIC if distro == "noetic" else Stores[f"ROS2_{distro.upper()}"]
    store = get_typestore(base)
    store.max_sequence_length = MOST_BULK
    store.register({name: fields for name, fields in read_field_lists(distro).items() if name not in store.types})
    return store, Maker(store)


def definition(store: Any, type: str) -> str:
    """A type's definition as text, nested types' behind it."""
    order = [type]
    for name in order:  # grows while it is walked
        for _, (kind, what) in store.fielddefs[name][1]:
            inner = (kind, what) if kind in (Nodetype.BASE, Nodetype.NAME) else what[0]
            if inner[0] == Nodetype.NAME and inner[1] not in order:
                order.append(inner[1])
    texts = [_fields_text(store, name) for name in order]
    behind = (f"{'=' * 80}\nMSG: {_short(name)}\n{text}" for name, text in zip(order[1:], texts[1:], strict=True))
    return texts[0] + "".join(behind)


def _fields_text(store: Any, type: str) -> str:
    constants, fields = store.fielddefs[type]
    lines = [f"{kind} {name}={value}" for name, kind, value in constants]
    lines += [f"{_type_text(what)} {name}" for name, what in fields if name != "structure_needs_at_least_one_member"]
    return "".join(f"{line}\n" for line in lines)


def _type_text(description: Any) -> str:
    kind, what = description
    if kind == Nodetype.BASE:
        return f"{what[0]}<={what[1]}" if what[1] else str(what[0])
    if kind == Nodetype.NAME:
        return _short(what)
    bound = "" if not what[1] else str(what[1]) if kind == Nodetype.ARRAY else f"<={what[1]}"
    return f"{_type_text(what[0])}[{bound}]"


def _short(type: str) -> str:
    """``pkg/Name`` of ``pkg/msg/Name``, as definitions have it."""
    return type.replace("/msg/", "/")
