"""Chunks that say what they are of, and a stretch of network that delays, drops, repeats and reorders replies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.chunks.executor import Action, ChunkExecutor, Request
from robolearn.rotation import matrix_from_rotvec, rot6d_from_matrix
from robolearn.spec import tool_pose_action

SPEC = tool_pose_action((-1000,) * 3, (1000,) * 3)
TP, H = 12, 5


def told(request: Request, length: int = TP) -> NDArray[np.float32]:
    """A chunk whose x is its epoch, y its decision, z the place in it; its gripper is closed in every second decision."""
    chunk = np.zeros((length, 10), np.float32)
    chunk[:, 0], chunk[:, 1], chunk[:, 2] = request.epoch, request.decision, np.arange(length)
    chunk[:, 3:9] = rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, 0.1 * (request.decision % 7)])))
    chunk[:, 9] = 1 if request.decision % 2 else -1
    return chunk


@dataclass(frozen=True)
class Played:
    """A step as it went: the action, or None, and the request that was made at it."""

    step: int
    action: Action | None
    request: Request | None


class Line:
    """Carries requests to a sampler that takes ``delays[i]`` steps for the i-th; None loses it.

    Args:
        executor: what asks.
        delays: [steps] of each request in turn, the last one ever after.
        chunk_of: what is drawn for a request.
        repeat: deliver each reply once more, this many steps later.
        timeout: steps after which a request is given up.
    """

    def __init__(self, executor, delays=(0,), chunk_of=told, repeat=None, timeout=10_000):
        self.executor, self.delays, self.chunk_of, self.repeat, self.timeout = executor, list(delays), chunk_of, repeat, timeout
        self.post: list[tuple[int, int, NDArray[np.float32]]] = []  # (step of arrival, id, chunk)
        self.answers: list[tuple[int, str]] = []
        self.asked: list[Request] = []

    def step(self, step: int, expected: int = 0) -> Played:
        """One step: give up, ask, deliver, act."""
        pending = self.executor.pending
        if pending is not None and step - pending.step >= self.timeout:
            self.executor.failed(pending.id)
        self.deliver(step)
        request = self.executor.wants(step, expected)
        if request is not None:
            delay = self.delays[min(len(self.asked), len(self.delays) - 1)]
            self.asked.append(request)
            if delay is not None:
                chunk = self.chunk_of(request)
                self.post.append((step + delay, request.id, chunk))
                if self.repeat is not None:
                    self.post.append((step + delay + self.repeat, request.id, chunk))
            self.deliver(step)
        return Played(step, self.executor.action(step), request)

    def deliver(self, step: int) -> None:
        """Hand over what has arrived, the newest request first: out of order."""
        due = sorted((letter for letter in self.post if letter[0] <= step), key=lambda letter: -letter[1])
        self.post = [letter for letter in self.post if letter[0] > step]
        self.answers += [(number, self.executor.accept(number, chunk)) for _, number, chunk in due]


def executor(mode: str, length: int = TP, executed: int = H, **options) -> ChunkExecutor:
    """One of the canonical action of one arm."""
    result = ChunkExecutor(SPEC, length, executed, mode, **options)
    result.reset(7)
    return result
