"""Servers for tests: a policy server on a thread of the test's own process, tiny policies for it, and a server that misbehaves."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from websockets.frames import Frame
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.sync.server import ServerConnection, serve

from robolearn.deploy.serving.model import ServedModel
from robolearn.deploy.serving.protocol import Message, decode, encode
from robolearn.deploy.serving.server import PolicyServer, Settings
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.policies.critics import ChunkCritic
from robolearn.policies.residual import ResidualModel, ResidualPolicy
from robolearn.policies.steering import SteeredSampler
from tests.fake_sampler import ScriptedSampler
from tests.fakes import POINT_REACH_SPEC, point_reach_normalizer

HORIZON = 4
KEYS = ("tcp_pos", "goal")


def chunked(**options: Any) -> ChunkedPolicy:
    return ChunkedPolicy(ScriptedSampler(**options), HORIZON, 1)


def residual_model(**options: Any) -> ResidualModel:
    """A model whose residual is far from zero."""
    torch.manual_seed(0)
    words = {"env_spec": POINT_REACH_SPEC, "normalizer": point_reach_normalizer(), "hidden": (16,), "phase_input": True}
    model = ResidualModel(**words, base=ScriptedSampler(), **options)
    with torch.no_grad():
        model.actor[-1].weight.normal_(generator=torch.Generator().manual_seed(0))
    return model


def refined(base: ChunkedPolicy | None = None) -> ResidualPolicy:
    return ResidualPolicy(base or chunked(), residual_model())


def critic(**options: Any) -> ChunkCritic:
    torch.manual_seed(0)
    words = {"env_spec": POINT_REACH_SPEC, "normalizer": point_reach_normalizer(), "observation_keys": KEYS}
    return ChunkCritic(**words, action_horizon=HORIZON, members=2, hidden=(8,), **options).eval()


def steered(judge: Any = None, **options: Any) -> ChunkedPolicy:
    chosen = {"candidates": 8, "caution": 0.0, **options}
    return ChunkedPolicy(SteeredSampler(ScriptedSampler(), judge or critic(), **chosen), HORIZON, 1)


def seen(steps: int | None = None, seed: int = 0) -> dict[str, np.ndarray]:
    """What a robot sees, for ``steps`` steps or now."""
    generator = np.random.default_rng(seed)
    leading = () if steps is None else (steps,)
    shapes = {name: (*leading, *spec.shape) for name, spec in POINT_REACH_SPEC.observation.items()}
    return {name: generator.uniform(-0.3, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


class Running:
    """A server on its own thread.

    Args:
        make: builds the policy, on the server's sample thread.
        budget: [s] of the critic.
    """

    def __init__(self, make: Callable[[], Any], budget: float | None = None, check: Callable[[Any], None] | None = None, **limits: Any):
        settings = Settings(**{"port": 0, **limits})
        self.server = PolicyServer(settings, check or (lambda robot: None), lambda: ServedModel(make(), "tiny", budget))
        self.url = ""
        self.error: BaseException | None = None
        self.problems: list[dict[str, Any]] = []  # what nobody caught
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, wait: bool = True) -> Running:
        self._thread.start()
        if wait:
            assert self._ready.wait(30)
            if self.error is not None:
                raise self.error
        return self

    def stop(self) -> None:
        if self._loop is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert not self.problems

    def _run(self) -> None:
        async def serving() -> None:
            self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
            self._loop.set_exception_handler(lambda loop, context: self.problems.append(context))
            await self.server.run(self._on_ready, self._stop)

        try:
            asyncio.run(serving())
        except BaseException as error:
            self.error = error
            self._ready.set()

    def _on_ready(self, url: str) -> None:
        self.url = url
        self._ready.set()


@contextlib.contextmanager
def running(make: Callable[[], Any] = chunked, **options: Any) -> Iterator[Running]:
    house = Running(make, **options).start()
    try:
        yield house
    finally:
        house.stop()


@contextlib.contextmanager
def misbehaving(answer: Callable[[ServerConnection, Message], None]) -> Iterator[str]:
    """A server that greets like a good one and then answers each request by ``answer``; gives its URL."""
    model = ServedModel(refined(), "tiny")

    def meet(connection: ServerConnection) -> None:
        for frame in connection:
            message = decode(frame)
            if message.kind == "hello":
                connection.send(encode(Message("welcome", message.id, model.welcome())))
            else:
                answer(connection, message)

    with serve(meet, "127.0.0.1", 0, compression=None, close_timeout=0.2, ping_interval=None) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()
        thread.join(5)


@contextlib.contextmanager
def falling_silent() -> Iterator[str]:
    """A server that greets like a good one and from then on does not even read; gives its URL."""
    model, over = ServedModel(chunked(), "tiny"), threading.Event()

    def meet() -> None:
        peer, _ = listener.accept()
        protocol = ServerProtocol()
        while not over.is_set():
            protocol.receive_data(peer.recv(65536))
            for event in protocol.events_received():
                if isinstance(event, Request):
                    protocol.send_response(protocol.accept(event))
                elif isinstance(event, Frame):
                    protocol.send_binary(encode(Message("welcome", decode(bytes(event.data)).id, model.welcome())))
                    over.set()
            peer.sendall(b"".join(protocol.data_to_send()))
        silent.append(peer)

    silent: list[socket.socket] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        thread = threading.Thread(target=meet, daemon=True)
        thread.start()
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}"
        thread.join(5)
    for peer in silent:
        peer.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def replied(message: Message, value: Any) -> bytes:
    """A well-formed reply to a request."""
    return encode(Message("reply", message.id, {"result": value, "info": {}, "timings": {}}))
