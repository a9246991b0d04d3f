"""What reaches the robot stays in its workspace and below its speeds."""

import numpy as np
import pytest

from robolearn.deploy.limits import TargetLimiter
from robolearn.errors import UserError
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix, rotvec_from_matrix
from robolearn.spec import ActionSpec, tool_pose_action

SPEC = tool_pose_action((-1, -1, 0), (1, 1, 1))


def target(position, rotvec=(0, 0, 0), gripper=-1.0):
    return np.array([*position, *rot6d_from_matrix(matrix_from_rotvec(np.array(rotvec, float))), gripper])


def limiter(**options):
    result = TargetLimiter(SPEC, 10.0, **options)
    result.reset(target((0, 0, 0.5)))
    return result


def test_a_slow_target_inside_passes_unchanged():
    wanted = target((0.01, 0.02, 0.5), (0, 0, 0.1), 1.0)
    result = limiter().limit(wanted)
    np.testing.assert_allclose(result.action, wanted, atol=1e-6)
    assert result.reasons == ()


def test_a_far_target_is_reached_at_the_speed_limit():
    stream = limiter(max_speed=0.5)
    heights = [stream.limit(target((0, 0, 0.7))).action[2] for _ in range(6)]
    np.testing.assert_allclose(heights, [0.55, 0.6, 0.65, 0.7, 0.7, 0.7], atol=1e-6)


def test_a_large_turn_is_made_at_the_turning_limit_about_the_same_axis():
    stream = limiter(max_turning_speed=1.0)
    angles = []
    for _ in range(5):
        rotvec = rotvec_from_matrix(matrix_from_rot6d(stream.limit(target((0, 0, 0.5), (0, 0.35, 0))).action[3:9]))
        angles.append(rotvec[1])
        assert abs(rotvec[[0, 2]]).max() < 1e-6
    np.testing.assert_allclose(angles, [0.1, 0.2, 0.3, 0.35, 0.35], atol=1e-6)


def test_a_target_outside_is_clamped_to_the_workspace():
    result = limiter(max_speed=100.0).limit(target((5, 0, -3)))
    np.testing.assert_allclose(result.action[:3], [1, 0, 0])
    assert result.reasons == ("workspace",)


def test_nan_repeats_the_last_target():
    stream = limiter()
    last = stream.limit(target((0.02, 0, 0.5))).action
    result = stream.limit(np.full(10, np.nan))
    np.testing.assert_array_equal(result.action, last)
    assert result.reasons == ("not finite",)


def test_random_commands_never_exceed_either_speed():
    stream, generator = limiter(), np.random.default_rng(0)
    previous = target((0, 0, 0.5))
    for _ in range(200):
        now = stream.limit(generator.normal(size=10) * 2).action
        assert np.linalg.norm(now[:3] - previous[:3]) <= 0.05 + 1e-6
        turn = rotvec_from_matrix(matrix_from_rot6d(now[3:9]) @ matrix_from_rot6d(previous[3:9]).T)
        assert np.linalg.norm(turn) <= 0.15 + 1e-5
        previous = now


def test_misuse_is_said_plainly():
    with pytest.raises(UserError, match="call reset"):
        TargetLimiter(SPEC, 10.0).limit(target((0, 0, 0)))
    with pytest.raises(UserError, match="canonical action"):
        TargetLimiter(ActionSpec(("j1",), (-1.0,), (1.0,)), 10.0)
    with pytest.raises(UserError, match="positive"):
        TargetLimiter(SPEC, 0.0)
