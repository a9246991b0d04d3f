"""What contact must be good for: fits that do not give way, a grip that does not creep, parts that wake when something happens."""

import numpy as np
import pytest

from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.one_leg import OneLegExpert
from robolearn.sim.furniture import Fit
from tests.sim.worlds import AT_MOUTH, LegBench, stay

CLEARANCE = Fit().hole_half - Fit().pin_radius


def play_until(env, phase, steps=180):
    """The expert plays each row up to a phase, in which the hand then stays closed where it is: last observation, rows that got there."""
    expert, seeds = OneLegExpert(env.num_envs), split_seeds("search", env.num_envs)
    observation = env.reset(seed=seeds.tolist())[0]
    expert.reset(np.ones(env.num_envs, bool), seeds)
    there, action = np.zeros(env.num_envs, bool), stay(env, observation)
    for _ in range(steps):
        wanted = expert.act(observation)
        new = (expert._phase == expert._names.index(phase)) & ~there
        action[new] = closed(env, observation)[new]
        there |= new
        observation = env.step(np.where(there[:, None], action, wanted))[0]
    return observation, action, there


def closed(env, observation):
    action = stay(env, observation)
    action[:, 9] = 1.0
    return action


def deepest(engine, row, first, second):
    """How deep two bodies are in each other [m]."""
    data, model = engine.data(row), engine.model
    pair = {model.body(first).id, model.body(second).id}
    mine = [distance for distance, geoms in zip(data.contact.dist, data.contact.geom, strict=True) if set(model.geom_bodyid[geoms]) == pair]
    return -min(mine, default=0.0)


def test_a_pin_gives_way_by_less_than_a_third_of_the_clearance_when_the_hand_pushes_as_hard_as_it_can_hold_the_leg():
    env = Assembly("one_leg", 4, threads=1, thread=False)
    observation, action, there = play_until(env, "insert")
    worst = np.zeros(4)
    for _ in range(20):
        action = closed(env, observation)
        action[:, 2] -= 0.02  # 60 N of the servo; the fingers' friction passes on 40 N
        observation = env.step(action)[0]
        worst = np.maximum(worst, [deepest(env._engine, row, "leg4", "top") for row in range(4)])
    assert there.sum() >= 3
    assert (worst[there] > 0).all()
    assert (worst[there] < CLEARANCE / 3).all()


def test_a_leg_held_over_its_hole_creeps_less_than_two_tenths_of_a_millimetre_in_ten_seconds():
    env = Assembly("one_leg", 4, threads=1)
    _, action, there = play_until(env, "align")
    there &= env._view.part("leg4")[:, 2] > 0.1  # held: a hand may have come without its leg

    def in_hand():
        hand = env._view.arm
        offset = (env._view.part("leg4")[:, :3] - hand.tcp_position)[:, :, None]
        return (hand.tcp_rotation.transpose(0, 2, 1) @ offset)[there, :, 0]

    begin = in_hand()
    for _ in range(100):
        env.step(action)
    assert there.sum() >= 3
    assert np.linalg.norm(in_hand() - begin, axis=1).max() < 2e-4


@pytest.fixture
def resting():
    """A bench at rest, its leg in the air."""
    bench = LegBench(AT_MOUTH + 0.05, 0.0)
    bench.act(1.0, push=0.0)
    return bench


def joint_of(bench, name, size=3):
    at = bench.engine.model.joint(name).qposadr[0]
    return bench.engine.view("qpos")[0, at : at + size]


def test_a_sleeping_part_wakes_when_something_touches_it(resting):
    asleep = joint_of(resting, "leg1", 7).copy()
    resting.act(0.3, push=0.0)
    np.testing.assert_array_equal(joint_of(resting, "leg1", 7), asleep)  # not a bit moves
    resting.engine.view("xfrc_applied")[0, resting.engine.model.body("leg2").id, 1] = -0.1  # [N] towards leg 1
    resting.act(0.7, push=0.0)
    assert joint_of(resting, "leg1")[1] < asleep[1] - 0.005


def test_a_sleeping_part_wakes_when_a_thread_takes_it(resting):
    engine, model = resting.engine, resting.engine.model
    top = model.joint("top").dofadr[0]
    engine.expand("dof_damping")[0, top : top + 6] = 0.0
    before = joint_of(resting, "top").copy()
    engine.view("eq_active")[0, model.eq("nut3_leg4").id] = 1.0  # the weld draws the leg and the top together
    resting.act(0.5, push=0.0)
    assert np.linalg.norm(joint_of(resting, "top") - before) > 0.002
