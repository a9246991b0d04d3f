"""The tasks in Gymnasium's registry: ``import robolearn.sim.gym``, then ``gymnasium.make_vec("robolearn/OneLeg-low-v0", num_envs=64)``.

Gymnasium 1.x loads no plugins, so this module is imported, or named: ``"robolearn.sim.gym:robolearn/OneLeg-low-v0"``. It imports no
simulator; that comes with the first environment made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium

from robolearn.sim.catalog import LEVELS, TASKS

if TYPE_CHECKING:
    from robolearn.sim.assembly import Assembly

VERSION = 0  # of the worlds' behaviour


def ids() -> dict[str, tuple[str, str]]:
    """Task and level of each environment: ``{"robolearn/OneLeg-low-v0": ("one_leg", "low"), ...}``."""
    return {f"robolearn/{words}-{level}-v{VERSION}": (task, level) for task, words in TASKS.items() for level in LEVELS}


def register() -> None:
    """Put every task at every level into Gymnasium's registry, those that are not there yet."""
    for name, (task, level) in ids().items():
        if name not in gymnasium.registry:
            gymnasium.register(
                name,
                entry_point="robolearn.sim.single:SingleAssembly",
                vector_entry_point="robolearn.sim.gym:make_rows",
                kwargs={"task": task, "randomness": level},
            )


def make_rows(num_envs: int, autoreset: str = "same_step", **options: Any) -> Assembly:
    """What ``make_vec`` gives: rows that end begin anew within the same step, their last observation in ``info["final_obs"]``.

    Gymnasium's own vector environments restart a step later (NEXT_STEP), which puts a transition that is none into the data and
    costs a step; that mode is not offered. ``metadata["autoreset_mode"]`` says which mode it is.

    Args:
        num_envs: rows N.
        autoreset: ``same_step``, or ``disabled``: rows are restarted with ``reset(options={"reset_mask": ended})``.
        options: as :class:`robolearn.sim.assembly.Assembly` takes them.
    """
    from robolearn.sim.assembly import Assembly

    return Assembly(num_envs=num_envs, autoreset=autoreset, **options)


register()
