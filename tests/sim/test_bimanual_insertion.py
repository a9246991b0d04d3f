"""bimanual_insertion: two arms that obey their own half of the action, what counts and for how long, and that the expert solves it."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_rotvec
from robolearn.sim.experts.bimanual_insertion import BimanualInsertionExpert
from robolearn.sim.tasks.bimanual_insertion import HOLE_HALF, PEG_HALF, SEATED, SOCKET_HALF, BimanualInsertion
from tests.sim.insertions import penetration, play, put, put_in, start, stay

SEAT = np.array([0.0, SEATED, 0.0])
ALONG = np.array([0.0, 1.0, 0.0])


def reached(position, degrees=0.0, about=1):
    env = start("bimanual_insertion", 1)
    rotvec = np.zeros(3)
    rotvec[about] = np.radians(degrees)
    put_in(env, 0, "peg", "socket", position, matrix_from_rotvec(rotvec))
    return env.task.goals()[0].reached(env._view.relative("peg", "socket"))[0]


def seated(height=0.0):
    """The socket on its closed end, the peg in it, away from the arms."""
    env = start("bimanual_insertion", 1)
    upright = matrix_from_rotvec(np.array([np.pi / 2, 0.0, 0.0]))
    put(env, 0, "socket", np.array([0.9, 0.0, SOCKET_HALF[1]]), upright)
    put_in(env, 0, "peg", "socket", SEAT + height * ALONG)
    return env


@pytest.mark.parametrize("level", BimanualInsertion.levels)
def test_nothing_touches_at_a_start_but_the_parts_the_table(level):
    env = start("bimanual_insertion", 100, randomness=level)
    assert max(penetration(env, row) for row in range(100)) < 2e-4


def test_each_arm_obeys_its_own_half_of_the_action():
    env = start("bimanual_insertion", 1)
    before = [arm.tcp_position[0].copy() for arm in env._view.arms]
    action = stay(env)
    action[0, 10:13] += (0.02, -0.03, 0.04)
    action[0, 19] = 1.0
    for _ in range(100):
        observation = env.step(action)[0]
    np.testing.assert_allclose(observation["left_tcp_pos"][0], before[0], atol=1e-3)
    np.testing.assert_allclose(observation["right_tcp_pos"][0], before[1] + (0.02, -0.03, 0.04), atol=2e-3)
    np.testing.assert_allclose(
        [observation["left_gripper_width"][0, 0], observation["right_gripper_width"][0, 0]], (0.065, 0.007), atol=1e-3
    )


def test_the_arms_face_each_other_across_the_middle():
    env = start("bimanual_insertion", 1)
    left, right = (env._engine.model.body(f"{arm}base") for arm in ("left_", "right_"))
    assert left.pos[1] > 0.5
    assert right.pos[1] < -0.5
    assert [arm.tcp_position[0, 1] > 0 for arm in env._view.arms] == [True, False]


def test_the_goal_is_five_millimetres_and_a_twentieth_of_a_radian_wide_at_any_quarter_turn():
    assert reached(SEAT)
    assert reached(SEAT + 0.0045 * ALONG)
    assert not reached(SEAT + 0.0055 * ALONG)
    assert reached(SEAT, 90.0)
    assert reached(SEAT, -90.0)
    assert not reached(SEAT, 45.0)
    assert reached(SEAT, 2.5, about=0)
    assert not reached(SEAT, 3.5, about=0)


def test_the_seated_peg_counts_once_it_has_stayed_for_half_a_second():
    env = seated()
    results = [env.step(stay(env)) for _ in range(30)]
    rewards = [result[1][0] for result in results]
    assert rewards == [0.0] * 25 + [1.0] + [0.0] * 4
    assert results[25][2][0]
    assert not results[24][2][0]


def test_the_time_held_is_part_of_the_state():
    env = seated()
    for _ in range(20):
        env.step(stay(env))
    other = start("bimanual_insertion", 1)
    other.set_state(env.get_state())
    assert [other.step(stay(other))[1][0] for _ in range(6)] == [0.0] * 5 + [1.0]


def test_a_peg_falls_to_the_bottom_of_a_standing_socket():
    env = seated(height=0.03)
    for _ in range(25):
        env.step(stay(env))
    pose = env._view.relative("peg", "socket")
    np.testing.assert_allclose(pose.position[0, 1], SEATED, atol=1e-3)
    assert np.abs(pose.position[0, [0, 2]]).max() < 2 * (HOLE_HALF - PEG_HALF[0])


def test_the_expert_solves_low_starts():
    solved, stages = play(start("bimanual_insertion", 16), BimanualInsertionExpert(16, variation=1.0), 450)
    assert solved.sum() >= 14
    assert (stages[:, :, 1:-1] <= stages[:, :, :-2]).all()
