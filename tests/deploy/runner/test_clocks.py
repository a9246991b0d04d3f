"""Whether two clocks agree, and by how much a jump of one of them parted them."""

import time

import pytest
import yaml

from robolearn.deploy.drills.rig import CONF, options_of
from robolearn.deploy.runner.clocks import RobotClock
from robolearn.deploy.runner.commanding import make_command
from robolearn.deploy.sensors.sources import JointSource
from robolearn.errors import UserError
from robolearn.nodes import instantiate

MS = 1_000_000
JOINTS = tuple(f"fr3_joint{number}" for number in range(1, 8))


class Hearing:
    """Joints that are heard every 30 ms.

    Args:
        given: to the clock that looks at them.
    """

    def __init__(self, *given, **rest):
        self.now, self.jumps = 10**12, 0
        self.clock = RobotClock(*given, jumps=lambda: self.jumps, **rest)

    def hear(self, *ages, jump=0):
        """New joints of these ages [ms]; with the first, our clock jumps [ms]."""
        self.jumps += jump * MS
        self.now += jump * MS
        for age in ages:
            self.now += 30 * MS
            self.clock.look(self.now, self.now - age * MS)

    def words(self):
        return [problem.words for problem in self.clock(self.now)]


@pytest.fixture
def hearing():
    return Hearing(0.02)


USUAL = (7, 3, 5, 9) * 5
BEFORE_JUMP = (-97, -93, -90, -87)  # measured before a jump back of both by 100 ms, heard after it


def older(milliseconds):
    return [age + milliseconds for age in USUAL]


def test_a_jump_of_ours_alone_shows_in_the_age_of_the_joints(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*older(120), jump=120)
    assert hearing.clock.behind == 120 * MS
    assert hearing.words() == []


def test_a_jump_of_both_does_not(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*BEFORE_JUMP, *USUAL, jump=-100)
    assert hearing.clock.behind == 0
    assert hearing.words() == []


def test_a_clock_that_is_put_right_agrees_again(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*older(-100), jump=-100)
    assert hearing.clock.behind == -100 * MS
    hearing.hear(*USUAL, jump=100)
    assert hearing.clock.behind == 0
    assert hearing.words() == []


def test_a_jump_that_the_robots_clock_follows_later_is_forgotten(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*older(50), jump=50)
    assert hearing.clock.behind == 50 * MS
    hearing.hear(*USUAL, *USUAL, *USUAL)
    assert hearing.clock.behind == 0
    assert hearing.words() == []


def test_two_jumps_in_a_row_count_as_one(hearing):
    hearing.hear(*USUAL)
    hearing.hear(43, 43, 43, jump=40)
    hearing.hear(*older(90), jump=50)
    assert hearing.clock.behind == 90 * MS


def test_joints_that_are_late_from_a_jump_on_tell_nothing_until_they_are_in_time(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*older(45), jump=5)
    assert hearing.clock.behind == 0
    assert "alike enough" in hearing.words()[0]
    hearing.hear(*older(5), *older(5), *older(5))
    assert hearing.words() == []


def test_nothing_is_known_until_enough_was_heard_since_the_beginning_or_a_jump(hearing):
    assert "not heard for long enough" in hearing.words()[0]
    hearing.hear(*USUAL)
    assert hearing.words() == []
    hearing.hear(3, jump=30)
    assert "not heard for long enough" in hearing.words()[0]
    hearing.hear(*older(30))
    assert hearing.words() == []


def test_the_same_joints_count_once(hearing):
    for tick in range(100):
        hearing.clock.look(hearing.now + tick * 10 * MS, hearing.now)
    assert not hearing.clock.known


@pytest.mark.parametrize(("age", "words"), [(45, "0.045 s old when they come"), (-45, "0.045 s ahead of our clock")])
def test_clocks_that_never_agreed_are_none_to_stamp_trajectories_on(hearing, age, words):
    hearing.hear(-3, *[age, age + 9] * 15)
    assert words in hearing.words()[0]
    assert "robot.arm.stamped=false" in hearing.words()[0]


def test_what_no_jump_accounts_for_is_a_problem_after_a_jump_too(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*USUAL, jump=120)
    hearing.hear(*[95] * 100)
    assert hearing.clock.behind == 0
    assert "0.095 s old" in hearing.words()[0]


def test_joints_without_stamps_tell_nothing():
    bare = Hearing(0.02, stamped=lambda: False)
    bare.hear(*USUAL)
    assert "have no stamps" in bare.words()[0]


def test_clocks_that_agree_or_do_not_matter_are_no_problem():
    slow, unstamped = Hearing(0.02, 0.04), Hearing()
    slow.hear(*[45] * 30)
    unstamped.hear(*[80] * 30)
    unstamped.hear(*[250] * 30, jump=100)
    assert (slow.words(), unstamped.words(), unstamped.clock.known) == ([], [], True)


def test_a_robot_whose_clock_is_said_not_to_be_ours_gets_no_stamped_trajectories():
    stranger = instantiate({**options_of("sim_franka"), "joint_states": JointSource("/joint_states", JOINTS, stamped=False)})
    safety = yaml.safe_load((CONF / "run.yaml").read_text())["safety"]
    with pytest.raises(UserError, match=r"robot\.arm\.stamped=false"):
        make_command(stranger, safety, None, None, [], clock=time.time_ns)
