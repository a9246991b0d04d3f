"""Asks a policy server, from a computer that has numpy, msgpack and websockets and needs nothing else."""

from __future__ import annotations

import contextlib
import itertools
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from robolearn.deploy.serving.protocol import Message, ProtocolError, decode, encode
from robolearn.errors import UserError
from robolearn.spec import EnvSpec

MAX_REPLY = 4 << 20  # bytes of a server's message: chunks are small
CONNECT_S = 5.0  # [s] to reach a server
SERVER_CODES = ("malformed", "refused", "busy", "late", "failed")


class InferenceError(UserError):
    """The server did not answer, or not with what was asked for.

    Args:
        code: ``lost`` (no connection), ``timeout``, ``malformed`` (not this protocol, or an action that is none), or the server's own:
            ``refused`` (asking again will not help), ``busy``, ``late``, ``failed``.
        message: what happened, in words.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Welcome:
    """What a server serves.

    Args:
        model: which checkpoint, by a digest of its files.
        spec: what it was trained to observe and do, and at which rate.
        observation_keys: observations that a sample needs.
        refine_keys: those that a refinement needs.
        observation_horizon: To, steps of history in a sample, the current one last.
        prediction_horizon: Tp, actions of a chunk.
        action_horizon: how many of them are meant to be executed.
        residual: whether there is something to refine with.
        critic: whether a critic steers.
        candidates: chunks that it picks from.
        dials: what can be turned, and where it stood.
    """

    model: str
    spec: EnvSpec
    observation_keys: tuple[str, ...]
    refine_keys: tuple[str, ...]
    observation_horizon: int
    prediction_horizon: int
    action_horizon: int
    residual: bool
    critic: bool
    candidates: int
    dials: Mapping[str, float] = field(compare=False)

    @property
    def control_hz(self) -> float:
        """Steps a second."""
        return self.spec.control_hz


@dataclass(frozen=True)
class Answer:
    """What a server gave.

    Args:
        value: a chunk ``(Tp, A)`` or an action ``(A,)``, finite.
        info: of a steered chunk ``candidates``, ``moved`` (not the first draw), ``gain`` and ``fallback`` (why the critic was not heeded).
        timings: [s] ``queue``, ``inference`` and ``steering`` at the server, and ``round_trip`` as seen from here.
    """

    value: NDArray[np.float32]
    info: Mapping[str, Any]
    timings: Mapping[str, float]


class PolicyClient:
    """One connection, one request at a time, each with a number that its reply has to carry.

    After a timeout or anything unexpected the connection is closed and the next call opens another, so that a late reply can never be
    taken for that of a later request. A server that then holds another model is refused.

    Args:
        url: such as ``ws://127.0.0.1:8765``.
        token: where the server asks for one.
        timeout: [s] a request may take.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = 10.0) -> None:
        self.url, self.timeout = url, timeout
        self._headers = {"Authorization": f"Bearer {token}"} if token else None
        self._connection: Connection | None = None
        self._leave = contextlib.ExitStack()  # closes it
        self._numbers = itertools.count(1)
        self._robot: EnvSpec | None = None
        self.welcome: Welcome | None = None

    @property
    def connected(self) -> bool:
        """Whether the next call finds a connection."""
        return self._connection is not None

    def hello(self, spec: EnvSpec, timeout: float = 60.0) -> Welcome:
        """Introduce a robot that observes and accepts ``spec``; waits while the server still loads.

        Raises:
            InferenceError: no server there, or the policy it serves is not for this robot; the message names both sides.
        """
        self._robot = spec
        return self._open(timeout)

    def sample(self, observation: Mapping[str, NDArray[Any]], seed: int, decision: int, task: str | None = None) -> Answer:
        """Draw a chunk: ``{name: (To, ...)}``, the episode's seed, how many chunks it drew before -> ``(Tp, A)``.

        Args:
            observation: the history, the current step last; more names than the policy reads do no harm.
            seed: addresses the policy's noise, as in simulation.
            decision: the same.
            task: of a policy that knows several; the robot's own unless given.

        Raises:
            InferenceError: see there.
        """
        welcome = self._welcomed()
        body: dict[str, Any] = {"observation": _picked(observation, welcome.observation_keys), "seed": int(seed), "decision": int(decision)}
        body["task"] = task
        return self._asked("sample", body, (welcome.prediction_horizon, welcome.spec.action.size))

    def refine(self, observation: Mapping[str, NDArray[Any]], base_action: NDArray[Any], phase: int) -> Answer:
        """Add the residual to an action of a chunk: ``{name: (...)}``, ``(A,)``, its place in the chunk -> ``(A,)``.

        Raises:
            InferenceError: see there.
        """
        welcome = self._welcomed()
        body: dict[str, Any] = {"observation": _picked(observation, welcome.refine_keys), "phase": int(phase)}
        body["base_action"] = np.asarray(base_action, np.float32)
        return self._asked("refine", body, (welcome.spec.action.size,))

    def dial(self, name: str, value: float) -> dict[str, float]:
        """Turn ``residual`` or ``guidance``, for all clients of the server; returns where the dials stand now.

        Raises:
            InferenceError: see there; there is no such dial.
        """
        self._welcomed()
        reply = self._request("dial", {"name": name, "value": float(value)}, self.timeout)
        dials = reply.body["info"]
        if not all(isinstance(setting, int | float) for setting in dials.values()):
            raise self._broken("dials that are no numbers")
        return {str(dial): float(setting) for dial, setting in dials.items()}

    def ping(self) -> float:
        """[s] until the server answers, without asking the policy.

        Raises:
            InferenceError: see there.
        """
        self._welcomed()
        begun = time.perf_counter()
        self._request("ping", {}, self.timeout)
        return time.perf_counter() - begun

    def reconnect(self) -> Welcome:
        """Open the connection again and introduce the same robot; calls do so by themselves where there is none.

        Raises:
            InferenceError: no server there, or it serves another model than before.
        """
        if self._robot is None:
            raise InferenceError("refused", "say hello(spec) first: the server has to know what the robot observes and accepts")
        return self._open(self.timeout)

    def close(self) -> None:
        """Leave the server; a later call comes back."""
        self._connection = None
        self._leave.pop_all().close()

    def _open(self, timeout: float) -> Welcome:
        assert self._robot is not None
        self.close()
        try:
            opening = connect(
                self.url,
                additional_headers=self._headers,
                compression=None,
                proxy=None,
                open_timeout=min(CONNECT_S, timeout),
                ping_interval=None,
                close_timeout=0.2,
                max_size=MAX_REPLY,
                max_queue=4,
            )
            # As a context, which is how every version of the library has it.
            connection = self._connection = self._leave.enter_context(opening)
            # A peer that reads nothing must not hold a large message for ever; the library itself waits without end.
            limit = struct.pack("ll", int(self.timeout), int(self.timeout % 1 * 1e6))
            connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        except InvalidStatus as error:
            said = (error.response.body or b"")[:200].decode(errors="replace").strip()
            code = "refused" if error.response.status_code in (401, 404) else "lost"
            raise InferenceError(code, f"{self.url} answers {error.response.status_code}: {said}") from error
        except (OSError, EOFError, ValueError, WebSocketException) as error:
            raise InferenceError("lost", f"no policy server at {self.url} ({_words(error)}); `robolearn serve` starts one") from error
        try:
            reply = self._request("hello", {"client": "robolearn", "spec": self._robot.to_dict()}, timeout)
            self.welcome = self._read_welcome(reply.body, self._robot)
        except UserError as error:
            self.close()
            raise error if isinstance(error, InferenceError) else InferenceError("refused", str(error)) from error
        return self.welcome

    def _read_welcome(self, body: Mapping[str, Any], robot: EnvSpec) -> Welcome:
        """What a server says it serves, which has to fit the robot, and to be what it said before."""
        keys = {name: tuple(body[name]) for name in ("observation_keys", "refine_keys")}
        welcome = Welcome(**{**body, "spec": EnvSpec.from_dict(body["spec"]), **keys})
        robot.check_serves(welcome.spec, tuple(dict.fromkeys((*welcome.observation_keys, *welcome.refine_keys))))
        if self.welcome is not None and welcome != self.welcome:
            raise InferenceError("refused", f"{self.url} now serves {welcome.model}, not {self.welcome.model} as before")
        return welcome

    def _welcomed(self) -> Welcome:
        """What the server serves, connected again if need be."""
        return self.reconnect() if self._connection is None or self.welcome is None else self.welcome

    def _asked(self, kind: str, body: dict[str, Any], shape: tuple[int, ...]) -> Answer:
        begun = time.perf_counter()
        reply = self._request(kind, body, self.timeout)
        value = reply.body["result"]
        if value is None or value.shape != shape or value.dtype != np.float32 or not np.isfinite(value).all():
            what = "nothing" if value is None else f"{value.dtype} of shape {value.shape}"
            raise self._broken(f"actions that are none: {what}, expected finite float32 of shape {shape}")
        timings = {**reply.body["timings"], "round_trip": time.perf_counter() - begun}
        return Answer(value.copy(), dict(reply.body["info"]), timings)

    def _request(self, kind: str, body: dict[str, Any], timeout: float) -> Message:
        """Send one message and wait for the answer that carries its number."""
        connection, number = self._connection, next(self._numbers)
        assert connection is not None
        frame = self._encoded(kind, number, body)
        try:
            connection.send(frame)
            reply = decode(connection.recv(timeout))
        except TimeoutError as error:
            self.close()
            raise InferenceError("timeout", f"{self.url} did not answer {kind} within {timeout:g} s") from error
        except ProtocolError as error:
            raise self._broken(str(error)) from error
        except (ConnectionClosed, OSError, EOFError) as error:
            self.close()
            raise InferenceError("lost", f"the connection to {self.url} broke ({_words(error)})") from error
        if reply.kind == "error" and reply.id in (number, 0):
            self._raise_error(reply)
        if reply.id != number or reply.kind != ("welcome" if kind == "hello" else "reply"):
            raise self._broken(f"{reply.kind} {reply.id} to {kind} {number}")
        return reply

    def _encoded(self, kind: str, number: int, body: dict[str, Any]) -> bytes:
        try:
            return encode(Message(kind, number, body))
        except ProtocolError as error:
            raise InferenceError("refused", str(error)) from error

    def _raise_error(self, reply: Message) -> NoReturn:
        code, message = str(reply.body["code"]), " ".join(str(reply.body["message"]).split())[:2000]
        if code not in SERVER_CODES:
            raise self._broken(f"an error of an unknown kind {code[:20]!r}")
        if reply.id == 0 or code == "malformed":
            self.close()  # the server does so too
        raise InferenceError(code, message or f"{self.url} gave no reason")

    def _broken(self, what: str) -> InferenceError:
        self.close()
        return InferenceError("malformed", f"{self.url} sent {what}")


def _picked(observation: Mapping[str, NDArray[Any]], keys: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """What the policy reads, as it travels: images as they are, all else float32."""
    missing = [name for name in keys if name not in observation]
    if missing:
        raise InferenceError("refused", f"the policy reads {missing[0]!r}; the observation holds {', '.join(sorted(observation))}")
    arrays = {name: np.asarray(observation[name]) for name in keys}
    return {name: array if array.dtype == np.uint8 else array.astype(np.float32, copy=False) for name, array in arrays.items()}


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
