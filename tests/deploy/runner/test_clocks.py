"""Whether two clocks agree, and by how much a jump of one of them parted them."""

import pytest

from robolearn.deploy.runner.clocks import ENOUGH, RobotClock

MS = 1_000_000


class Hearing:
    """Joints that are heard every 30 ms.

    Args:
        clock: that looks at them.
    """

    def __init__(self, clock):
        self.clock, self.now = clock, 10**12

    def hear(self, *ages, jumped=False):
        """New joints of these ages [ms]; with the first, our clock jumps."""
        for place, age in enumerate(ages):
            self.now += 30 * MS
            self.clock.look(self.now, self.now - age * MS, jumped and place == 0)

    def words(self):
        return [problem.words for problem in self.clock(self.now)]


@pytest.fixture
def hearing():
    return Hearing(RobotClock(0.02))


USUAL = (7, 3, 5, 9) * 5
BEFORE_JUMP = (-97, -93, -90, -87)  # measured before a jump back of both by 100 ms, heard after it


def test_a_jump_of_ours_alone_shows_in_the_age_of_the_joints(hearing):
    hearing.hear(*USUAL)
    hearing.hear(3, *(age + 120 for age in USUAL), jumped=True)
    assert hearing.clock.behind == 120 * MS
    assert hearing.words() == []


def test_a_jump_of_both_does_not(hearing):
    hearing.hear(*USUAL)
    hearing.hear(*BEFORE_JUMP, *USUAL, jumped=True)
    assert hearing.clock.behind == 0


def test_a_clock_that_is_put_right_agrees_again(hearing):
    hearing.hear(*USUAL)
    hearing.hear(3, *(age - 100 for age in USUAL), jumped=True)
    assert hearing.clock.behind == -100 * MS
    hearing.hear(3, *USUAL, jumped=True)
    assert hearing.clock.behind == 0
    assert hearing.words() == []


def test_two_jumps_in_a_row_count_as_one(hearing):
    hearing.hear(*USUAL)
    hearing.hear(3, 43, 43, 43, jumped=True)
    hearing.hear(43, *(age + 90 for age in USUAL), jumped=True)
    assert hearing.clock.behind == 90 * MS


def test_nothing_is_known_until_enough_was_heard_since_the_beginning_or_a_jump(hearing):
    assert "not heard for long enough" in hearing.words()[0]
    hearing.hear(*USUAL)
    assert hearing.words() == []
    hearing.hear(3, jumped=True)
    assert "not heard for long enough" in hearing.words()[0]
    hearing.hear(*USUAL)
    assert hearing.words() == []


def test_the_same_joints_count_once(hearing):
    for _ in range(2 * ENOUGH):
        hearing.clock.look(hearing.now, hearing.now, False)
    assert not hearing.clock.known


@pytest.mark.parametrize(("age", "words"), [(45, "0.045 s old when they come"), (-45, "0.045 s ahead of our clock")])
def test_clocks_that_never_agreed_are_none_to_stamp_trajectories_on(hearing, age, words):
    hearing.hear(-3, *[age, age + 9] * 15)
    assert words in hearing.words()[0]
    assert "robot.arm.stamped=false" in hearing.words()[0]


def test_what_no_jump_accounts_for_is_a_problem_after_a_jump_too(hearing):
    hearing.hear(*USUAL)
    hearing.hear(3, *USUAL, jumped=True)
    hearing.hear(*[95] * 100)
    assert hearing.clock.behind == 0
    assert "0.095 s old" in hearing.words()[0]


def test_clocks_that_agree_or_do_not_matter_are_no_problem():
    slow, unstamped = Hearing(RobotClock(0.02, latency_s=0.04)), Hearing(RobotClock())
    slow.hear(*[45] * 30)
    unstamped.hear(*[80] * 30)
    unstamped.hear(3, *[250] * 30, jumped=True)
    assert (slow.words(), unstamped.words(), unstamped.clock.behind) == ([], [], 0)
