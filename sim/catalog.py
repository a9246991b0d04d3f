"""The assembly tasks by name; importing this imports no simulator."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from robolearn.errors import UserError, nearest

if TYPE_CHECKING:
    from robolearn.sim.task import Task

LEVELS = ("low", "med", "high")  # of randomness, which every task has
TASKS = {
    "one_leg": "OneLeg",
    "square_table": "SquareTable",
    "round_table": "RoundTable",
    "lamp": "Lamp",
    "mug_rack": "MugRack",
    "peg_hole": "PegHole",
    "bimanual_insertion": "BimanualInsertion",
    "stack_blocks": "StackBlocks",
    "pick_cube": "PickCube",
}  # each in robolearn.sim.tasks, in a module of its name


def find_task(task: str | Task) -> Task:
    """A task by its name; one that was made already is left as it is.

    Raises:
        UserError: no such task; the message names the nearest.
    """
    if not isinstance(task, str):
        return task
    if task not in TASKS:
        raise UserError(f"no assembly task {task!r}; there are {', '.join(TASKS)}{nearest(task, TASKS)}")
    made: Task = getattr(import_module(f"robolearn.sim.tasks.{task}"), TASKS[task])()
    return made
