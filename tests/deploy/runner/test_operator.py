"""An operator beside a run: begins, takes over, lets go, labels, stops; and is missed when nobody is heard of."""

import itertools
import os
import pty
import termios
import time

import numpy as np
import pytest

from robolearn import cli
from robolearn.config import compose
from robolearn.deploy.runner.checks import LateCheck
from robolearn.deploy.runner.keys import TerminalKeys
from robolearn.deploy.runner.operated import OperatedActor, OperatedJournal, OperatedJudge, starts
from robolearn.deploy.runner.operator import Operator
from robolearn.deploy.runner.roles import Verdict
from robolearn.deploy.safety import Problem, State
from robolearn.deploy.teleop.device import OperatorInput
from robolearn.errors import UserError
from robolearn.learning.operate import make_device
from robolearn.nodes import to_dict
from tests.deploy.runner.doubles import CHAIN, HOME, MS, Runner, here

AWAY = np.float32([0.05, 0.0, 0.05, 0, 0, 0, 0, 0, 0, 0])
ASIDE = np.float32([0.0, 0.04, 0.0, 0, 0, 0, 0, 0, 0, 0])


class Hand:
    """A device of which a test says what it does; it asks for the tool's pose and ``way`` beside it."""

    def __init__(self):
        self.active, self.events, self.way, self.target, self.error = True, [], None, None, None
        self.status = None

    def open(self):
        """It is there."""

    def close(self):
        """It stays there."""

    def poll(self, now_ns, tool):
        if self.error is not None:
            raise self.error
        events, self.events = tuple(self.events), []
        following = self.status is None or self.status.paused or self.status.actor == "policy" or not self.active
        if following:
            self.target = None
        elif self.target is None and self.way is not None:
            self.target = tool + self.way
        target = tool if self.target is None else self.target
        return OperatorInput(target.copy(), self.active, events, now_ns)

    def show(self, status, pictures):
        self.status = status


class Operated(Runner):
    """A runner with somebody beside it; with no policy, somebody alone. ``hangs``: the device is not asked any more."""

    def __init__(self, policy=None, **options):
        self.hand, self.hangs, self._alone = Hand(), False, policy is None
        super().__init__(policy or (lambda *_: None), patience_s=float("inf"), **options)
        self.play(10)

    def crew(self):
        clock = lambda: self.now  # noqa: E731 - the test's time
        self.operator = Operator(self.hand, self.stops, self.look, has_policy=not self._alone, wanted=3, clock=clock)
        self.actor = OperatedActor(self.operator, None if self._alone else self.autonomy)
        late = [] if self._alone else [self.actor.spared(LateCheck(self.autonomy))]
        judge, journal = OperatedJudge(self.judge, self.operator), OperatedJournal(self.journal, self.operator, self.actor)
        return self.actor, judge, journal, [self.operator.problems, *late]

    def starts(self, seeds):
        return starts(seeds, self.episodes.results, self.operator.skips)

    def look(self):
        position, rotation = CHAIN.forward(self.robot.q)
        return {"tcp_pos": position, "tcp_rot6d": rotation[:2].ravel()}

    def between(self):
        if self.ticks:
            self.operator.see(self.ticks[-1], self.supervisor.fault)
        if not self.hangs:
            self.operator.turn()

    def press(self, *events, ms=100):
        self.hand.events += events
        return self.play(ms)


def policy(observation, seed, decision):
    return np.tile(here() + AWAY, (4, 1))


def test_nothing_begins_before_the_operator_says_so():
    runner = Operated(policy)
    runner.play(3000)
    assert runner.robot.sent == []
    assert runner.hand.status.phase == "ready"
    runner.press("record")
    assert ("begin", 7) in runner.journal.log
    assert runner.hand.status.phase == "recording"
    assert runner.supervisor.state is State.RUNNING


def test_an_operator_alone_moves_the_robot_and_every_step_is_theirs():
    runner = Operated()
    runner.hand.way = AWAY
    runner.press("record", ms=1000)
    assert len(runner.robot.sent) > 80
    assert not np.allclose(runner.robot.q, HOME, atol=0.01)
    assert runner.inference.asked == []
    assert runner.journal.interventions == [True] * len(runner.journal.steps)
    assert all(np.allclose(action[:3], (here() + AWAY)[:3], atol=1e-3) for _, action, _ in runner.journal.steps)
    assert np.diff([stamp for _, _, stamp in runner.journal.steps]).tolist() == [100 * MS] * (len(runner.journal.steps) - 1)


def test_what_is_recorded_is_what_was_followed_for_the_whole_step():
    runner = Operated()
    runner.hand.way = ASIDE
    runner.press("record", ms=50)
    begun = len(runner.ticks)
    for number in range(40):  # a hand that never rests
        runner.hand.target = here() + ASIDE * np.float32(number / 40)
        runner.play(30)
    followed = [tick.target for tick in runner.ticks[begun:] if tick.target is not None]
    recorded = {action.tobytes() for _, action, _ in runner.journal.steps}
    changes = sum(not np.array_equal(one, other) for one, other in itertools.pairwise(followed))
    assert len(recorded) >= 10
    assert changes <= len(runner.journal.steps)
    assert {target.tobytes() for target in followed[:-20]} <= recorded | {followed[0].tobytes()}


def test_a_takeover_is_followed_at_once_and_tagged():
    runner = Operated(policy)
    runner.press("record", ms=450)
    runner.hand.way = ASIDE
    asked = len(runner.inference.asked)
    runner.press("takeover", ms=30)
    assert runner.actor.intervening
    assert not np.allclose(runner.ticks[-1].target, here() + AWAY, atol=1e-3)
    runner.play(200)
    assert runner.ticks[-1].target[1] == pytest.approx(runner.hand.target[1])
    runner.play(500)
    assert len(runner.inference.asked) == asked  # the policy is not asked meanwhile
    assert runner.journal.interventions[0] is False
    assert runner.journal.interventions[-1] is True
    assert any(entry[0] == "intervention" for entry in runner.journal.log)


def test_let_go_the_policy_plans_anew_and_the_robot_waits_for_it_where_it_was_led():
    runner = Operated(policy)
    runner.press("record", ms=450)
    runner.hand.way = ASIDE
    runner.press("takeover", ms=520)
    led = runner.ticks[-1].target.copy()
    runner.inference.after = 12  # [ticks] that the policy takes
    before = len(runner.inference.asked)
    runner.press("release", ms=50)
    assert (runner.ticks[-1].target == led).all()
    runner.play(400)
    assert (runner.ticks[-1].target == here() + AWAY).all()
    history, _, decision = runner.inference.asked[before]
    assert decision == 0  # nothing of the old plan is left
    assert (history["joint_pos"][0] == history["joint_pos"][1]).all()
    assert runner.journal.interventions[-1] is False
    assert runner.supervisor.state is State.RUNNING


def test_a_policy_that_does_not_answer_can_be_taken_over_from():
    runner = Operated(policy)
    runner.press("record", ms=450)
    runner.inference.after = None
    runner.play(1000)
    assert runner.supervisor.state is State.HOLD
    runner.hand.way = ASIDE
    runner.press("takeover", ms=200)
    assert runner.supervisor.state is State.RUNNING
    assert runner.actor.intervening


@pytest.mark.parametrize("acts", ["policy", "operator"])
def test_a_device_that_falls_silent_pauses_the_robot_until_somebody_resumes(acts):
    runner = Operated(policy if acts == "policy" else None)
    runner.press("record", ms=1000)
    runner.hand.active = False
    runner.play(3000)
    assert runner.supervisor.state is State.HOLD  # for as long as it takes
    assert runner.command.motion.resting
    assert "does not answer" in runner.hand.status.paused
    runner.hand.active = True
    runner.play(500)
    assert runner.supervisor.state is State.HOLD
    runner.press("resume")
    assert runner.supervisor.state is State.RUNNING


def test_a_device_that_hangs_or_breaks_pauses_the_robot():
    runner = Operated(policy)
    runner.press("record", ms=1000)
    runner.hangs = True
    runner.play(400)
    assert runner.supervisor.state is State.RUNNING
    runner.play(400)
    assert runner.supervisor.state is State.HOLD
    assert "hangs" in runner.supervisor.log[-1].why
    runner.hangs = False
    runner.play(100)
    assert runner.supervisor.state is State.RUNNING


def test_a_device_that_raises_holds_the_robot_and_says_why():
    hand = Hand()
    hand.error = OSError("unplugged")
    operator = Operator(hand, None, lambda: {"tcp_pos": np.zeros(3), "tcp_rot6d": np.zeros(6)}, has_policy=False)
    operator._stage = "playing"
    operator.open()
    until = time.monotonic() + 10
    while not (found := list(operator.problems(0))) and time.monotonic() < until:
        time.sleep(0.01)
    operator.close()
    assert [(problem.words, problem.reaction) for problem in found] == [("the operator's device failed: OSError: unplugged", "wait")]


def test_a_target_that_is_not_finite_is_not_followed():
    runner = Operated()
    runner.hand.way = np.full(10, np.nan, np.float32)
    runner.press("record", ms=500)
    assert np.allclose(runner.robot.q, HOME, atol=1e-9)
    assert runner.journal.steps == []


def test_pause_holds_and_resume_goes_on_from_where_the_tool_is():
    runner = Operated()
    runner.hand.way = AWAY
    runner.press("record", ms=500)
    runner.press("pause", ms=1000)
    assert runner.supervisor.state is State.HOLD
    assert runner.hand.status.paused == "paused"
    steps = len(runner.journal.steps)
    at = runner.robot.q.copy()
    runner.hand.way = None
    runner.press("resume", ms=500)
    assert np.allclose(runner.robot.q, at, atol=2e-3)
    assert len(runner.journal.steps) > steps


def test_what_was_seen_before_a_pause_stands_beside_no_action_from_after_it():
    runner = Operated()
    runner.hand.way = AWAY
    runner.press("record", ms=530)
    wanted, paused = runner.hand.target, runner.now
    runner.press("pause", ms=1000)
    runner.hand.way = ASIDE
    runner.press("resume", ms=500)
    before = [action for _, action, stamp in runner.journal.steps if stamp < paused]
    assert len(before) >= 4
    np.testing.assert_allclose(before, np.tile(wanted, (len(before), 1)), atol=1e-6)


@pytest.mark.parametrize("label", ["success", "failure"])
def test_a_label_ends_the_episode_and_the_next_one_waits(label):
    runner = Operated(seeds=(1, 2))
    runner.press(label, ms=500)  # of no episode
    runner.press("record", ms=500)
    runner.press(label, ms=1000)
    assert [(result.seed, result.success) for result in runner.episodes.results] == [(1, label == "success")]
    assert runner.hand.status.phase == "ready"
    assert runner.hand.status.successes == (label == "success")
    assert runner.hand.status.episodes == 1
    assert runner.judge.prepared == [1, 2]
    runner.press("record", ms=500)
    assert runner.press("success", ms=1000)


def test_the_last_step_before_a_label_is_still_the_policys():
    runner = Operated(policy)
    runner.press("record", ms=1030)
    runner.press("success", ms=1000)
    assert runner.journal.interventions == [False] * len(runner.journal.steps)


def test_a_discarded_start_is_played_again_and_another_start_is_not():
    runner = Operated(seeds=(1, 2))
    runner.press("record", ms=300)
    runner.press("discard", ms=500)
    runner.press("record", ms=300)
    runner.press("reset", ms=500)
    assert runner.judge.prepared == [1, 1, 2]
    assert runner.journal.log.count(("discard",)) == 2
    assert runner.episodes.results == []


def test_an_emergency_stop_of_the_operator_is_latched_until_they_rearm():
    runner = Operated(seeds=(1, 2))
    runner.press("record", ms=500)
    runner.press("estop", ms=1000)
    assert runner.supervisor.state is State.FAULT
    assert runner.hand.status.paused.startswith("emergency stop")
    runner.press("record", ms=500)
    assert runner.supervisor.state is State.FAULT
    runner.press("rearm", ms=200)
    assert runner.supervisor.state is State.IDLE
    runner.press("record", ms=300)
    assert runner.supervisor.state is State.RUNNING
    assert [result.success for result in runner.episodes.results] == [False]


def test_leaving_ends_the_run_without_what_is_half_done():
    runner = Operated(seeds=(1, 2, 3))
    runner.press("record", ms=300)
    assert runner.press("quit", ms=3000)
    assert runner.episodes.results == []
    assert ("discard",) in runner.journal.log
    assert runner.command.standing


def test_leaving_between_episodes_ends_the_run():
    runner = Operated(seeds=(1, 2, 3))
    runner.play(100)
    assert runner.press("quit", ms=100)
    assert runner.robot.sent == []


def test_a_judge_that_knows_ends_the_episode_and_the_operator_is_told():
    runner = Operated(seeds=(1, 2))
    runner.press("record", ms=300)
    runner.judge.said = Verdict(over=True, success=True)
    runner.play(500)
    assert runner.hand.status.phase == "ready"
    assert runner.hand.status.message == "saved as a success"


def test_what_is_wrong_is_shown_and_the_episode_begins_when_it_has_passed():
    runner = Operated()
    runner.wrong = [Problem("stale camera", "camera front is 0.6 s old")]
    runner.press("record", ms=3000)
    assert runner.hand.status.message == "begins as soon as it can: camera front is 0.6 s old"
    assert runner.robot.sent == []
    runner.wrong = []
    runner.play(100)
    assert runner.supervisor.state is State.RUNNING
    runner.wrong = [Problem("stale camera", "camera front is 0.6 s old")]
    runner.play(100)
    assert runner.hand.status.paused == "the robot holds: camera front is 0.6 s old"


class Noted:
    def __init__(self):
        self.events = []

    def note(self, event):
        self.events.append(event)


def test_keys_of_the_terminal_are_heard_and_the_terminal_is_given_back():
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        noted = Noted()
        with TerminalKeys(noted, theirs) as keys:
            assert keys.hears
            assert not termios.tcgetattr(theirs)[3] & termios.ICANON
            os.write(ours, b"\x1b[D\x1bOC")  # arrows, whose letters mean nothing
            time.sleep(0.05)
            os.write(ours, b"\x1b[A \x1b")  # space behind an arrow, and Esc
            time.sleep(0.05)
            os.write(ours, b"x brSfdq")
            until = time.monotonic() + 10
            while len(noted.events) < 9 and time.monotonic() < until:
                time.sleep(0.01)
        assert noted.events == ["estop", "estop", "estop", "begin", "rearm", "success", "failure", "discard", "quit"]
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_the_terminal_is_given_back_after_a_mistake():
    ours, theirs = pty.openpty()
    try:
        before = termios.tcgetattr(theirs)
        with pytest.raises(UserError), TerminalKeys(Noted(), theirs):
            raise UserError("no robot")
        assert termios.tcgetattr(theirs) == before
    finally:
        os.close(ours)
        os.close(theirs)


def test_where_there_is_no_terminal_nothing_is_heard():
    read, write = os.pipe()
    try:
        with TerminalKeys(Noted(), read) as keys:
            assert not keys.hears
    finally:
        os.close(read)
        os.close(write)


def test_collecting_on_a_robot_is_a_run_with_a_device():
    assert cli.on_robot(["source=operator", "robot=franka", "store=a.zarr"]) == ["device=browser", "robot=franka", "store=a.zarr"]
    assert cli.on_robot(["robot=franka", "device=gamepad"]) == ["robot=franka", "device=gamepad"]
    with pytest.raises(UserError, match="takes source=operator"):
        cli.on_robot(["robot=franka", "source=expert"])


def test_a_run_makes_every_device_that_collecting_has():
    run, collect = to_dict(compose("run")), to_dict(compose("collect", ["store=a.zarr"]))
    assert set(run["devices"]) == set(collect["devices"])
    assert run["devices"]["browser"]["emergency"]  # a robot has what a simulation does not need
    with pytest.raises(UserError, match="no device 'brouser'; there are browser, keyboard"):
        make_device({**run, "device": "brouser"})


@pytest.mark.parametrize("device", ["browser", "keyboard", "terminal", "spacemouse", "gamepad"])
def test_a_scene_is_given_to_the_device_that_draws_it_and_to_no_other(device):
    scene = object()
    made = make_device({**to_dict(compose("run")), "device": device}, scene)
    assert (getattr(made, "scene", None) is scene) == (device == "browser")
