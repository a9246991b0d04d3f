"""What ``robolearn doctor`` says of the ways to a robot: which work here, which not, and how to mend them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from robolearn.deploy.transport.base import TransportError
from robolearn.deploy.transport.choose import is_there
from robolearn.deploy.transport.cyclone_config import read_network
from robolearn.deploy.transport.rospy_node import INSTALL, Master
from robolearn.doctor import Check

ROS2 = Path("/opt/ros")
PIP = "pip install -c constraints.txt -e '.[robot]'"
_TRIED = 20.0  # how long a trial in a process of its own may take [s]
_JOIN = """
from robolearn.deploy.transport.cyclone_config import read_network
from robolearn.deploy.transport.cyclone_domain import join, leave
network = read_network()
leave(network, join(network, "doctor"))
"""
_RCLPY = """
import rclpy
from rclpy.utilities import get_rmw_implementation_identifier
print(get_rmw_implementation_identifier())
"""


def check_transports() -> Iterator[Check]:
    """A finding for each transport; none of them is required, so that none fails."""
    yield _check_rclpy()
    yield _check_cyclonedds()
    yield _check_rospy()


def _check_rclpy() -> Check:
    name = "transport rclpy"
    if not is_there("rclpy"):
        found = sorted(folder.name for folder in ROS2.glob("*") if (folder / "local_setup.bash").is_file())
        if found:
            return Check(name, "warn", f"ROS {', '.join(found)} is installed, but not sourced", f"source {ROS2}/{found[-1]}/setup.bash")
        detail = "no ROS 2 here; cyclonedds talks to robots without, but for services and actions over Fast DDS"
        return Check(name, "warn", detail, "where those are needed: install ROS 2 and source its setup.bash")
    said = _tried(_RCLPY)
    if said.returncode:
        return Check(name, "warn", _last(said), "use the Python that this ROS was built for (Humble: 3.10, Jazzy: 3.12)")
    return Check(name, "ok", f"ROS {os.environ.get('ROS_DISTRO', 'of unknown name')}, {said.stdout.strip()}")


def _check_cyclonedds() -> Check:
    name = "transport cyclonedds"
    if not is_there("cyclonedds"):
        return Check(name, "warn", "not installed (extra robot)", PIP)
    try:
        network = read_network()
    except TransportError as error:
        return Check(name, "warn", str(error), "unset the variable, or set it to one of these values")
    said = _tried(_JOIN)
    if said.returncode:
        return Check(name, "warn", _last(said), "unset CYCLONEDDS_URI" if network.own else f"see docs/ros.md, or reinstall: {PIP}")
    reach = "as CYCLONEDDS_URI says" if network.own else f"reach {network.reach}"
    return Check(name, "ok", f"{metadata.version('cyclonedds')}, joined ROS domain {network.domain}, {reach}")


def _check_rospy() -> Check:
    name = "transport rospy"
    if not is_there("rospy"):
        return Check(name, "warn", "no ROS 1 here", f"for robots with ROS 1 only: {INSTALL}")
    try:
        Master("/doctor", 0.5).ask("getPid")
    except TransportError as error:
        asked = "ROS_MASTER_URI" in os.environ
        return Check(name, "warn" if asked else "ok", str(error) if asked else "installed; no master is running", "")
    return Check(name, "ok", f"a master answers at {Master('/doctor', 0.5).uri}")


def _tried(script: str) -> subprocess.CompletedProcess[str]:
    """A script in a process of its own."""
    command = [sys.executable, "-c", script]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TRIED, check=False)
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"did not answer within {_TRIED:g} s")


def _last(said: subprocess.CompletedProcess[str]) -> str:
    return (said.stderr.strip().splitlines() or ["crashed"])[-1][:300]
