"""Which of two clocks jumped."""

from robolearn.deploy.runner.clocks import RobotClock

MS = 1_000_000


def heard(clock, ages, jumped=False):
    """Ticks, 60 ms apart, in which joints of these ages are heard [ms]; in the first, the clock jumps."""
    for tick, age in enumerate(ages):
        now = 10**12 + 60 * MS * tick
        clock.look(now, now - age * MS, jumped and tick == 0)


def test_clocks_that_never_jumped_agree_however_old_joints_are():
    clock = RobotClock()
    clock.look(10**12, None, False)
    assert clock.behind == 0
    heard(clock, [3, 7, 3])
    heard(clock, [90, 95, 90])
    assert clock.behind == 0


def test_a_jump_of_ours_alone_shows_in_the_youngest_joints():
    clock = RobotClock()
    heard(clock, [7, 3, 5])
    heard(clock, [3, 127, 127, 123, 125], jumped=True)
    assert clock.behind == 120 * MS


def test_a_jump_of_both_does_not():
    clock = RobotClock()
    heard(clock, [7, 3, 5])
    heard(clock, [-97, -93, 6, 4, 9], jumped=True)  # the first two were measured before it
    assert clock.behind == 0


def test_a_clock_that_is_put_right_agrees_again():
    clock = RobotClock()
    heard(clock, [7, 3, 5])
    heard(clock, [3, -93, -97, -95], jumped=True)
    assert clock.behind == -100 * MS
    heard(clock, [-97, -97, 3, 4], jumped=True)
    assert clock.behind == 0


def test_a_jump_before_anything_was_heard_tells_nothing():
    clock = RobotClock()
    clock.look(10**12, None, True)
    heard(clock, [123, 125])
    assert clock.behind == 0
