import pytest

from robolearn.deploy.runner.ticker import Ticker
from robolearn.errors import UserError

MS = 1_000_000


class Time:
    def __init__(self):
        self.now, self.oversleep = 0, 0

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.now += round(seconds * 1e9) + self.oversleep


def make(rate=100.0):
    time = Time()
    return time, Ticker(rate, clock=time.clock, sleep=time.sleep)


def test_ticks_are_on_the_grid_whatever_the_work_between_takes():
    time, ticker = make()
    moments = []
    for work in (1, 9, 3, 5):
        assert ticker.wait() == 0
        moments.append(time.now)
        time.now += work * MS
    assert moments == [10 * MS, 20 * MS, 30 * MS, 40 * MS]
    assert ticker.missed == 0


def test_lateness_is_what_the_sleep_took_too_long_and_does_not_add_up():
    time, ticker = make()
    time.oversleep = 2 * MS
    assert [ticker.wait() for _ in range(3)] == [2 * MS] * 3
    assert time.now == 32 * MS


def test_what_was_missed_is_counted_and_not_made_up_for():
    time, ticker = make()
    ticker.wait()
    time.now += 35 * MS  # ticks at 20, 30 and 40 ms are gone; that of 40 is 5 ms late
    assert ticker.wait() == 5 * MS
    assert ticker.missed == 2
    ticker.wait()
    assert time.now == 50 * MS


def test_a_rate_is_positive():
    with pytest.raises(UserError, match="rate_hz must be above 0, got 0"):
        Ticker(0)
