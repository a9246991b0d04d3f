"""Finds Debian's rospy, and makes this process a ROS 1 node: once, as rospy allows it, and never waiting for a master that is not there."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any
from xmlrpc.client import Error, ServerProxy, Transport

from robolearn.deploy.transport.base import TransportError

DEBIAN = "/usr/lib/python3/dist-packages"
INSTALL = "apt-get install python3-rospy"
DEFAULT_MASTER = "http://localhost:11311"
_PATIENCE = 5.0  # for rospy's threads to end [s]
_state = {"began": False}


def import_rospy() -> Any:
    """The module rospy; Debian's packages join the search path's end where they are needed for it.

    Raises:
        TransportError: ROS 1 is not installed; says how to.
    """
    logger_class = logging.getLoggerClass()
    try:
        try:
            return importlib.import_module("rospy")
        except ImportError:
            if DEBIAN in sys.path or not (Path(DEBIAN) / "rospy").is_dir():
                raise
            sys.path.append(DEBIAN)  # at the end: this environment's numpy and yaml win
            return importlib.import_module("rospy")
    except ImportError as error:
        raise TransportError(f"ROS 1 is not installed ({error}): on Debian 12, {INSTALL}; elsewhere source ROS's setup.bash") from None
    finally:
        logging.setLoggerClass(logger_class)  # rospy makes its own the class of everybody's loggers


def master_uri() -> str:
    """Where ``ROS_MASTER_URI`` says that the master is."""
    return os.environ.get("ROS_MASTER_URI") or DEFAULT_MASTER


class Master:
    """Asks the ROS master, and does not wait for ever.

    Args:
        node: name to ask under.
        timeout: for one answer [s].
        uri: of the master; as ``ROS_MASTER_URI`` says without.
    """

    def __init__(self, node: str, timeout: float, uri: str = "") -> None:
        self._node, self._timeout, self.uri = node, timeout, uri or master_uri()

    def ask(self, method: str, *arguments: Any) -> Any:
        """The value of one answer; None where the master says that there is none.

        Raises:
            TransportError: no answer within the timeout.
        """
        try:
            with ServerProxy(self.uri, transport=_Impatient(self._timeout)) as proxy:
                code, _, value = getattr(proxy, method)(self._node, *arguments)
        except (OSError, Error, ValueError, TypeError) as error:
            raise TransportError(
                f"no ROS master answers at {self.uri} ({error}): start one (roscore, or rosmaster --core), or set ROS_MASTER_URI"
            ) from None
        return value if code == 1 else None


class _Impatient(Transport):
    def __init__(self, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout

    def make_connection(self, host: Any) -> Any:
        connection = super().make_connection(host)
        connection.timeout = self._timeout
        return connection


def begin_node(rospy: Any, name: str, use_sim_time: bool, timeout: float) -> Master:
    """Make this process a node, with a number behind ``name`` that makes it unique.

    Raises:
        TransportError: this process is a node already or was one, no master answers, or it has no simulated time where that is asked for.
    """
    master = Master(f"/{name}", timeout)
    master.ask("getPid")
    if use_sim_time and not master.ask("getParam", "/use_sim_time"):
        raise TransportError(f"use_sim_time was asked for, but the master at {master.uri} has not set it: rosparam set /use_sim_time true")
    if _state["began"] or rospy.core.is_initialized() or rospy.core.is_shutdown_requested():
        raise TransportError(
            "rospy allows one node a process, and no second one after it was closed:"
            " share this process's transport, or start another process"
        )
    _state["began"] = True
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        rospy.init_node(name, argv=[], anonymous=True, disable_signals=True, disable_rostime=not use_sim_time)
    finally:  # rospy sends everybody's messages into its own file, and to nobody else
        for handler in handlers:
            if handler not in root.handlers:
                root.addHandler(handler)
        root.setLevel(level)
    return master


def end_node(rospy: Any) -> list[str]:
    """Leave the graph; names of threads that rospy started for connections and that have not ended a while later.

    A few threads of rospy's that wait for requests idle on until the process ends: rospy has no way to end them.
    """
    _end_server(rospy)
    rospy.signal_shutdown("closed")
    deadline = time.monotonic() + _PATIENCE
    for thread in _connection_threads():
        thread.join(max(0.0, deadline - time.monotonic()))
    return [thread.name for thread in _connection_threads()]


def _end_server(rospy: Any) -> None:
    """Have the node's server take its leave before rospy closes its socket: it would ask the closed one for ever, as fast as it can."""
    for hook in rospy.core._shutdown_hooks:
        node: Any = getattr(hook, "__self__", None)
        server = getattr(node, "server", None)
        if server is not None and hasattr(node, "is_shutdown"):
            node.is_shutdown = True
            server.shutdown()


def _connection_threads() -> list[threading.Thread]:
    """Threads that run rospy's code, of which rospy keeps no list; a process does not end before they have."""
    own = threading.current_thread()
    others = [thread for thread in threading.enumerate() if thread is not own and not thread.daemon]
    return [thread for thread in others if getattr(getattr(thread, "_target", None), "__module__", "").startswith("rospy")]
