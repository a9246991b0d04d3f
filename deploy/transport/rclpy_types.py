"""Between our words and rclpy's: classes of types, quality of service, and messages, which cross in serialised form."""

from __future__ import annotations

import importlib
import os
from typing import Any

from robolearn.deploy.messages import Messages
from robolearn.deploy.messages.field_lists import LAYERS
from robolearn.deploy.transport.base import Message, QoS, TransportError

KINDS = ("msg", "srv", "action")


def import_rclpy() -> Any:
    """The module rclpy.

    Raises:
        TransportError: it cannot be imported; says why, and what would help.
    """
    try:
        return importlib.import_module("rclpy")
    except ImportError as error:
        raise TransportError(
            f"rclpy cannot be imported ({error}): install ROS 2 and source its setup.bash, in the Python that it was built for"
            " (Humble: 3.10, Jazzy: 3.12); transport=cyclonedds needs no ROS"
        ) from None


def distro_messages(distro: str | None = None) -> Messages:
    """Messages of the distribution that ``ROS_DISTRO`` names; of the newest that is known for one that is not."""
    known = [name for name in LAYERS if name != "noetic"]
    name = distro or os.environ.get("ROS_DISTRO", "")
    return Messages(name if name in known else known[-1] if name else "humble")


def class_of(type: str) -> Any:
    """The class that rclpy knows a type by; parts of services and actions too (``pkg/srv/Y_Request``, ``pkg/action/Z_Goal``).

    Raises:
        TransportError: its package is not installed, or does not have it.
    """
    package, kind, name = _split(type)
    name, _, part = name.partition("_") if kind != "msg" else (name, "", "")
    try:
        found = getattr(importlib.import_module(f"{package}.{kind}"), name)
        return getattr(found, part) if part else found
    except (ImportError, AttributeError):
        distro = os.environ.get("ROS_DISTRO", "<distro>")
        install = f"apt-get install ros-{distro}-{package.replace('_', '-')}"
        raise TransportError(f"this ROS installation has no {type}: {install}, or build and source a workspace with {package}") from None


def _split(type: str) -> tuple[str, str, str]:
    words = type.split("/")
    if len(words) != 3 or words[1] not in KINDS:
        raise TransportError(f"no type {type!r}: a type is pkg/msg/Name, pkg/srv/Name or pkg/action/Name")
    return words[0], words[1], words[2]


def profile_of(qos: QoS) -> Any:
    """Rclpy's words for a quality of service."""
    from rclpy.duration import Duration
    from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

    limited = {} if qos.lifespan is None else {"lifespan": Duration(nanoseconds=round(qos.lifespan * 1e9))}
    return QoSProfile(
        **limited,
        history=HistoryPolicy.KEEP_LAST,
        depth=max(1, qos.depth),
        reliability=ReliabilityPolicy.RELIABLE if qos.reliability == "reliable" else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if qos.durability == "transient_local" else DurabilityPolicy.VOLATILE,
    )


def policy_name(kind: Any) -> str:
    """Our name for the policy of an event of rclpy's, such as ``reliability``."""
    from rclpy.qos import qos_policy_name_from_kind

    return str(qos_policy_name_from_kind(kind)).lower().removesuffix("_qos_policy")


def to_rclpy(messages: Messages, message: Message) -> Any:
    """Rclpy's object of a message of ours.

    Raises:
        TransportError: this ROS installation does not have the type.
    """
    from rclpy.serialization import deserialize_message

    return deserialize_message(messages.encode(message), class_of(message.__msgtype__))


def from_rclpy(messages: Messages, type: str, message: Any) -> Message:
    """Our message of an object of rclpy's.

    Raises:
        MalformedError: this ROS installation has other fields for the type than we.
    """
    from rclpy.serialization import serialize_message

    return messages.decode(type, bytes(serialize_message(message)))
