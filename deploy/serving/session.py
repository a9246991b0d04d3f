"""One client's connection: a handshake, then requests that are answered as they are done, each reply with its request's id."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from robolearn.deploy.serving.model import Result, ServedModel
from robolearn.deploy.serving.protocol import Message, ProtocolError, decode, encode
from robolearn.deploy.serving.worker import Worker
from robolearn.errors import UserError
from robolearn.spec import EnvSpec

HELLO_S = 10.0  # [s] a client has to introduce itself
IN_FLIGHT = 4  # requests of one connection that may be open; a robot needs one or two
POLICY_VIOLATION, WRONG_DATA = 1008, 1007  # websocket close codes
log = logging.getLogger("robolearn.serve")


class House(Protocol):
    """What a session needs of its server."""

    model: ServedModel | None
    samples: Worker  # draws chunks
    refines: Worker  # adds residuals, while a chunk is drawn
    request_timeout: float
    counts: dict[str, int]

    def check(self, robot: EnvSpec) -> None:
        """Raise ``UserError`` unless the checkpoint is for such a robot; needs no weights."""
        ...

    async def ready(self) -> ServedModel | None:
        """The model, once its weights are there; None where the server ends before."""
        ...


class Session:
    """Talks to one client until it leaves or breaks the protocol.

    Args:
        house: the server.
        connection: of the client.
    """

    def __init__(self, house: House, connection: ServerConnection) -> None:
        self.house, self.connection = house, connection
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve the client; returns when the connection is closed, whoever closed it."""
        try:
            robot = await asyncio.wait_for(self._hello(), HELLO_S)
            if robot is not None:
                await self._welcome(*robot)
        except (ConnectionClosed, TimeoutError):
            pass
        finally:
            for task in self._tasks:
                task.cancel()  # what is still queued for a client that left is not computed
            await self.connection.close(POLICY_VIOLATION)

    async def _hello(self) -> tuple[Message, EnvSpec] | None:
        """The client's first message and its robot, or None where it was turned away."""
        message = await self._receive()
        if message is None:
            return None
        try:
            if message.kind != "hello":
                raise ProtocolError(f"a client says hello first, not {message.kind}")
            robot = EnvSpec.from_dict(message.body["spec"])
            self.house.check(robot)
        except UserError as error:
            await self._refuse(message.id, error)
            return None
        return message, robot

    async def _welcome(self, hello: Message, robot: EnvSpec) -> None:
        model = await self.house.ready()
        if model is None:
            return
        try:
            model.check(robot)
            if model.task != robot.task:  # else a client that comes back need not wait for a chunk
                await self._on(self.house.samples, lambda: model.take_task(robot.task))
        except UserError as error:
            await self._refuse(hello.id, error)
            return
        await self._send("welcome", hello.id, model.welcome())
        while (message := await self._receive()) is not None:
            await self._answer(message, model, robot)

    async def _answer(self, message: Message, model: ServedModel, robot: EnvSpec) -> None:
        body = message.body
        if message.kind == "ping":
            await self._reply(message, time.perf_counter())
        elif message.kind == "dial":
            try:
                model.dial(body["name"], body["value"])
            except UserError as error:
                await self._error(message.id, "refused", error)
            else:
                await self._reply(message, time.perf_counter(), info=model.dials())
        elif message.kind == "sample":
            await self._begin(message, self.house.samples, lambda: _sample(model, body, robot))
        elif message.kind == "refine":
            await self._begin(message, self.house.refines, lambda: model.refine(body["observation"], body["base_action"], body["phase"]))
        else:
            await self._refuse(message.id, ProtocolError(f"a client does not send {message.kind} here"))

    async def _begin(self, message: Message, worker: Worker, job: Callable[[], Result]) -> None:
        if len(self._tasks) >= IN_FLIGHT:
            await self._error(message.id, "busy", f"{IN_FLIGHT} requests of this connection are not answered yet")
            return
        task = asyncio.create_task(self._work(message, worker, job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, message: Message, worker: Worker, job: Callable[[], Result]) -> None:
        """Have a worker do it, and send what came of it."""
        came = time.perf_counter()
        begun = [came]

        def timed() -> Result:
            begun[0] = time.perf_counter()
            return job()

        try:
            result: Result = await asyncio.wait_for(self._on(worker, timed), self.house.request_timeout)
            timings = {"queue": begun[0] - came, **result.timings}
            await self._send("reply", message.id, {"result": result.value, "info": result.info, "timings": timings})
            self.house.counts[message.kind] += 1
        except TimeoutError:
            await self._error(message.id, "late", f"not done within {self.house.request_timeout:g} s")
        except UserError as error:
            await self._error(message.id, "refused", error)
        except ConnectionClosed:
            pass
        except Exception as error:  # a defect of the policy: the client learns of it, the server goes on
            log.exception("%s failed", message.kind)
            await self._error(message.id, "failed", f"{type(error).__name__}: {error}")

    async def _on(self, worker: Worker, job: Callable[[], Any]) -> Any:
        return await asyncio.wrap_future(worker.submit(job))

    async def _receive(self) -> Message | None:
        """The next message; None where the client broke the protocol, and was told so."""
        try:
            return decode(await self.connection.recv())
        except ProtocolError as error:
            await self._refuse(0, error, WRONG_DATA)
            return None

    async def _refuse(self, number: int, error: UserError, code: int = POLICY_VIOLATION) -> None:
        """Say why, then close."""
        await self._error(number, "malformed" if isinstance(error, ProtocolError) else "refused", error)
        await self.connection.close(code)

    async def _error(self, number: int, code: str, why: object) -> None:
        self.house.counts["errors"] += 1
        with contextlib.suppress(ConnectionClosed):
            await self._send("error", number, {"code": code, "message": " ".join(str(why).split())[:2000]})

    async def _reply(self, message: Message, came: float, info: dict[str, Any] | None = None) -> None:
        self.house.counts[message.kind] += 1
        timings = {"queue": time.perf_counter() - came}
        await self._send("reply", message.id, {"result": None, "info": info or {}, "timings": timings})

    async def _send(self, kind: str, number: int, body: dict[str, Any]) -> None:
        await self.connection.send(encode(Message(kind, number, body)))


def _sample(model: ServedModel, body: Any, robot: EnvSpec) -> Result:
    """Runs on the worker, which alone touches the sampler."""
    model.take_task(robot.task if body["task"] is None else body["task"])
    return model.sample(body["observation"], body["seed"], body["decision"])
