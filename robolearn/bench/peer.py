"""A peer in an environment of its own: a script run by another Python, asked over pipes, so that both are measured in turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

LEROBOT = Path(__file__).with_name("peer_lerobot.py")
LEROBOT_DATA = Path(__file__).with_name("peer_lerobot_data.py")
ROBOMIMIC = Path(__file__).with_name("peer_robomimic.py")


class PeerError(Exception):
    """The peer is not there, or has failed."""


class Peer:
    """A running peer; a request is a line of JSON, so is the answer.

    Args:
        python: interpreter of its environment.
        script: what it runs; its first line of output says that it is ready, and who it is: ``{"name": ...}``.
        settings: given to the script as JSON.

    Raises:
        PeerError: the interpreter does not exist, or the script ended; the message ends with what it said last.
    """

    def __init__(self, python: Path, script: Path, settings: Mapping[str, Any]) -> None:
        if not os.access(python, os.X_OK):
            raise PeerError(f"{python} is not there (docs/bench.md says how to make it)")
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the peer
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        self._process = subprocess.Popen(
            [str(python), "-I", str(script), json.dumps(settings)],  # isolated: neither our packages nor our files are in its way
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=environment,
        )
        try:
            self.name: str = self._read()["name"]
        except BaseException:
            self.close()
            raise

    def ask(self, **request: Any) -> dict[str, Any]:
        """Send a request; wait for its answer."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: reading says why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return answer
        self._errors.seek(0)
        said = self._errors.read().strip().splitlines()
        raise PeerError(said[-1] if said else "it ended without a word")

    def close(self) -> None:
        """End the process."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a request that it did not live to read
                    pipe.close()
        self._process.terminate()
        self._process.wait()
        self._errors.close()


@contextmanager
def lerobot(python: str, settings: Mapping[str, Any]) -> Iterator[Peer | None]:
    """LeRobot's diffusion policy of the given sizes, or None where it cannot be run, said on stderr."""
    with alongside("LeRobot", python, LEROBOT, settings) as peer:
        yield peer


@contextmanager
def alongside(name: str, python: str, script: Path, settings: Mapping[str, Any]) -> Iterator[Peer | None]:
    """A running peer, or None where it cannot be run, said on stderr."""
    peer = None
    try:
        peer = Peer(Path(python), script, settings)
    except PeerError as error:
        skip(name, error)
    try:
        yield peer
    finally:
        if peer is not None:
            peer.close()


def skip(peer: str, reason: object) -> None:
    """Say that a comparison is left out."""
    print(f"bench: {peer} skipped: {reason}", file=sys.stderr, flush=True)
