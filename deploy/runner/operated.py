"""A run's parts with an operator beside them: who acts, who begins, what is written down; the parts themselves do not learn of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.runner.autonomy import Autonomy
from robolearn.deploy.runner.checks import Check
from robolearn.deploy.runner.operator import Operator
from robolearn.deploy.runner.roles import Journal, Judge, Observation, Verdict


class OperatedActor:
    """The operator's targets while the operator acts, the policy's otherwise.

    An operator's target is read once a step and held for it, as a policy's is: what is recorded is what was followed. Let go, the last one
    stays until the policy, which begins anew with what it sees then, has an action.

    Args:
        operator: who may act.
        autonomy: the policy's side; None: the operator alone acts.

    Attributes:
        intervening: whether :attr:`target` is the operator's.
    """

    def __init__(self, operator: Operator, autonomy: Autonomy | None = None) -> None:
        self._operator, self.autonomy = operator, autonomy
        self._acts = autonomy is None
        self._held: NDArray[np.float32] | None = None

    @property
    def intervening(self) -> bool:
        """See the class."""
        return self._acts or self.autonomy is None or self.autonomy.target is None

    @property
    def target(self) -> NDArray[np.float32] | None:
        """``(A,)`` to follow, None for nothing."""
        if self._acts or self.autonomy is None or self.autonomy.target is None:
            return self._held
        return self.autonomy.target

    def reset(self, seed: int) -> None:
        """An episode begins."""
        self._acts, self._held = self.autonomy is None, None
        if self.autonomy is not None:
            self.autonomy.reset(seed)

    def restart(self) -> None:
        """The robot has stood: what was planned or wanted is forgotten."""
        self._held = None
        if self.autonomy is not None:
            self.autonomy.restart()

    def begin_step(self, number: int, observation: Observation, now: int) -> None:
        """A step begins: the operator's target is read, or the policy asked."""
        self._change_hands()
        if self._acts:
            self._hold()
        elif self.autonomy is not None:
            self.autonomy.begin_step(number, observation, now)

    def poll(self, now: int) -> None:
        """Take what the policy has answered, and see who acts."""
        if self.autonomy is not None:
            self.autonomy.poll(now)
        self._change_hands()
        if self._acts and self._held is None:
            self._hold()

    def spared(self, check: Check) -> Check:
        """A check of the policy, which is not asked while the operator acts."""
        return lambda now: () if self._acts else check(now)

    def _hold(self) -> None:
        target = self._operator.choice()[1]
        self._held = self._held if target is None else target

    def _change_hands(self) -> None:
        acts = self._operator.choice()[0]
        if acts == self._acts or self.autonomy is None:
            return
        self._acts = acts
        self.autonomy.restart()
        self.autonomy.late_steps = 0  # it was not asked
        if acts:
            self._held = None
            self._hold()


class OperatedJudge:
    """A scene whose episode begins when it is ready and the operator says so.

    Args:
        judge: prepares and judges.
        operator: says when.
    """

    def __init__(self, judge: Judge, operator: Operator) -> None:
        self._judge, self._operator = judge, operator

    def prepare(self, seed: int) -> None:
        """Begin to bring the scene to its start."""
        self._operator.prepare()
        self._judge.prepare(seed)

    @property
    def ready(self) -> bool:
        """Whether it may begin."""
        return self._judge.ready and self._operator.begun

    def verdict(self) -> Verdict:
        """As the judge says."""
        return self._judge.verdict()


class OperatedJournal:
    """Writes down who acted, and tells the operator what was written.

    Args:
        journal: keeps it.
        operator: is told.
        actor: knows who acts.
    """

    def __init__(self, journal: Journal, operator: Operator, actor: OperatedActor) -> None:
        self._journal, self._operator, self._actor = journal, operator, actor
        self._intervenes = False

    def begin(self, source: str = "rollout", **provenance: Any) -> int:
        """An episode begins."""
        number = self._journal.begin(source, **provenance)
        self._operator.began()
        self._intervenes = self._actor.autonomy is None
        return number

    def step(self, observation: Observation, action: Any, *, intervention: bool = False, stamp: int | None = None) -> None:
        """A step, the operator's where the operator acts."""
        intervention = intervention or self._actor.intervening
        if intervention != self._intervenes:
            self._intervenes = intervention
            self._journal.mark("intervention" if intervention else "handed back", "", stamp)
        self._journal.step(observation, action, intervention=intervention, stamp=stamp)
        self._operator.stepped()

    def finish(self, success: bool | None, terminated: bool | None = None, notes: str = "", *, truncated: bool = False) -> None:
        """It is kept."""
        self._journal.finish(success, terminated, notes, truncated=truncated)
        self._operator.ended(success, notes)

    def discard(self) -> None:
        """It never was."""
        self._journal.discard()
        self._operator.dropped()

    def mark(self, event: str, words: str = "", stamp: int | None = None, **values: Any) -> None:
        """Something happened."""
        self._journal.mark(event, words, stamp, **values)


def starts(seeds: Iterable[int], results: Sequence[Any], skips: Callable[[], bool]) -> Iterator[int]:
    """Each seed again and again until its episode is kept, or another start is asked for."""
    for seed in seeds:
        kept = len(results)
        skips()
        while True:
            yield seed
            if len(results) > kept or skips():
                break
