"""A ROS 1 master for tests, and transports in processes of their own that meet on it; skips, and says how to install, without ROS 1."""

from __future__ import annotations

import atexit
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from robolearn.deploy.transport.base import TransportError
from robolearn.deploy.transport.rospy_node import Master
from tests.deploy.transport.remote import Remote

PACKAGES = "python3-rospy python3-rosmaster python3-sensor-msgs python3-trajectory-msgs python3-std-srvs python3-actionlib"
ROOT = Path(__file__).parents[3]
_shared: dict[str, object] = {}
_cases = itertools.count(1)


@contextmanager
def master() -> Iterator[dict[str, str]]:
    """The environment of programs that meet on this process's master; it ends with the process."""
    if "environment" not in _shared:
        environment, process = _start_master()
        atexit.register(_stop, environment, process)
        _shared["environment"] = environment
    yield _shared["environment"]


@contextmanager
def own_master() -> Iterator[tuple[dict[str, str], subprocess.Popen[bytes]]]:
    """A master that one test may do away with."""
    environment, process = _start_master()
    try:
        yield environment, process
    finally:
        _stop(environment, process)


@contextmanager
def remote_pair(environment: dict[str, str]) -> Iterator[tuple[Remote, Remote]]:
    """Two nodes; a pair that a test leaves open serves the next one too, under other names."""
    pair = _shared.pop("pair", None) or tuple(Remote([sys.executable, "-m", "tests.deploy.transport.remote"], environment) for _ in "12")
    prefix = f"/case{next(_cases)}"
    for remote in pair:
        remote.begin(prefix)
    try:
        yield pair
    except BaseException:
        _end(pair)
        raise
    if any(remote.is_closed for remote in pair):
        assert _end(pair) == [0, 0]
    else:
        _shared["pair"] = pair


def _end(pair: tuple[Remote, Remote]) -> list[int]:
    return [remote.end() for remote in pair]


def _start_master() -> tuple[dict[str, str], subprocess.Popen[bytes]]:
    program = shutil.which("rosmaster")
    if program is None:
        pytest.skip(f"no ROS 1 here; on Debian 12: apt-get install {PACKAGES}")
    home = tempfile.mkdtemp(prefix="robolearn_ros1_")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "ROS_MASTER_URI": f"http://127.0.0.1:{port}",
        "ROS_IP": "127.0.0.1",
        "ROS_HOME": home,
        "PYTHONPATH": str(ROOT),
    }
    bare = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    process = subprocess.Popen(
        [program, "--core", "-p", str(port)], env=bare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 15
    while True:
        try:
            Master("/test", 1.0, environment["ROS_MASTER_URI"]).ask("getPid")
            return environment, process
        except TransportError:
            assert time.monotonic() < deadline, "rosmaster did not start"
            time.sleep(0.05)


def _stop(environment: dict[str, str], process: subprocess.Popen[bytes]) -> None:
    pair = _shared.pop("pair", None) if environment is _shared.get("environment") else None
    if pair is not None:
        _end(pair)
    process.terminate()
    process.wait(10)
    shutil.rmtree(environment["ROS_HOME"], ignore_errors=True)
