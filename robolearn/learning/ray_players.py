"""Ray actors that play: each owns worlds and a copy of the policy, and hands episodes over as they end."""

from __future__ import annotations

import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.backward import Attempt, Backward, play
from robolearn.learning.players import (
    Job,
    Played,
    Score,
    Snippets,
    blocks,
    check_block,
    mean_statistics,
    play_block,
    steering_statistics,
)
from robolearn.nodes import instantiate
from robolearn.protocols import Environment, Policy

DEATHS = 3  # of the actors that were given one and the same piece of work: then the work is at fault
# No telemetry, nothing of Ray's own on stdout, where JSON goes; read by Ray when it is imported.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # the one switch that makes a local Ray listen on 127.0.0.1 alone

Send = Callable[[Any], Any]  # gives an actor a piece of work; what it yields comes back through Ray's generator


class Actor:
    """What runs inside a Ray actor: it keeps its worlds and its policy from one piece of work to the next.

    Args:
        folder: the caller's, so that relative paths of checkpoints mean the same where the disk is shared.
        threads: of the physics and of the policy.
    """

    def __init__(self, folder: str, threads: int) -> None:
        if Path(folder).is_dir():
            os.chdir(folder)
        self._threads = threads
        self._env: tuple[Any, Any] = (None, None)  # what it was made of, and itself
        self._policy: tuple[Any, Any] = (None, None)

    def play(self, job: Job, rows: int, seeds: NDArray[np.int64], had: Mapping[int, int]) -> Iterator[Any]:
        """Outcomes of a block's seeds but those that an actor which died since had handed over; last what a steered policy noted."""
        policy = self._player(job, rows)
        for outcome in play_block(self._world(job.env, rows), policy, job, seeds, had):  # noqa: UP028, Ray sends into it, not all could take it
            yield outcome
        yield {} if had else steering_statistics(policy)  # of worlds that stand still it would be nonsense

    def try_snippets(
        self, world: Mapping[str, Any], rows: int, attempts: Sequence[Attempt], settings: Backward, provenance: dict[str, Any]
    ) -> Iterator[Snippets]:
        """:func:`robolearn.learning.backward.play`, as the only thing handed over."""
        yield play(self._world(world, rows), attempts, settings, provenance)

    def _world(self, node: Mapping[str, Any], rows: int) -> Environment:
        made_of = (dict(node), rows)
        if self._env[0] != made_of:
            if self._env[1] is not None:
                self._env[1].close()
            threads = {"threads": self._threads} if node.get("threads") == 0 else {}  # all cores are not this actor's
            self._env = (made_of, instantiate({**node, **threads}, num_envs=rows))
        env: Environment = self._env[1]
        return env

    def _player(self, job: Job, rows: int) -> Policy:
        made_of = (dict(job.policy), job.number, rows)
        if self._policy[0] != made_of:
            self._policy = (made_of, job.make_policy(rows))
        policy: Any = self._policy[1]
        _forget_statistics(policy)
        return policy  # type: ignore[no-any-return]


def _forget_statistics(policy: Any) -> None:
    for name in ("base", "sampler"):
        policy = policy if hasattr(policy, "reset_statistics") else getattr(policy, name, policy)
    if hasattr(policy, "reset_statistics"):
        policy.reset_statistics()


class RayPlayers:
    """Plays on Ray actors. A piece of work whose actor dies is given to another, which plays only what had not been handed over.

    Args:
        address: ``local`` starts Ray here, on the loopback device alone, without dashboard or telemetry, and stops it at the end;
            anything else is the address of a cluster that runs.
        actors: how many; they are spread over the nodes.
        rows: worlds of each; as many as the caller's environment has unless given.
        block: seeds that an actor plays before it asks for more; as many as it has rows unless given.
        cpus: cores of each, which are its threads, too.
        gpus: of each.

    Raises:
        UserError: Ray is not installed, its cluster cannot be reached or has too few cores, or a number is below 1.
    """

    def __init__(
        self, address: str = "local", actors: int = 2, rows: int | None = None, block: int | None = None, cpus: int = 1, gpus: float = 0
    ) -> None:
        for name, value in (("actors", actors), ("rows", rows), ("cpus", cpus)):
            if value is not None and value < 1:
                raise UserError(f"scale.{name} must be at least 1, got {value}")
        if gpus < 0:
            raise UserError(f"scale.gpus must be at least 0, got {gpus}")
        self._count, self._rows, self._block = actors, rows, check_block(block)
        self._ray = import_ray(address)
        self._started = not self._ray.is_initialized()
        if self._started:
            _connect(self._ray, address, actors * cpus)
        self._idle: list[Any] = []
        self._check_room(address, actors * cpus, actors * gpus)
        self._kind = self._ray.remote(Actor).options(num_cpus=cpus, num_gpus=gpus, scheduling_strategy="SPREAD")
        self._cpus = cpus

    def play(
        self,
        env: Environment,
        job: Job,
        seeds: NDArray[np.int64],
        *,
        record: Callable[[Episode], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Played:
        """See :class:`robolearn.learning.players.Players`."""
        rows = self._rows or env.num_envs
        score = Score(seeds, len(env.env_spec.stages), record, progress)
        parts = blocks(len(seeds), self._block or rows)

        def sender(part: slice) -> Send:
            return lambda actor: _call(actor.play, job, rows, seeds[part], score.had(part))

        noted: list[dict[str, float]] = []
        with closing(self._stream([sender(part) for part in parts])) as stream:
            for number, item in stream:
                if isinstance(item, dict):
                    noted.append(item)
                else:
                    score.note(parts[number], item)
        return Played(score.result, mean_statistics(noted))

    def try_snippets(
        self, env: Environment, world: Mapping[str, Any], attempts: Sequence[Attempt], settings: Backward, provenance: dict[str, Any]
    ) -> Snippets:
        """See :class:`robolearn.learning.players.Players`."""
        rows = self._rows or -(-env.num_envs // self._count)
        parts = blocks(len(attempts), rows)

        def sender(part: slice) -> Send:
            return lambda actor: _call(actor.try_snippets, world, rows, attempts[part], settings, provenance)

        with closing(self._stream([sender(part) for part in parts])) as stream:
            made: dict[int, Snippets] = dict(stream)
        episodes = [episode for number in range(len(parts)) for episode in made[number][0]]
        return episodes, [word for number in range(len(parts)) for word in made[number][1]]

    def close(self) -> None:
        """Let the actors go, and stop the Ray that was started here."""
        self._dismiss(self._idle)
        self._idle = []
        if self._started:
            self._ray.shutdown()

    def _stream(self, work: Sequence[Send]) -> Generator[tuple[int, Any], None, None]:
        """``(number of the piece, something it yielded)``, in the order in which they come; pieces are begun in their order."""
        ray, waiting = self._ray, deque(enumerate(work))
        deaths = [0] * len(work)
        running: dict[Any, tuple[int, Any]] = {}  # generator: piece, actor
        self._idle += [self._make() for _ in range(min(self._count, len(work)) - len(self._idle))]
        try:
            while waiting or running:
                while waiting and self._idle:
                    number, send = waiting.popleft()
                    actor = self._idle.pop(0)
                    running[send(actor)] = (number, actor)
                for generator in ray.wait(list(running), num_returns=1)[0]:
                    number, actor = running[generator]
                    try:
                        item = _next(ray, generator)
                    except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as death:
                        del running[generator]
                        self._dismiss([actor])  # it may live, and only what it handed over be lost
                        self._idle.append(self._make())
                        deaths[number] += 1
                        _tell_death(deaths[number], death)
                        waiting.appendleft((number, work[number]))
                    except Exception as error:
                        del running[generator]
                        self._idle.insert(0, actor)  # ahead of those that are still being started
                        if not isinstance(error, _Finished):
                            raise
                    else:
                        yield number, item
        finally:
            self._dismiss([actor for _, actor in running.values()])  # of a stream that was left: nobody waits for their work

    def _make(self) -> Any:
        return self._kind.remote(str(Path.cwd()), self._cpus)

    def _dismiss(self, actors: Sequence[Any]) -> None:
        for actor in actors:
            self._ray.kill(actor)

    def _check_room(self, address: str, cpus: float, gpus: float) -> None:
        there = self._ray.cluster_resources()
        for name, wanted in (("CPU", cpus), ("GPU", gpus)):
            if there.get(name, 0) < wanted:
                self.close()
                raise UserError(
                    f"scale.actors wants {wanted:g} {name}s in all, the Ray at {address} has {there.get(name, 0):g}; give fewer actors,"
                    f" or fewer {name.lower()}s each"
                )


class _Finished(Exception):
    """A generator has nothing more to yield."""


def import_ray(address: str) -> Any:
    """Ray, told to be quiet before it is imported.

    Raises:
        UserError: it is not installed.
    """
    for name, value in {**QUIET, **(LOOPBACK if address == "local" else {})}.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ModuleNotFoundError as error:
        raise UserError("scale=ray needs Ray, which is not installed: pip install 'robolearn[ray]' brings it; or scale=none") from error
    return ray


def _connect(ray: Any, address: str, cpus: int) -> None:
    here = {"num_cpus": cpus, "include_dashboard": False} if address == "local" else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, logging_level="critical", log_to_driver=False, **here)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"no Ray at scale.address={address} ({str(error).splitlines()[0]}); `local` starts one here") from error
    finally:
        signal.signal(signal.SIGTERM, before)  # Ray's own would end the command without saving


def _call(method: Any, *arguments: Any) -> Any:
    return method.options(num_returns="streaming").remote(*arguments)


def _next(ray: Any, generator: Any) -> Any:
    """What an actor's generator yielded next; raises what was raised there, :class:`_Finished` at its end."""
    try:
        return ray.get(next(generator))
    except StopIteration:
        raise _Finished from None
    except ray.exceptions.RayTaskError as error:
        raise error.cause from error


def _tell_death(deaths: int, death: Exception) -> None:
    if deaths >= DEATHS:
        raise UserError(f"{deaths} actors died of the same episodes, the last so: {' '.join(str(death).split())[:300]}")
    print("an actor died; what it had not finished is played again", file=sys.stderr)
