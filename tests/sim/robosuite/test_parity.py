"""The batched tasks are robosuite's: its torques, its physics, its observations, rewards and successes."""

import numpy as np
import pytest

from tests.sim.robosuite.oracle import FIVE, Pair

TOLERANCE = 1e-10  # [Nm], [rad], [m]


@pytest.fixture(scope="module", params=FIVE)
def pair(request):
    return Pair(request.param)


def test_torques_equal_robosuites_in_every_physics_step(pair):
    pair.restart()
    worst = 0.0
    for _ in range(4):
        action = pair.action()
        pair.follow()
        pair.env._command(action[None])
        for _ in pair.substeps(action):
            worst = max(worst, np.abs(pair.torques() - pair.sim.data.ctrl).max())
    assert worst < TOLERANCE


def test_one_physics_step_from_the_same_state_is_equal_to_the_bit(pair):
    pair.restart()
    action = pair.action()
    for _ in pair.substeps(action):
        pass
    pair.follow()
    pair.env.engine.view("ctrl")[0] = pair.sim.data.ctrl
    pair.env.engine.view("qacc_warmstart")[0] = pair.sim.data.qacc_warmstart
    pair.sim.step1()
    pair.sim.step2()
    pair.env.engine.step(1)
    shown = pair.visible
    assert (pair.env.view.qpos[0, shown] == pair.sim.data.qpos[shown]).all()


def test_arms_stay_together_over_100_steps_without_contact(pair):
    pair.restart()
    for _ in range(100):
        action = pair.action(0.3)
        pair.env.step(action[None])
        for _ in pair.substeps(action):
            pass
    assert np.abs(pair.env.view.qpos[0, pair.arms] - pair.sim.data.qpos[pair.arms]).max() < TOLERANCE
