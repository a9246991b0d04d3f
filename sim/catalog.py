"""The assembly tasks by name."""

from __future__ import annotations

from importlib import import_module

from robolearn.errors import UserError, nearest
from robolearn.sim.task import Task

TASKS = {"one_leg": "OneLeg", "round_table": "RoundTable", "lamp": "Lamp"}  # each in robolearn.sim.tasks, in a module of its name


def find_task(task: str | Task) -> Task:
    """A task by its name; one that was made already is left as it is.

    Raises:
        UserError: no such task; the message names the nearest.
    """
    if isinstance(task, Task):
        return task
    if task not in TASKS:
        raise UserError(f"no assembly task {task!r}; there are {', '.join(TASKS)}{nearest(task, TASKS)}")
    made: Task = getattr(import_module(f"robolearn.sim.tasks.{task}"), TASKS[task])()
    return made
