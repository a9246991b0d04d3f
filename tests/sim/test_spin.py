"""A part that was flung does not spin itself to infinity, and one that turns as parts do is left alone."""

import numpy as np
import pytest

from robolearn.sim import spin
from robolearn.sim.assembly import Assembly


@pytest.fixture
def world():
    env = Assembly("round_table", 2, threads=1)
    env.reset(seed=[1, 2])
    yield env
    env.close()


def fling(env, turning):
    """Throw the leg of the first row up, turning so fast about its axis; whether it is lost within a second."""
    model = env._engine.model
    joint = model.joint(int(model.body_jntadr[model.body("leg").id]))
    place, speed = int(joint.qposadr[0]), int(joint.dofadr[0])
    env._engine.view("qpos")[0, place + 2] = 0.4
    env._engine.view("qvel")[0, speed : speed + 6] = [0, 0, 3.7, 0.5 * turning, turning, 0]
    env._engine.forward(np.ones(2, bool))
    action = np.zeros(env.action_space.shape)
    action[:, [0, 2, 3, 7]] = 0.4, 0.3, 1, -1
    for _ in range(9):
        env.step(action)
    return bool(env._episodes.lost[0]), env._engine.view("qvel")[:, speed + 3 : speed + 6]


def test_a_flung_part_keeps_turning_no_faster_than_the_integrator_bears(world, monkeypatch):
    lost, turning = fling(world, 80.0)
    assert not lost
    assert np.linalg.norm(turning[0]) < 1.5 * spin.FASTEST
    monkeypatch.setattr(spin, "FASTEST", np.inf)
    assert fling(world, 80.0)[0]  # or the brake is not needed any more


def test_what_turns_slowly_is_left_alone(world, monkeypatch):
    ends = []
    for fastest in (spin.FASTEST, np.inf):
        monkeypatch.setattr(spin, "FASTEST", fastest)
        world.reset(seed=[1, 2])
        ends.append(fling(world, 10.0)[1].copy())
    np.testing.assert_array_equal(*ends)
