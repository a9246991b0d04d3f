"""Whatever an operator's hand does, what goes out is slow enough and stays near the tool."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.deploy.teleop.gizmo import UPRIGHT, Gizmo
from robolearn.deploy.teleop.steering import Follower, Heartbeat, Integrator, Limits, pulled
from robolearn.errors import UserError
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix

DOWN = np.diag([1.0, -1.0, -1.0])
TOOL = np.concatenate([[0.4, 0.0, 0.2], rot6d_from_matrix(DOWN), [-1.0]]).astype(np.float32)
MS = 1_000_000


def pose(position, turn=(0.0, 0.0, 0.0), gripper=-1.0):
    return np.concatenate([position, rot6d_from_matrix(matrix_from_rotvec(np.array(turn, float)) @ DOWN), [gripper]]).astype(np.float32)


def angle_between(one, other):
    first, second = (matrix_from_rot6d(each[3:9].astype(float)) for each in (one, other))
    return np.linalg.norm(rotvec_from_matrix(first @ second.T))


vectors = st.tuples(*[st.floats(-3, 3)] * 3).map(np.array)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(vectors, vectors, st.integers(0, 3000)), min_size=1, max_size=8))
def test_a_follower_never_jumps_and_never_leaves_the_tool(wishes):
    limits = Limits()
    follower, now, last = Follower(limits), 0, TOOL
    follower.rest(0, TOOL)
    for position, turn, wait in wishes:
        now += wait * MS
        target = follower.follow(pose(position, turn), now, TOOL)
        elapsed = min(wait / 1000, 0.2)
        assert np.linalg.norm(target[:3] - last[:3]) <= limits.speed * elapsed + 1e-6
        assert angle_between(target, last) <= limits.turning * elapsed + 1e-3
        assert np.linalg.norm(target[:3] - TOOL[:3]) <= limits.lead + 1e-6
        assert angle_between(target, TOOL) <= limits.turning_lead + 1e-3
        last = target


def test_a_follower_gets_where_it_is_wanted():
    follower, tool, now = Follower(Limits()), TOOL.copy(), 0
    wanted = pose([0.5, 0.1, 0.1], [0.0, 0.0, 0.4], 1.0)
    for _ in range(60):
        now += 100 * MS
        tool = pulled(tool, follower.follow(wanted, now, tool), 0.02, 0.2)
    np.testing.assert_allclose(tool, wanted, atol=1e-4)


def test_pulling_goes_the_straight_way_by_hand():
    half = pulled(pose([0, 0, 0]), pose([0.1, 0, 0], [0, 0, 0.2], 1.0), 0.05, 0.1)
    np.testing.assert_allclose(half, pose([0.05, 0, 0], [0, 0, 0.1], 1.0), atol=1e-6)


def test_a_hand_that_rests_within_the_deadband_moves_nothing_and_full_deflection_goes_at_full_speed():
    integrator = Integrator(Limits(speed=0.2, turning=1.0), deadband=0.1)
    integrator.rest(0, TOOL)
    np.testing.assert_allclose(integrator.move(np.full(6, 0.09), -1.0, 100 * MS, TOOL), TOOL, atol=1e-6)
    moved = integrator.move(np.array([1.0, 0, 0, 0, 0, -1.0]), 1.0, 200 * MS, TOOL)
    np.testing.assert_allclose(moved, pose([0.42, 0.0, 0.2], [0, 0, -0.1], 1.0), atol=1e-5)


def test_deflections_are_bent_but_keep_their_sign_and_their_end():
    shaped = Integrator(Limits(), deadband=0.0, expo=2.0).shaped(np.array([0.5, -0.5, 1.0, -7.0, np.nan, np.inf]))
    np.testing.assert_allclose(shaped, [0.25, -0.25, 1.0, -1.0, 0.0, 0.0])


def test_a_target_that_meets_resistance_does_not_run_away_from_the_tool():
    integrator = Integrator(Limits(lead=0.03))
    for step in range(1, 50):
        target = integrator.move(np.array([0, 0, -1.0, 0, 0, 0]), -1.0, step * 100 * MS, TOOL)
    assert target[2] == pytest.approx(TOOL[2] - 0.03, abs=1e-5)


@pytest.mark.parametrize(("name", "value"), [("speed", 0.0), ("lead", -1.0), ("turning", 0.0)])
def test_limits_that_limit_nothing_are_refused(name, value):
    with pytest.raises(UserError, match=name):
        Limits(**{name: value})


def test_a_heart_that_is_not_heard_has_stopped():
    heart = Heartbeat(0.5)
    assert not heart.alive(1)
    heart.beat(1000 * MS)
    heart.beat(900 * MS)
    assert heart.alive(1500 * MS)
    assert not heart.alive(1501 * MS)


class Dragged:
    """A gizmo, and a page that drags it."""

    def __init__(self, **options):
        self.gizmo = Gizmo(**options)
        self.gizmo.wanted(TOOL, following=False)

    def drag(self, way, turn=(0.0, 0.0, 0.0)):
        position, rotation = self.gizmo.shown() or self.last
        self.last = position, rotation
        self.gizmo.grab()
        self.pull(way, turn)

    def pull(self, way, turn=(0.0, 0.0, 0.0)):
        position, rotation = self.last
        self.gizmo.drag(position + way, matrix_from_rotvec(np.array(turn, float)) @ rotation)


def test_the_handle_stands_upright_at_the_tool():
    position, rotation = Dragged().gizmo.shown()
    np.testing.assert_allclose(position, TOOL[:3], atol=1e-7)
    np.testing.assert_allclose(rotation, DOWN @ UPRIGHT, atol=1e-6)


def test_the_target_goes_as_far_as_the_handle_is_dragged_and_turned():
    page = Dragged()
    page.drag(np.array([0.0, 0.1, 0.0]), [0.0, 0.0, 0.3])
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.4, 0.1, 0.2], [0, 0, 0.3]), atol=1e-6)
    assert page.gizmo.shown() is None  # the page has it


def test_let_go_the_target_snaps_back_to_the_tool_but_for_a_light_press():
    page = Dragged()
    page.drag(np.array([0.0, 0.1, 0.0]))
    page.gizmo.wanted(TOOL, following=False)
    page.gizmo.drop()
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.4, 0.005, 0.2]), atol=1e-6)
    np.testing.assert_allclose(page.gizmo.shown()[0], [0.4, 0.005, 0.2], atol=1e-6)
    moved = pose([0.4, 0.02, 0.2])
    still = page.gizmo.wanted(moved, following=False)  # it does not drift with the tool
    np.testing.assert_allclose(still, pose([0.4, 0.005, 0.2]), atol=1e-6)


def test_fine_motion_goes_a_share_and_switching_it_in_mid_drag_is_no_jump():
    page = Dragged(fine=0.2)
    page.gizmo.is_fine = True
    page.drag(np.array([0.05, 0.0, 0.0]), [0.0, 0.0, 0.5])
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.41, 0.0, 0.2], [0, 0, 0.1]), atol=1e-5)
    page.gizmo.is_fine = False
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.41, 0.0, 0.2], [0, 0, 0.1]), atol=1e-5)
    page.pull(np.array([0.07, 0.0, 0.0]), [0.0, 0.0, 0.5])
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.43, 0.0, 0.2], [0, 0, 0.1]), atol=1e-5)


def test_what_is_dragged_during_a_pause_is_not_made_up_for_afterwards():
    page = Dragged()
    page.drag(np.array([0.0, 0.3, 0.0]))
    np.testing.assert_array_equal(page.gizmo.wanted(TOOL, following=True), TOOL)
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), TOOL, atol=1e-6)
    page.pull(np.array([0.0, 0.31, 0.0]))
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), pose([0.4, 0.01, 0.2]), atol=1e-6)


def test_the_handle_follows_the_tool_while_nobody_steers():
    page, elsewhere = Dragged(), pose([0.5, 0.2, 0.1])
    np.testing.assert_array_equal(page.gizmo.wanted(elsewhere, following=True), elsewhere)
    np.testing.assert_allclose(page.gizmo.shown()[0], elsewhere[:3], atol=1e-7)


def test_a_page_that_talks_nonsense_moves_nothing():
    page = Dragged()
    page.drag(np.array([np.nan, 0.0, 0.0]))
    page.pull(np.array([np.inf, 0.0, 0.0]))
    np.testing.assert_allclose(page.gizmo.wanted(TOOL, following=False), TOOL, atol=1e-6)


def test_a_page_that_drags_without_having_grabbed_moves_nothing():
    page = Dragged()
    page.last = page.gizmo.shown()
    page.pull(np.array([0.1, 0.0, 0.0]))
    np.testing.assert_array_equal(page.gizmo.wanted(TOOL, following=False), TOOL)
