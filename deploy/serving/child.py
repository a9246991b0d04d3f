"""A policy server as this process's child: on a free port, with a token of its own, gone when its parent is."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import queue
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

from robolearn.config import option_value
from robolearn.errors import UserError

LAST_WORDS = 20  # lines of the child's complaints that an error may quote
END_S = 3.0  # [s] a child has to end by itself


@dataclass(frozen=True)
class ServerChild:
    """A running child; close it.

    Args:
        process: the child.
        url: where it listens.
        token: what its clients have to know.
    """

    process: subprocess.Popen[str]
    url: str
    token: str

    def close(self) -> None:
        """End the child, by force where it does not listen."""
        _end(self.process)

    def __iter__(self) -> Iterator[Any]:
        """``process, url, token``."""
        return iter((self.process, self.url, self.token))


def spawn_server(options: Mapping[str, Any], timeout: float = 180.0, niceness: int = 5) -> ServerChild:
    """Start ``robolearn serve``, with options such as ``{"checkpoint": ..., "policy.inference_steps": 8}``, and wait until it is warm.

    Args:
        options: of the verb; host, port and token are chosen here.
        timeout: [s] it may take to load.
        niceness: how far the child stands back where the parent needs the processor, 0 to 19.

    Raises:
        UserError: it ended, or took longer; the message quotes what it said.
    """
    token = secrets.token_hex(16)
    given = {**options, "host": "127.0.0.1", "port": 0, "parent": os.getpid(), "json": True}
    words = [f"{name}={_word(value)}" for name, value in given.items()]
    process = subprocess.Popen(
        [sys.executable, "-m", "robolearn", "serve", *words],
        env={**os.environ, "ROBOLEARN_TOKEN": token},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, process.pid, min(19, os.getpriority(os.PRIO_PROCESS, 0) + niceness))
    said: queue.SimpleQueue[str] = queue.SimpleQueue()
    complaints: collections.deque[str] = collections.deque(maxlen=LAST_WORDS)
    assert process.stdout is not None and process.stderr is not None
    _drain(process.stdout, said.put)
    _drain(process.stderr, complaints.append)
    try:
        return ServerChild(process, _url(process, said, complaints, timeout), token)
    except BaseException:
        _end(process)
        raise


def _url(process: subprocess.Popen[str], said: queue.SimpleQueue[str], complaints: collections.deque[str], timeout: float) -> str:
    """What the child prints when it is ready."""
    until = time.monotonic() + timeout
    while time.monotonic() < until:
        try:
            return str(json.loads(said.get(timeout=0.05))["url"])
        except queue.Empty:
            if process.poll() is not None:
                time.sleep(0.1)  # its last words may still be on their way
                why = " ".join(complaints).removeprefix("error: ") or f"exit code {process.returncode}"
                raise UserError(f"the policy server did not start: {why}") from None
        except (ValueError, KeyError, TypeError):
            continue  # something else that was printed
    raise UserError(f"the policy server was not ready after {timeout:g} s; {' '.join(complaints) or 'it said nothing'}")


def _drain(stream: IO[str], keep: Any) -> None:
    """Read a stream to its end on a thread, so that the child never waits for its reader."""

    def read() -> None:
        with stream:
            for line in stream:
                keep(line.strip())

    threading.Thread(target=read, name="server output", daemon=True).start()


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _word(value: Any) -> str:
    """A value as the command line takes it."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return option_value(value)
