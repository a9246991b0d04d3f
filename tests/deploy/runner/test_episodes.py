import math
import time

import numpy as np
import pytest

from robolearn.deploy.runner.judges import OperatorJudge
from robolearn.deploy.runner.roles import Verdict
from robolearn.deploy.safety import Problem, State
from robolearn.errors import UserError
from tests.deploy.runner.doubles import HOME, MS, Runner, here

AWAY = np.float32([0.05, 0.0, 0.05, 0, 0, 0, 0, 0, 0, 0])
CLOSE = np.float32([0, 0, 0, 0, 0, 0, 0, 0, 0, 2])


def stay(observation, seed, decision):
    return np.tile(here(), (4, 1))


def move(observation, seed, decision):
    return np.tile(here() + AWAY, (4, 1))


def test_an_episode_is_reset_played_and_judged():
    runner = Runner(stay)
    runner.play(1000)
    runner.judge.said = Verdict(over=True, success=True, stages={"success": True})
    assert runner.play()
    assert runner.judge.prepared == [7]
    assert [(result.seed, result.success) for result in runner.episodes.results] == [(7, True)]
    assert ("finish", True, True, False, "") in runner.journal.log


def test_the_policy_steps_at_its_own_rate_and_every_step_is_written_down_with_what_came_of_it():
    runner = Runner(move, max_steps=6)
    assert runner.play()
    stamps = [stamp for _, _, stamp in runner.journal.steps]
    assert np.diff(stamps).tolist() == [100 * MS] * 5
    assert all((action == here() + AWAY).all() for _, action, _ in runner.journal.steps)
    assert ("finish", False, False, True, "time limit") in runner.journal.log


def test_chunks_are_asked_with_the_history_the_seed_and_the_decision():
    runner = Runner(move, max_steps=9)
    runner.play()
    assert [(seed, decision) for _, seed, decision in runner.inference.asked] == [(7, 0), (7, 1), (7, 2)]
    first, second = (history["joint_pos"] for history, _, _ in runner.inference.asked[:2])
    assert first.shape == (2, 7)
    assert (first[0] == first[1]).all()  # the first observation stands for what was before
    assert not (second[0] == second[1]).all()  # then it moves


def test_the_arm_goes_to_the_target():
    runner = Runner(move, max_steps=30)
    runner.play()
    assert not np.allclose(runner.robot.q, HOME, atol=0.01)
    assert runner.command.standing


def test_a_residual_changes_every_action_and_knows_how_far_the_chunk_is():
    runner = Runner(stay, residual=True, max_steps=8)
    runner.play()
    assert [phase for _, phase in runner.inference.refined] == [0, 1, 2, 3, 0, 1, 2, 3]
    assert all(np.allclose(action, here() + 0.001, atol=1e-6) for _, action, _ in runner.journal.steps)


def test_a_residual_that_is_late_leaves_the_base_alone():
    runner = Runner(stay, residual=True, max_steps=4)
    submit = runner.inference.submit_refine

    def never(observation, base_action, phase):
        runner.inference.after, before = None, runner.inference.after
        number = submit(observation, base_action, phase)
        runner.inference.after = before
        return number

    runner.inference.submit_refine = never
    runner.play()
    assert runner.autonomy.counts["not refined: late"] == 4
    assert all((action == here()).all() for _, action, _ in runner.journal.steps)


@pytest.mark.parametrize("residual", [False, True])
def test_a_slow_gripper_closes_when_the_policy_wants_it_closed(residual):
    def closing(observation, seed, decision):
        chunk = stay(observation, seed, decision)
        chunk[3, -1] = 1.0
        return chunk

    def closed(ahead):
        runner = Runner(closing, residual=residual, gripper_ahead=ahead, max_steps=4)
        runner.play()
        actions = np.array([action for _, action, _ in runner.journal.steps])
        np.testing.assert_allclose(actions[:, :-1], np.tile(here()[:-1] + 0.001 * residual, (4, 1)), atol=1e-6)
        grips = [grip for grip in runner.robot.grips if grip is not None]
        return (actions[:, -1] > 0).tolist(), sum(grips)

    told, ticks = closed(0)
    assert told == [False, False, False, True]
    early, earlier = closed(2)
    assert early == [False, True, True, True]  # and stays closed where the chunk ends
    assert earlier - ticks == 20  # ticks of 10 ms in two steps
    assert closed(9)[0] == [True] * 4


def test_why_no_action_comes_is_said():
    runner = Runner(move)
    runner.play(500)
    runner.inference.broken = "the connection to ws://there broke"
    runner.play(3000)
    assert "the connection to ws://there broke" in runner.supervisor.fault


def test_nothing_moves_until_the_first_action_is_there():
    runner = Runner(move, after=15)  # 150 ms
    runner.play(140)
    assert runner.supervisor.state is State.RUNNING
    assert np.allclose(runner.robot.q, HOME, atol=1e-9)
    runner.play(500)
    assert not np.allclose(runner.robot.q, HOME, atol=1e-3)


def test_a_policy_that_falls_silent_makes_the_robot_hold_and_then_stop_for_good():
    runner = Runner(move, max_steps=100)
    runner.play(500)
    runner.inference.after = None
    runner.play(3000)
    assert runner.supervisor.state is State.FAULT
    assert "no action for" in runner.supervisor.fault
    assert runner.command.standing
    assert runner.episodes.results[0].reason.startswith("fault: no action for")
    assert runner.episodes.results[0].success is False


def test_a_policy_that_comes_back_is_followed_again():
    runner = Runner(move, max_steps=100)
    runner.play(500)
    runner.inference.after = None
    while runner.supervisor.state is not State.HOLD:
        assert not runner.play(10)
    runner.inference.after = 0
    runner.play(300)
    assert runner.supervisor.state is State.RUNNING
    assert [entry.after for entry in runner.supervisor.log] == [State.RUNNING, State.HOLD, State.RUNNING]


def test_an_answer_that_comes_while_the_robot_holds_for_something_else_is_not_followed():
    runner = Runner(move, max_steps=100)
    runner.play(300)
    runner.inference.after = None
    while runner.supervisor.state is not State.HOLD:
        runner.play(10)
    runner.inference.after, asked = 20, len(runner.inference.asked)
    while len(runner.inference.asked) == asked:
        runner.play(10)
    runner.wrong = [Problem("deadman", "the deadman is not held", "wait")]
    runner.play(5000)
    runner.inference.after, runner.wrong, grips = None, [], len(runner.robot.grips)
    runner.play(300)
    assert len(runner.robot.grips) == grips
    assert runner.autonomy.target is None


def test_nan_chunks_are_never_followed_and_stop_the_robot():
    runner = Runner(lambda *_: np.full((4, 10), np.nan, np.float32), max_steps=100)
    runner.play(4000)
    assert runner.supervisor.state is State.FAULT
    assert np.allclose(runner.robot.q, HOME, atol=1e-9)
    assert runner.autonomy.counts["refused chunks: not finite"] >= 1


def test_a_stale_sensor_holds_the_robot_and_the_plan_is_made_anew():
    runner = Runner(move, max_steps=100)
    runner.play(300)
    asked = len(runner.inference.asked)
    runner.wrong = [Problem("stale camera", "camera front is 0.6 s old")]
    runner.play(100)
    assert runner.supervisor.state is State.HOLD
    assert len(runner.inference.asked) == asked  # nothing is asked of what is old
    runner.wrong = []
    runner.play(100)
    assert runner.supervisor.state is State.RUNNING
    assert runner.inference.asked[-1][2] == 0


def test_an_emergency_stop_ends_the_episode_and_waits_for_somebody():
    runner = Runner(move, max_steps=100)
    runner.play(300)
    runner.stops.found = [Problem("e-stop", "e-stop pressed", "stop")]
    assert not runner.play(1000)
    assert runner.supervisor.state is State.FAULT
    runner.stops.pending = ["rearm"]
    runner.play(50)
    assert runner.supervisor.state is State.FAULT  # it is still pressed
    assert any(entry[0] == "not re-armed" for entry in runner.journal.log)
    runner.stops.found, runner.stops.pending = [], ["rearm"]
    assert runner.play(100)


def test_a_run_that_ends_by_a_fault_says_so():
    runner = Runner(move, on_fault="end")
    runner.play(300)
    runner.stops.found = [Problem("e-stop", "e-stop pressed", "stop")]
    with pytest.raises(UserError, match="ended by a fault: e-stop pressed"):
        runner.play(1000)
    assert len(runner.episodes.results) == 1


def test_an_arm_that_does_not_follow_is_stopped():
    runner = Runner(lambda *_: np.tile(here() + 4 * AWAY, (4, 1)), max_steps=100)
    runner.play(100)
    runner.robot.stuck = True
    runner.play(4000)
    assert runner.supervisor.state is State.FAULT
    assert "from where it should be" in runner.supervisor.fault


def test_the_operator_says_how_it_went():
    runner = Runner(stay)
    runner.play(300)
    runner.stops.pending = ["success"]
    assert runner.play()
    assert runner.episodes.results[0].success is True


def test_a_discarded_episode_leaves_no_result():
    runner = Runner(stay)
    runner.play(300)
    runner.stops.pending = ["discard"]
    assert runner.play()
    assert runner.episodes.results == []
    assert ("discard",) in runner.journal.log


def test_a_scene_that_never_becomes_ready_ends_the_run():
    runner = Runner(stay)
    runner.judge.ready = False
    with pytest.raises(UserError, match=r"the scene of seed 7 was not ready within 1 s; is .robolearn sim-robot. running"):
        runner.play(2000)


def test_a_person_takes_as_long_as_it_takes_to_set_a_scene_and_nothing_moves_meanwhile():
    runner = Runner(stay, seeds=(1, 2), max_steps=4, scene_s=math.inf)
    runner.judge.ready = False
    runner.play(5000)
    assert (runner.robot.sent, runner.journal.log) == ([], [])
    runner.judge.ready = True
    assert runner.play()
    assert len(runner.episodes.results) == 2


class Asked:
    """A person's judge, of whom a test says ``begins``."""

    def __init__(self):
        self.said, self.asked = [], 0
        self.judge = OperatorJudge(lambda: bool(self.said and self.said.pop()), self.ask)

    def ask(self):
        self.asked += 1

    def runner(self, **options):
        runner = Runner(move, scene_s=math.inf, **options)
        runner.episodes._judge = self.judge
        runner.play(100)
        return runner


def test_after_an_emergency_stop_a_person_begins_anew_whatever_was_said_before():
    person = Asked()
    runner = person.runner()
    runner.stops.found = [Problem("e-stop", "e-stop pressed", "stop")]
    runner.play(100)
    person.said.append(True)  # while the fault is latched
    runner.play(100)
    runner.stops.found, runner.stops.pending = [], ["rearm"]
    runner.play(1000)
    assert (runner.supervisor.state, runner.robot.sent, person.asked) == (State.IDLE, [], 2)
    person.said.append(True)
    runner.play(1000)
    assert runner.supervisor.state is State.RUNNING


def test_a_person_is_told_what_is_wrong_and_asked_again():
    person, told = Asked(), []
    runner = person.runner(tell=lambda event, words: told.append((event, words)))
    runner.wrong = [Problem("deadman", "the deadman is not held", "wait")]
    person.said.append(True)
    runner.play(2000)
    assert told == [("not begun", "the deadman is not held")]
    runner.wrong = []
    runner.play(1000)
    assert (runner.supervisor.state, runner.robot.sent, person.asked) == (State.IDLE, [], 2)


def test_what_a_person_has_stopped_is_not_rearmed_by_itself_and_a_person_can():
    runner = Runner(move, max_steps=100, on_fault="rearm")
    runner.play(300)
    runner.stops.found = [Problem("e-stop", "e-stop pressed", "stop")]
    runner.play(1000)
    runner.stops.found = []  # let go
    runner.play(1000)
    assert runner.supervisor.state is State.FAULT
    runner.stops.pending = ["rearm"]
    assert runner.play(100)
    assert runner.supervisor.state is State.IDLE


def test_other_faults_of_a_simulated_robot_are_rearmed_by_themselves():
    runner = Runner(move, max_steps=100, on_fault="rearm")
    runner.play(300)
    runner.wrong = [Problem("driver", "the robot reports a reflex", "stop")]
    runner.play(100)
    runner.wrong = []
    assert runner.play(1000)
    assert runner.supervisor.state is State.IDLE


def pressed_amid_a_reflex():
    runner = Runner(move, max_steps=100, on_fault="rearm")
    runner.play(300)
    runner.wrong = [Problem("driver", "the robot reports a reflex", "stop")]
    runner.play(500)
    runner.stops.found = [Problem("e-stop", "e-stop pressed", "stop")]
    return runner


def test_an_emergency_stop_amid_another_fault_is_not_rearmed_by_itself_either():
    runner = pressed_amid_a_reflex()
    runner.play(100)
    runner.wrong, runner.stops.found = [], []  # both are over
    runner.play(1000)
    assert (runner.supervisor.state, runner.supervisor.fault) == (State.FAULT, "e-stop pressed")
    runner.stops.pending = ["rearm"]
    assert runner.play(100)


def test_an_emergency_stop_that_only_a_look_between_ticks_saw_counts():
    runner = pressed_amid_a_reflex()
    runner.command.look(runner.now)  # as re-arming does
    runner.wrong, runner.stops.found = [], []
    runner.play(1000)
    assert (runner.supervisor.state, runner.supervisor.fault) == (State.FAULT, "e-stop pressed")
    assert ("fault", "e-stop pressed") in runner.journal.log


def test_a_drivers_fault_between_episodes_is_recovered_when_somebody_rearms():
    recovered = []
    runner = Runner(stay, recover=lambda: recovered.append(True), scene_s=math.inf)
    runner.judge.ready = False
    runner.wrong = [Problem("driver", "the robot reports a reflex", "stop")]
    runner.play(100)
    runner.stops.pending = ["rearm"]
    for _ in range(300):
        runner.play(10)
        time.sleep(0.001)  # the recovery has a thread of its own
    assert recovered == [True]
    assert any(entry[0] == "not re-armed" and "reflex" in entry[1] for entry in runner.journal.log)  # it still is


def test_a_robot_that_is_not_sound_is_not_begun_with():
    runner = Runner(stay)
    runner.wrong = [Problem("stale joints", "the joints are 3 s old")]
    with pytest.raises(UserError, match="not begun with seed 7: the joints are 3 s old"):
        runner.play(2000)
    assert runner.robot.sent == []


def test_the_gripper_does_what_the_action_says():
    runner = Runner(lambda *_: np.tile(here() + CLOSE, (4, 1)), max_steps=3)
    runner.play()
    assert runner.robot.grips[0] is None  # what was sent before is forgotten
    assert set(runner.robot.grips[1:]) == {True}


def test_a_dry_run_sends_nothing():
    runner = Runner(move, max_steps=5)
    runner.command.dry_run = True
    assert runner.play()
    assert runner.robot.sent == []
    assert runner.robot.grips == [None]
    assert len(runner.journal.steps) == 5


def test_episodes_follow_each_other():
    runner = Runner(stay, seeds=(1, 2, 3), max_steps=4)
    assert runner.play()
    assert runner.judge.prepared == [1, 2, 3]
    assert [result.reason for result in runner.episodes.results] == ["time limit"] * 3


def test_an_episode_does_not_begin_with_what_was_told_of_the_scene_before():
    runner = Runner(move)
    runner.robot.delay = 50 * MS
    runner.play(40)
    assert runner.robot.sent == []
    runner.play(200)
    assert runner.robot.sent
