"""Inference beside a control loop: questions are handed over and answers fetched without ever waiting for either."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.client import Answer, InferenceError, PolicyClient, Welcome
from robolearn.spec import EnvSpec

BACKOFF_S = (0.1, 2.0)  # [s] before the first and between later tries to connect again
KEPT = 20_000  # latencies
SHARES = {"p50": 50, "p95": 95, "p99": 99, "max": 100}


@dataclass(frozen=True)
class Outcome:
    """What became of one question; every question gets exactly one.

    Args:
        id: what ``submit_...`` returned.
        kind: ``sample``, ``refine`` or ``dial``.
        value: a chunk ``(Tp, A)`` or an action ``(A,)``, finite; None for a dial, and where it failed.
        error: what went wrong, in words; empty where nothing did.
        code: of :class:`InferenceError`, or ``superseded`` by a newer question before it was sent.
        info: see :class:`robolearn.deploy.client.Answer`; of a dial, where all stand now.
        timings: [s], the same.
        submitted: [s] on ``time.monotonic``.
        finished: [s] the same.
    """

    id: int
    kind: str
    value: NDArray[np.float32] | None = None
    error: str = ""
    code: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, float] = field(default_factory=dict)
    submitted: float = 0.0
    finished: float = 0.0


@dataclass(frozen=True)
class _Question:
    id: int
    kind: str
    about: str  # of questions about the same, one that waits is given up for a newer one
    ask: Callable[[PolicyClient], Answer | dict[str, float]]
    submitted: float


class _Lane(threading.Thread):
    """One connection and its thread: asks what waits, and connects again, less and less often, where the server is gone."""

    def __init__(self, name: str, client: PolicyClient, tell: Callable[[Outcome], None]) -> None:
        super().__init__(name=name, daemon=True)
        self.client, self._tell = client, tell
        self._waiting: deque[_Question] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._backoff, self._next_try = BACKOFF_S[0], 0.0
        self._warm = False  # the first answer of a connection is no measure of the others
        self.reconnects = 0
        self.latencies: dict[str, deque[dict[str, float]]] = {}
        self.errors: dict[str, int] = {}

    def put(self, question: _Question) -> None:
        """Hand a question over; returns at once."""
        with self._changed:
            given_up = [old for old in self._waiting if old.about == question.about]
            for old in given_up:
                self._waiting.remove(old)
            self._waiting.append(question)
            self._changed.notify()
        for old in given_up:
            self._fail(old, "superseded", "a newer question came before this one was sent")

    def run(self) -> None:
        """Work until closed."""
        while not self._closed:
            question = self._next()
            if question is None:
                if not self._closed and not self.client.connected:
                    self._reconnect()
            else:
                self._ask(question)

    def close(self) -> None:
        """End the thread; what it waits for fails."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self.client.close()

    def _next(self) -> _Question | None:
        """The next question; None when it is time to connect again, or closed."""
        with self._changed:
            while not self._waiting and not self._closed:
                left = None if self.client.connected else self._next_try - time.monotonic()
                if left is not None and left <= 0:
                    return None
                self._changed.wait(left)
            return self._waiting.popleft() if self._waiting and not self._closed else None

    def _ask(self, question: _Question) -> None:
        if not self.client.connected and not self._try_now(question):
            return
        try:
            answer = question.ask(self.client)
        except InferenceError as error:
            self._fail(question, error.code, str(error))
            if not self.client.connected:
                self._lost()
            return
        except Exception as error:  # such as an observation that is no array: the thread outlives it
            self._fail(question, "refused", f"{type(error).__name__}: {error}")
            return
        finished = time.monotonic()
        if isinstance(answer, dict):
            self._tell(Outcome(question.id, question.kind, info=answer, submitted=question.submitted, finished=finished))
            return
        if self._warm:
            kept = self.latencies.setdefault(question.kind, deque(maxlen=KEPT))
            kept.append({**answer.timings, "latency": finished - question.submitted})
        self._warm = True
        told = Outcome(question.id, question.kind, answer.value, "", "", answer.info, answer.timings, question.submitted, finished)
        self._tell(told)

    def _try_now(self, question: _Question) -> bool:
        left = self._next_try - time.monotonic()
        if left > 0:
            self._fail(question, "lost", f"no connection to {self.client.url}; the next try is in {left:.1f} s")
            return False
        try:
            self._reconnect(quiet=False)
        except InferenceError as error:
            self._fail(question, error.code, str(error))
            return False
        return True

    def _reconnect(self, quiet: bool = True) -> None:
        try:
            self.client.reconnect()
        except InferenceError:
            self._lost()
            if not quiet:
                raise
            return
        self._backoff, self._warm = BACKOFF_S[0], False
        self.reconnects += 1

    def _lost(self) -> None:
        self._next_try = time.monotonic() + self._backoff
        self._backoff = min(2 * self._backoff, BACKOFF_S[1])

    def _fail(self, question: _Question, code: str, error: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1
        finished = time.monotonic()
        self._tell(Outcome(question.id, question.kind, error=error, code=code, submitted=question.submitted, finished=finished))


class Inference:
    """A policy server as a control loop sees it.

    Samples have a connection and a thread of their own, refinements and dials another, so that neither waits for a chunk. Of samples, of
    refinements, and of one dial's turns at most one is under way and one waits; a newer one takes the place of the one that waits. Arrays
    that were handed over must not be changed afterwards.

    Args:
        url: of the server.
        spec: what the robot observes and accepts.
        token: where the server asks for one.
        timeout: [s] for a sample.
        refine_timeout: [s] for a refinement or a dial.

    Attributes:
        came: set when something finished; for who has time to wait.
    """

    def __init__(self, url: str, spec: EnvSpec, token: str | None = None, timeout: float = 5.0, refine_timeout: float = 1.0) -> None:
        self.spec = spec
        self._numbers = itertools.count(1)
        self._done: deque[Outcome] = deque()
        self.came = threading.Event()
        self._samples = _Lane("sample", PolicyClient(url, token, timeout), self._tell)
        self._quick = _Lane("refine", PolicyClient(url, token, refine_timeout), self._tell)

    def _tell(self, outcome: Outcome) -> None:
        self._done.append(outcome)
        self.came.set()

    def open(self, timeout: float = 60.0) -> Welcome:
        """Connect, and learn what is served; this waits, all later calls do not.

        Raises:
            InferenceError: no server there, or the policy it serves is not for this robot.
        """
        try:
            welcome = self._samples.client.hello(self.spec, timeout)
            self._quick.client.hello(self.spec, timeout)
        except InferenceError:
            self._samples.client.close()
            raise
        self._samples.start()
        self._quick.start()
        return welcome

    @property
    def connected(self) -> bool:
        """Whether both connections stand."""
        return self._samples.client.connected and self._quick.client.connected

    def submit_sample(self, observation: Mapping[str, NDArray[Any]], seed: int, decision: int, task: str | None = None) -> int:
        """Ask for a chunk, see :meth:`robolearn.deploy.client.PolicyClient.sample`; returns the question's number at once."""
        return self._put(self._samples, "sample", lambda client: client.sample(observation, seed, decision, task))

    def submit_refine(self, observation: Mapping[str, NDArray[Any]], base_action: NDArray[Any], phase: int) -> int:
        """Ask for the residual, see :meth:`robolearn.deploy.client.PolicyClient.refine`; returns the question's number at once."""
        return self._put(self._quick, "refine", lambda client: client.refine(observation, base_action, phase))

    def submit_dial(self, name: str, value: float) -> int:
        """Turn a dial; returns the question's number at once."""
        return self._put(self._quick, "dial", lambda client: client.dial(name, value), f"dial {name}")

    def poll(self) -> list[Outcome]:
        """What became of questions since the last call, in the order in which they finished; never waits."""
        return [self._done.popleft() for _ in range(len(self._done))]

    def latencies(self, kind: str) -> NDArray[np.float64]:
        """[s] from submitting to the answer, the newest last, first answers of connections left out: ``(n,)``."""
        return np.array([timings["latency"] for lane in self._lanes for timings in list(lane.latencies.get(kind, ()))], np.float64)

    def statistics(self) -> dict[str, Any]:
        """For a report: of each kind the percentiles [s] of every timing, and how often something failed, by code."""
        found: dict[str, Any] = {"reconnects": sum(lane.reconnects for lane in self._lanes)}
        for lane in self._lanes:
            found |= {kind: _percentiles(list(kept)) for kind, kept in list(lane.latencies.items())}
        found["errors"] = {
            code: sum(lane.errors.get(code, 0) for lane in self._lanes) for lane in self._lanes for code in list(lane.errors)
        }
        return found

    def close(self) -> None:
        """Leave the server."""
        for lane in self._lanes:
            lane.close()
            if lane.is_alive():
                lane.join(1.0)

    @property
    def _lanes(self) -> tuple[_Lane, _Lane]:
        return self._samples, self._quick

    def _put(self, lane: _Lane, kind: str, ask: Callable[[PolicyClient], Answer | dict[str, float]], about: str = "") -> int:
        number = next(self._numbers)
        lane.put(_Question(number, kind, about or kind, ask, time.monotonic()))
        return number


def _percentiles(kept: list[dict[str, float]]) -> dict[str, Any]:
    names = dict.fromkeys(name for timings in kept for name in timings)
    columns = {name: np.array([timings[name] for timings in kept if name in timings]) for name in names}
    return {"count": len(kept)} | {
        name: {share: float(np.percentile(column, percent)) for share, percent in SHARES.items()} for name, column in columns.items()
    }
