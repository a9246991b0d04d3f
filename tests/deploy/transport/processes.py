"""Starts and ends the other processes of tests over DDS."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.deploy.transport.conftest import own_domain

ROOT = Path(__file__).parents[3]


def start_peer(*command: str, domain: int = own_domain() + 100) -> subprocess.Popen[str]:
    """A process in a DDS domain of its own, once it has said that it is ready; the one in ``peer.py`` without a command."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("ROS_", "CYCLONEDDS"))}
    environment |= {"ROS_DOMAIN_ID": str(domain), "PYTHONPATH": str(ROOT)}
    peer = subprocess.Popen(
        command or [sys.executable, "-m", "tests.deploy.transport.peer"],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert peer.stdout is not None and peer.stderr is not None
    assert peer.stdout.readline() == "ready\n", peer.stderr.read()
    return peer


def end_peer(peer: subprocess.Popen[str]) -> tuple[int, str]:
    """Close its standard input; returns its exit status and what it said on the error stream."""
    try:
        _, said = peer.communicate(timeout=20)
    finally:
        peer.kill()
    return peer.returncode, said
