"""Jobs in processes of their own, some at a time: none outlives its parent, and none dies unheard."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from multiprocessing import connection, resource_tracker
from typing import Any

from robolearn.errors import UserError


class _Job:
    """A running process and the pipe that its answer comes through."""

    def __init__(self, name: str, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.answer, writer = context.Pipe(duplex=False)
        self.process = context.Process(target=_work, args=(writer, function, arguments), name=name, daemon=True)
        # A terminal sends Ctrl-C to children, too: they never hear it, from their first import on, because the parent passes it on.
        resource_tracker.ensure_running()  # its own start would unblock the signal
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        writer.close()  # so that the child's death ends the pipe

    def result(self) -> Any:
        """What the function returned; raises what it raised."""
        try:
            value, error = self.answer.recv()
        except EOFError:
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by signal {-code}{', as happens when memory runs out' if code == -signal.SIGKILL else ''}"
            raise ChildProcessError(f"the process of {self.name} {how if code < 0 else f'ended with exit code {code}'}") from None
        self.process.join()
        if error is not None:
            raise error
        return value


def run_jobs(function: Callable[..., Any], jobs: Mapping[str, Sequence[Any]], count: int) -> dict[str, Any]:
    """``function(*arguments)`` of every named job, ``count`` at the same time; what each returned, in the order given.

    The first job that fails, and Ctrl-C and SIGTERM here, end the others: they get SIGTERM and are waited for, so that
    they can save their work; a second Ctrl-C ends them at once. Where this process is killed, they end by themselves.

    Raises:
        ChildProcessError: a job's process died.
    """
    waiting, running, results = list(jobs.items()), dict[str, _Job](), dict[str, Any]()
    try:
        while waiting or running:
            while waiting and len(running) < count:
                name, arguments = waiting.pop(0)
                running[name] = _Job(name, function, arguments)
            ready = connection.wait([job.answer for job in running.values()])
            for job in [job for job in running.values() if job.answer in ready]:
                results[job.name] = job.result()
                del running[job.name]
    except BaseException:
        _end(job.process for job in running.values())
        raise
    return {name: results[name] for name in jobs}


def _end(processes: Iterable[Any]) -> None:
    """Ask processes to save their work and wait for them; on a second Ctrl-C end them at once."""
    living = list(processes)
    for process in living:
        process.terminate()
    try:
        for process in living:
            process.join()
    except KeyboardInterrupt:
        for process in living:
            process.kill()
        raise


def _work(writer: connection.Connection, function: Callable[..., Any], arguments: Sequence[Any]) -> None:
    """The child's side: answer with what the function returns or raises."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    answer: tuple[Any, BaseException | None]
    try:
        answer = (function(*arguments), None)
    except BaseException as error:
        if not isinstance(error, (UserError, OSError, KeyboardInterrupt)):
            traceback.print_exc()  # a defect: the pipe carries no traceback
        answer = (None, error)
    with contextlib.suppress(BrokenPipeError):
        writer.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os.kill(os.getpid(), signal.SIGTERM)
