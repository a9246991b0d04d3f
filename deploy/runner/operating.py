"""Puts an operator beside the parts of a run, where a device is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from robolearn.deploy.robot import Robot
from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import Check
from robolearn.deploy.runner.keys import TerminalKeys
from robolearn.deploy.runner.operated import OperatedActor, OperatedJournal, OperatedJudge
from robolearn.deploy.runner.operator import Operator
from robolearn.deploy.runner.roles import Actor, Journal, Judge
from robolearn.deploy.runner.stops import Stops
from robolearn.deploy.teleop.robot_scene import RobotScene
from robolearn.errors import UserError
from robolearn.learning.operate import make_device

KEYBOARDS = ("keyboard", "terminal")  # devices that take the terminal's keys, or all


@dataclass(frozen=True)
class Beside:
    """What an operator needs of a run.

    Args:
        stops: hear what is wanted.
        look: what is observed now, ``{name: (...)}``; called by the operator's thread.
        task: for display.
    """

    stops: Stops
    look: Callable[[], Mapping[str, NDArray[Any]]]
    task: str


@dataclass(frozen=True)
class Crew:
    """Who acts, judges, writes down and watches in a run.

    Args:
        actor: says what to follow.
        judge: prepares and judges.
        journal: keeps it.
        checks: look at what is peculiar to who acts.
        operator: where there is one.
        keys: whether the terminal's keys are heard.
    """

    actor: Actor
    judge: Judge
    journal: Journal
    checks: tuple[Check, ...]
    operator: Operator | None = None
    keys: bool = False


def assemble_crew(
    stack: ExitStack,
    options: Mapping[str, Any],
    robot: Robot,
    beside: Beside,
    autonomy: Autonomy | None,
    late: Check | None,
    judge: Judge,
    journal: Journal,
) -> Crew:
    """The policy alone with the terminal's keys, or with an operator's device beside it; ``stack`` takes it apart again.

    Args:
        stack: closes device and keys.
        options: of ``robolearn run``.
        robot: for the scene of a browser's page.
        beside: what an operator needs.
        autonomy: the policy's side, if there is one.
        late: watches its answers.
        judge: of the run.
        journal: of the run.

    Raises:
        UserError: no such device, or it is not there.
    """
    hears = str(options["device"]) not in KEYBOARDS and stack.enter_context(TerminalKeys(beside.stops)).hears
    if not options["device"]:
        if autonomy is None or late is None:
            raise UserError("nobody acts: give a policy, or a device")
        return Crew(autonomy, judge, journal, (late,), keys=hears)
    scene = RobotScene(robot)
    operator = Operator(
        make_device(options, scene),
        beside.stops,
        beside.look,
        has_policy=autonomy is not None,
        task=beside.task,
        wanted=int(options["episodes"]),
        control_hz=float(options["control_hz"]),
        scene=scene,
    )
    operator.open()
    stack.callback(operator.close)
    actor = OperatedActor(operator, autonomy)
    checks = (operator.problems, *([] if late is None else [actor.spared(late)]))
    return Crew(actor, OperatedJudge(judge, operator), OperatedJournal(journal, operator, actor), checks, operator, hears)
