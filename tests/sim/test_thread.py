"""The screw: a pin that has entered goes down by turning, comes out by turning back, and neither falls through nor slips off."""

import numpy as np
import pytest

from tests.sim.worlds import AT_MOUTH, LegBench

PITCH = 0.007
TWIST = 1.2  # [rad]; the thread's beginning lies within 0.7 to 1.7 turns above the seat
CAUGHT = PITCH * (1 + TWIST / (2 * np.pi))


def caught():
    """A leg that the thread holds, unloaded."""
    bench = LegBench(CAUGHT, TWIST)
    bench.update()
    bench.act(0.5, push=0.0)
    assert bench.engaged
    return bench


@pytest.mark.parametrize("push", [1.0, 10.0])
def test_a_leg_pushed_down_is_caught_and_does_not_seat_without_turning(push):
    bench = LegBench(AT_MOUTH + 0.001, TWIST)
    heights, twists = bench.act(6.0, push=-push)
    assert bench.engaged
    assert abs(twists[-1] - TWIST) < 0.05
    assert abs(heights[-1] - CAUGHT) < 0.0003  # the constraint gives 0.06 mm under 1 N, 0.15 mm under 10 N


def test_height_follows_the_pitch_while_it_is_turned_and_one_turn_and_a_bit_seats_it():
    bench = caught()
    heights, twists = bench.act(3.8, push=0.0, turn_rate=-2.0)
    above = heights > 0.0005
    law = PITCH * (1 + twists / (2 * np.pi))
    np.testing.assert_allclose(heights[above], law[above], atol=0.0001)
    assert above.sum() > 25
    assert abs(heights[-1]) < 0.0005


def test_a_light_push_with_one_turn_and_a_bit_seats_it():
    bench = caught()
    heights, _ = bench.act(3.8, push=-0.5, turn_rate=-2.0)
    assert abs(heights[-1]) < 0.0005


def test_turning_back_releases_the_leg():
    bench = caught()
    bench.act(1.5, push=0.0, turn_rate=4.0)
    assert not bench.engaged
    heights, _ = bench.act(0.5, push=0.5)
    assert heights[-1] > CAUGHT + 0.01


def test_an_engaged_leg_resists_being_pulled_out_and_a_free_one_does_not():
    pulled = {}
    for thread in (True, False):
        bench = LegBench(CAUGHT, TWIST)
        if thread:
            bench.update()
        else:
            bench.update = lambda: None
        pulled[thread] = bench.act(2.0, push=10.0 if thread else 1.0)[0][-1]
        assert bench.engaged is thread
    assert pulled[True] < CAUGHT + 0.003
    assert pulled[False] > CAUGHT + 0.05


@pytest.mark.parametrize("twist", [-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0])
def test_a_leg_driven_deep_within_one_control_step_is_lifted_back_to_the_threads_beginning(twist):
    bench = LegBench(0.001, twist)
    bench.update()
    heights, _ = bench.act(1.0, push=0.0)
    turns = (twist / (2 * np.pi) - 0.7) % 1 + 0.7
    assert heights[-1] == pytest.approx(PITCH * turns, abs=0.0003)


@pytest.mark.parametrize(("sideways", "lean"), [(0.008, 0.0), (0.0, np.radians(30))])
def test_a_pin_beside_the_hole_or_a_leaning_leg_is_not_caught(sideways, lean):
    bench = LegBench(CAUGHT, TWIST)
    pose = bench.view.pairs(bench.thread.pairs)
    pose.position[..., 0] += sideways
    cos, sin = np.cos(lean), np.sin(lean)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]]) @ pose.rotation
    bench.thread.update(type(pose)(pose.position, rotation))
    assert not bench.engaged


def test_a_leg_that_lies_far_below_a_top_in_the_air_is_not_caught():
    bench = LegBench(CAUGHT, TWIST)
    pose = bench.view.pairs(bench.thread.pairs)
    hole = bench.thread._seat.rotation[..., 1]  # its axis, which points out of the top's mouth
    bench.thread.update(type(pose)(pose.position - 0.2 * hole, pose.rotation))
    assert not bench.engaged
