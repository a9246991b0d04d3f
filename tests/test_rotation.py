"""Rotations: axioms, and every map there and back."""

import numpy as np
import pytest

from robolearn import rotation as r

GENERATOR = np.random.default_rng(0)


def random_quaternions(count=200):
    q = GENERATOR.normal(size=(count, 4))
    return q / np.linalg.norm(q, axis=-1, keepdims=True)


def random_rotvecs(angles):
    axes = GENERATOR.normal(size=(len(angles), 3))
    return axes / np.linalg.norm(axes, axis=-1, keepdims=True) * np.asarray(angles)[:, None]


MATRICES = r.matrix_from_quaternion(random_quaternions())


def test_matrices_are_rotations():
    np.testing.assert_allclose(MATRICES @ np.swapaxes(MATRICES, -1, -2), np.broadcast_to(np.eye(3), MATRICES.shape), atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(MATRICES), 1.0, atol=1e-12)


def test_matrices_turn_vectors_as_quaternions_do():
    q = random_quaternions(50)
    v = GENERATOR.normal(size=(50, 3))
    w, u = q[:, :1], q[:, 1:]
    turned = v + 2 * np.cross(u, np.cross(u, v) + w * v)  # q v q*
    np.testing.assert_allclose(np.einsum("nij,nj->ni", r.matrix_from_quaternion(q), v), turned, atol=1e-12)


def test_quarter_turn_about_z_by_hand():
    matrix = r.matrix_from_rotvec(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(matrix, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-15)
    np.testing.assert_allclose(r.rot6d_from_matrix(matrix), [0, -1, 0, 1, 0, 0], atol=1e-15)  # first two ROWS
    np.testing.assert_allclose(r.quaternion_from_matrix(matrix), [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], atol=1e-15)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (r.rot6d_from_matrix, r.matrix_from_rot6d),
        (r.quaternion_from_matrix, r.matrix_from_quaternion),
        (r.rotvec_from_matrix, r.matrix_from_rotvec),
    ],
)
def test_there_and_back(there, back):
    np.testing.assert_allclose(back(there(MATRICES)), MATRICES, atol=1e-12)


def test_quaternion_and_rot6d_there_and_back():
    q = random_quaternions()
    again = r.quaternion_from_rot6d(r.rot6d_from_quaternion(q))
    np.testing.assert_allclose(again, np.where(q[:, :1] < 0, -q, q), atol=1e-12)


def test_opposite_quaternions_have_one_rot6d():
    q = random_quaternions()
    np.testing.assert_array_equal(r.rot6d_from_quaternion(q), r.rot6d_from_quaternion(-q))


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-8, 1e-4, 1.0, 3.0, np.pi - 1e-4, np.pi - 1e-8])
def test_rotation_vectors_survive_tiny_and_nearly_half_turns(angle):
    rotvec = random_rotvecs([angle] * 50)
    np.testing.assert_allclose(r.rotvec_from_matrix(r.matrix_from_rotvec(rotvec)), rotvec, atol=1e-7)


def test_a_half_turn_comes_back_up_to_its_sign():
    rotvec = random_rotvecs([np.pi] * 50)
    again = r.rotvec_from_matrix(r.matrix_from_rotvec(rotvec))
    np.testing.assert_allclose(np.linalg.norm(again, axis=-1), np.pi, atol=1e-7)
    np.testing.assert_allclose(r.matrix_from_rotvec(again), r.matrix_from_rotvec(rotvec), atol=1e-7)


def test_exponential_map_is_the_limit_of_small_turns():
    rotvec = random_rotvecs([2.0])[0]
    step = r.matrix_from_rotvec(rotvec / 1000)
    np.testing.assert_allclose(np.linalg.matrix_power(step, 1000), r.matrix_from_rotvec(rotvec), atol=1e-10)


def test_orthonormalize_leaves_rotations_alone_and_mends_others():
    noisy = r.rot6d_from_matrix(MATRICES) * 1.3 + GENERATOR.normal(size=(len(MATRICES), 6)) * 0.05
    mended = r.orthonormalize_rot6d(noisy)
    first, second = mended[:, :3], mended[:, 3:]
    np.testing.assert_allclose(np.linalg.norm(first, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(second, axis=-1), 1, atol=1e-12)
    np.testing.assert_allclose((first * second).sum(-1), 0, atol=1e-12)
    np.testing.assert_allclose(r.orthonormalize_rot6d(mended), mended, atol=1e-12)


def test_degenerate_rot6d_gives_finite_numbers():
    assert np.isfinite(r.matrix_from_rot6d(np.zeros((1, 6)))).all()


def test_leading_axes_are_kept():
    assert r.rot6d_from_matrix(MATRICES.reshape(2, 100, 3, 3)).shape == (2, 100, 6)
    assert r.quaternion_from_matrix(MATRICES.reshape(2, 100, 3, 3)).shape == (2, 100, 4)
