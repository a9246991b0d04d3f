"""Every backend of the transport, as pairs of participants that find each other: what the shared tests run over."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from shutil import which

import pytest

from robolearn.deploy.transport.base import Transport

Pair = tuple[Transport, Transport]


def own_domain() -> int:
    """A DDS domain that no other test process has, as far as its number tells."""
    return 1 + os.getpid() % 100


@contextmanager
def in_process() -> Iterator[Pair]:
    from robolearn.deploy.transport.in_process import Bus, InProcess

    bus = Bus()
    with InProcess(bus) as one, InProcess(bus) as other:
        yield one, other


@contextmanager
def cyclonedds() -> Iterator[Pair]:
    pytest.importorskip("cyclonedds")
    from robolearn.deploy.transport.cyclone import Cyclone
    from robolearn.deploy.transport.cyclone_config import Network

    network = Network(own_domain(), "LOCALHOST")
    with Cyclone("one", network=network) as one, Cyclone("other", network=network) as other:
        yield one, other


@contextmanager
def rclpy() -> Iterator[Pair]:
    from robolearn.deploy.transport.rclpy_transport import Rclpy

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(own_domain()))
        with Rclpy("one") as one, Rclpy("other") as other:
            yield one, other


@contextmanager
def rospy() -> Iterator[Pair]:
    from tests.deploy.transport import ros1

    with ros1.master() as environment, ros1.remote_pair(environment) as both:
        yield both


# A further backend adds itself here: a context that gives two participants, and skips where it cannot run.
BACKENDS = {"in process": in_process, "cyclonedds": cyclonedds}
# Those that not every machine has: their own tests say once that they are missing.
BACKENDS |= {"rclpy": rclpy} if find_spec("rclpy") else {}
BACKENDS |= {"rospy": rospy} if which("rosmaster") else {}


@pytest.fixture(params=BACKENDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    with BACKENDS[request.param]() as both:
        yield both


def until(true: Callable[[], object], seconds: float = 5.0) -> None:
    """Wait until something holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "did not happen in time"
        time.sleep(0.005)
