"""Which transport: by name, or the best that this machine has."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

from robolearn.deploy.transport.base import Transport, TransportError
from robolearn.errors import UserError, nearest
from robolearn.nodes import check_arguments, find_target

CLASSES = {
    "rclpy": "robolearn.deploy.transport.rclpy_transport.Rclpy",
    "cyclonedds": "robolearn.deploy.transport.cyclone.Cyclone",
    "rospy": "robolearn.deploy.transport.rospy_transport.Rospy",
    "in_process": "robolearn.deploy.transport.in_process.InProcess",
}
NEEDS = {"rclpy": "rclpy", "cyclonedds": "cyclonedds", "rospy": "rospy"}
MENDS = {
    "rclpy": "install ROS 2 and source its setup.bash",
    "cyclonedds": "pip install 'robolearn[robot]'",
    "rospy": "apt-get install python3-rospy (Debian 12), or source ROS 1's setup.bash",
}


def open_transport(kind: str = "auto", **options: Any) -> Transport:
    """A participant of a middleware.

    Args:
        kind: ``rclpy``, ``cyclonedds``, ``rospy``, ``in_process``, or ``auto``: see :func:`choose`.
        options: arguments of the backend's class, such as ``node``.

    Raises:
        UserError: an unknown kind or option, or a package that is missing; says what would work.
        TransportError: the backend could not open.
    """
    chosen = choose() if kind == "auto" else kind
    if chosen not in CLASSES:
        raise UserError(f"no transport {kind!r}; there are auto, {', '.join(CLASSES)}{nearest(kind, CLASSES)}")
    if not is_there(chosen):
        others = [name for name in CLASSES if name != chosen and is_there(name)]
        raise UserError(f"transport={chosen} needs the package {NEEDS[chosen]}: {MENDS[chosen]}; here work {', '.join(others)}")
    backend = find_target(CLASSES[chosen])
    check_arguments(f"transport={chosen}", backend, options)
    opened: Transport = backend(**options)
    return opened


def choose() -> str:
    """The kind that ``auto`` means here.

    A machine that is set up for ROS 1 (``ROS_VERSION=1``) gets rospy. All others get rclpy where it can be imported, else cyclonedds
    where it is installed, else rospy where ``ROS_MASTER_URI`` is set.

    Raises:
        TransportError: none of them is there.
    """
    if os.environ.get("ROS_VERSION") == "1" and is_there("rospy"):
        return "rospy"
    for kind in ("rclpy", "cyclonedds"):
        if is_there(kind):
            return kind
    if os.environ.get("ROS_MASTER_URI") and is_there("rospy"):
        return "rospy"
    mends = "; ".join(f"{kind}: {mend}" for kind, mend in MENDS.items())
    raise TransportError(f"no transport to a robot is installed here: {mends}")


def is_there(kind: str) -> bool:
    """Whether the packages that a kind of transport needs are installed."""
    if kind == "rospy":
        from robolearn.deploy.transport.rospy_node import DEBIAN

        return _found("rospy") or (Path(DEBIAN) / "rospy").is_dir()
    return kind not in NEEDS or _found(NEEDS[kind])


def _found(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        return False
