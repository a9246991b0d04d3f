"""Rotations in plain floats are those of the hub's arrays, at the edges too."""

import numpy as np
import pytest

from robolearn.deploy.turning import rotated, rotation_of, rotvec_between
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rotvec_from_matrix


@pytest.mark.parametrize("angle", [0.0, 1e-13, 1e-9, 1e-4, 0.5, 2.0, 2.2, np.pi - 1e-6, np.pi - 1e-12])
def test_a_turn_leads_from_one_orientation_to_the_other(angle):
    generator = np.random.default_rng(0)
    for _ in range(20):
        axis = generator.normal(size=3)
        start = matrix_from_rotvec(generator.normal(size=3))
        turn = angle * axis / np.linalg.norm(axis)
        goal = rotated(turn, start)
        np.testing.assert_allclose(goal, matrix_from_rotvec(turn) @ start, atol=1e-12)
        np.testing.assert_allclose(rotated(rotvec_between(goal, start), start), goal, atol=1e-9)
        assert np.linalg.norm(rotvec_between(goal, start)) == pytest.approx(angle, abs=1e-7)
        if 1e-6 < angle < 3:
            np.testing.assert_allclose(rotvec_between(goal, start), rotvec_from_matrix(goal @ start.T), atol=1e-9)


@pytest.mark.parametrize("diagonal", [(1, -1, -1), (-1, 1, -1), (-1, -1, 1)])
def test_half_a_turn_about_each_axis(diagonal):
    turn = rotvec_between(np.diag(np.array(diagonal, float)), np.eye(3))
    np.testing.assert_allclose(np.abs(turn), np.pi * (np.array(diagonal) > 0), atol=1e-12)


def test_rows_of_any_length_say_a_rotation():
    generator = np.random.default_rng(1)
    for scale in (1e-5, 1.0, 1e200):
        rot6d = generator.normal(size=6)
        np.testing.assert_allclose(rotation_of(rot6d * scale), matrix_from_rot6d(rot6d), atol=1e-9)


@pytest.mark.parametrize("rot6d", [[0.0] * 6, [1, 2, 3, 2, 4, 6], [np.nan, 0, 0, 0, 1, 0], [1, 0, 0, np.inf, 0, 0], [1, 0, 0, 1, 1e-9, 0]])
def test_rows_that_say_none_give_none(rot6d):
    assert rotation_of(np.array(rot6d, float)) is None
