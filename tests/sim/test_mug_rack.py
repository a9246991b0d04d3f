"""mug_rack: its goals are poses in which a mug hangs, a mug must stay there, and the expert hangs it."""

import numpy as np

from robolearn.rotation import quaternion_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.mug_rack import MugRackExpert
from tests.sim.worlds import stay

GOAL = Assembly("mug_rack", 1, threads=1).task.goals()[0]
HOLD = 5


def begin(rows):
    env = Assembly("mug_rack", rows, threads=1)
    return env, env.reset(seed=split_seeds("search", rows).tolist())[0]


def put_mug(env, positions, rotations):
    """The mug at poses in the rack's frame, ``(N, 3)`` and ``(N, 3, 3)``, at rest."""
    rack, qpos = env._view.pose("rack"), env._engine.view("qpos")
    at = env._engine.model.joint("mug").qposadr[0]
    qpos[:, at : at + 3] = rack.position + (rack.rotation @ positions[..., None])[..., 0]
    qpos[:, at + 3 : at + 7] = quaternion_from_matrix(rack.rotation @ rotations)
    env._engine.forward(np.ones(env.num_envs, bool))


def test_a_mug_put_at_any_goal_stays_there_and_counts_once_it_has_been_held():
    count = len(GOAL.positions)
    env, observation = begin(count)
    put_mug(env, GOAL.positions, GOAL.rotations)
    rewards = []
    for _ in range(30):
        _, reward, terminated, _, info = env.step(stay(env, observation))
        rewards.append(reward)
        assert (terminated == info["success"]).all()
    np.testing.assert_array_equal(np.argmax(rewards, 0), HOLD)
    np.testing.assert_array_equal(np.sum(rewards, 0), 1.0)
    assert info["stages"][:, -1].all()
    assert (np.abs(env._view.relative("mug", "rack").position[:, 0]) < 0.003).all()  # still below the peg


def test_goals_on_both_pegs_and_from_both_sides_are_mirror_images():
    half_turn = np.diag([-1.0, 1.0, -1.0])  # of the rack about its axis, and of the mug about its handle's
    for position, rotation in zip(GOAL.positions, GOAL.rotations, strict=True):
        for mirrored in ((half_turn @ position, half_turn @ rotation), (position, rotation @ np.diag([1.0, -1.0, -1.0]))):
            near = np.abs(GOAL.positions - mirrored[0]).max(1) + np.abs(GOAL.rotations - mirrored[1]).max((1, 2))
            assert near.min() < 1e-9


def test_a_mug_that_is_let_go_upright_on_the_peg_swings_down_and_hangs():
    env, observation = begin(4)
    at = np.stack([np.full(4, -0.039), np.array([0.128, 0.130, 0.133, 0.134]), -np.array([0.048, 0.052, 0.056, 0.060])], 1)
    put_mug(env, at, np.tile(np.eye(3), (4, 1, 1)))
    first = env.step(stay(env, observation))[4]
    assert first["stages"][:, 1].sum() == 0  # never grasped, so not threaded yet
    assert not first["success"].any()
    for _ in range(60):
        info = env.step(stay(env, observation))[4]
    assert info["success"].all()


def test_a_mug_beside_or_upside_down_under_the_peg_does_not_count():
    env, _ = begin(2)
    position, rotation = GOAL.positions[:1], GOAL.rotations[0]
    upside_down = rotation @ np.diag([-1.0, -1.0, 1.0])
    assert not GOAL.reached(env._view.relative("mug", "rack")).any()
    put_mug(env, np.repeat(position + np.array([[0.0, 0.0, 0.0]]), 2, 0), np.stack([upside_down, rotation]))
    np.testing.assert_array_equal(GOAL.reached(env._view.relative("mug", "rack")), [False, True])
    put_mug(env, np.repeat(position + np.array([[0.0, -0.02, 0.0]]), 2, 0), np.stack([rotation, rotation]))
    assert not GOAL.reached(env._view.relative("mug", "rack")).any()


def test_the_expert_hangs_the_mug():
    env, observation = begin(16)
    expert = MugRackExpert(16, variation=1.0)
    expert.reset(np.ones(16, bool), split_seeds("search", 16))
    success = np.zeros(16, bool)
    for _ in range(130):
        observation, _, _, _, info = env.step(expert.act(observation))
        success |= info["success"]
    assert success.sum() >= 15
    assert info["stages"][success, :2].all()  # by grasping and threading it
