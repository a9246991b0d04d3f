"""The batched tasks are robosuite's: its torques, its physics, its observations, rewards and successes."""

from dataclasses import replace

import numpy as np
import pytest

from robolearn.sim.experts.pick_and_place import CanExpert, LiftExpert
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import callbacks
from robolearn.sim.robosuite.actions import CanonicalInputs
from robolearn.sim.robosuite.env import RobosuiteEnv
from robolearn.sim.robosuite.host import draw_start, make_host
from robolearn.sim.robosuite.scene import NEVER_MEET
from robolearn.tasks_robosuite import robosuite_spec
from tests.sim.robosuite.oracle import ALL, SEED, SIX, Pair

BINS = (("payload", "target_bin"), ("trash", "trash_bin"))
TOLERANCE = 1e-10  # [Nm], [rad], [m]


@pytest.fixture(scope="module", params=SIX)
def pair(request):
    pair = Pair(request.param)
    yield pair
    pair.env.close()
    pair.host.close()


def test_torques_equal_robosuites_in_every_physics_step(pair):
    pair.restart()
    worst = 0.0
    for _ in range(3):
        action = pair.action()
        pair.follow()
        pair.env._command(action[None])
        for _ in pair.play(action):
            worst = max(worst, np.abs(pair.torques() - pair.sim.data.ctrl).max())
    assert worst < TOLERANCE


def test_a_physics_step_under_the_same_torques_moves_the_robots_alike_to_the_bit(pair):
    """What lies on something too, but for the order in which contacts are summed up where another solver or fewer objects do it."""
    pair.restart()
    ctrl = pair.env.engine.view("ctrl")[0]
    ctrl[:] = pair.sim.data.ctrl[:] = pair.rng.uniform(-1, 1, len(ctrl))
    pair.sim.data.qvel[pair.env._velocities] = pair.rng.uniform(-1, 1, len(pair.qvel))
    pair.follow()
    pair.sim.data.qacc_warmstart[:] = 0.0
    pair.env.engine.view("qacc_warmstart")[:] = 0.0
    pair.sim.step1()
    pair.sim.step2()
    with callbacks.installed():
        mujoco.set_mjcb_control(None)  # the torques are given; the air is the other callback's
        pair.env.engine.step(1)
    robots = slice(0, pair.arms.max() + 3)  # behind the last arm, its fingers
    np.testing.assert_array_equal(pair.env.view.qpos[0, robots], pair.qpos[robots])
    np.testing.assert_array_equal(pair.env.view.qvel[0, robots], pair.qvel[robots])
    np.testing.assert_allclose(pair.env.view.qpos[0], pair.qpos, rtol=0, atol=1e-15)


def test_arms_stay_together_over_100_steps_without_contact(pair):
    pair.restart()
    for _ in range(100):
        action = pair.action(0.3)
        pair.env._command(action[None])
        pair.env._advance()
        for _ in pair.play(action):
            pass
    assert np.abs(pair.env.view.qpos[0, pair.arms] - pair.qpos[pair.arms]).max() < TOLERANCE


def assert_seen_alike(pair):
    pair.lead()
    shown, reward, success = pair.seen()
    ours, judged = pair.env.observation(), pair.env.task.judge()
    np.testing.assert_allclose(ours["object"][0], shown["object-state"], atol=2e-6)
    for arm in range(len(pair.host.robots)):
        for name in ("eef_pos", "eef_quat", "gripper_qpos"):
            np.testing.assert_allclose(ours[f"robot{arm}_{name}"][0], shown[f"robot{arm}_{name}"], atol=1e-6)
    ours_reward = judged.shaped if pair.env._shaping else judged.sparse
    assert abs(ours_reward[0] - reward) < 1e-6
    assert bool(judged.success[0]) is success
    return reward, success


def test_observation_reward_and_success_are_robosuites(pair):
    pair.restart()
    for _ in range(8):
        pair.env._command(pair.action()[None])
        pair.env._advance()
        assert_seen_alike(pair)


def solved_poses(pair):
    """``{part: position and, where it matters, quaternion}`` that robosuite calls a success."""
    view, task = pair.env.view, pair.env.env_spec.task
    if task == "lift":
        return {"cube": [0.0, 0.0, 1.0]}
    if task == "stack":
        return {"cube_a": view.body("cubeB_main")[0][0] + (0.0, 0.0, 0.0449)}  # touching: their half heights are 2 and 2.5 cm
    if task == "can":
        return {"can": [0.2, 0.41, 0.86]}
    if task == "square":
        return {"nut": [*pair.env.task._peg[:2], 0.85]}
    if task == "transport":
        return {part: view.geom(f"transport_{bin}_base")[0] + (0.0, 0.0, 0.01) for part, bin in BINS}
    frame = view.geom("stand_base")[0] + np.array([-0.0438, 0.045, 0.1344])  # its tip between the walls of the base
    tool = frame + np.array([-0.0819, 0.0474, 0.1401])  # its hole around the hook, touching it
    return {"frame": [*frame, 1.0, 0.0, 0.0, 0.0], "tool": [*tool, 0.2996, 0.3131, -0.0593, 0.8993]}


def test_a_solved_state_is_one_for_both(pair):
    pair.restart()
    for part, pose in solved_poses(pair).items():
        first = int(pair.model.joint(pair.model.body(pair.env.task.parts[part]).jntadr[0]).qposadr[0])
        pair.env.view.qpos[0, first : first + len(pose)] = pose
    pair.env.engine.forward(ALL)
    _, success = assert_seen_alike(pair)
    assert success


def carried(task):
    """A pair while the batch's arm goes about its task, its states put into robosuite's world; yields ``(pair, whether it is held)``."""
    pair = Pair(task)
    env, inputs = pair.env, CanonicalInputs(pair.env.view.frames, robosuite_spec(task).action)
    expert = (CanExpert if task == "can" else LiftExpert)(1)
    expert.reset(ALL, np.array([SEED]))
    for _ in range(60):
        action = expert.act(env.observation()).astype(np.float64)
        env.view.command(inputs.goals(action, env.view.here()), ALL)
        env._advance()
        yield pair, bool(env.task.grasped()[0])
    env.close()
    pair.host.close()


@pytest.mark.parametrize("task", ["lift", "stack", "can"])
def test_rewards_are_robosuites_while_a_part_is_grasped_and_carried(task):
    rewards = []
    for pair, held in carried(task):
        reward, _ = assert_seen_alike(pair)
        if held:
            rewards.append(reward)
    assert len(rewards) > 10
    assert max(rewards) > min(rewards)  # shaped: it was lifted too


def test_rewards_are_robosuites_while_a_nut_is_grasped():
    """Its handle is held between the fingers until they have closed."""
    pair = Pair("square")
    env, view = pair.env, pair.env.view
    nut = pair.model.joint(int(pair.model.body("SquareNut_main").jntadr[0]))
    here = view.here()
    goals = replace(here, position=here.position - (0.0, 0.0, 0.1), gripper=np.ones((1, 1)))  # where lifting is not yet rewarded in full
    for step in range(20):
        if step < 16:
            view.qpos[0, nut.qposadr[0] :][:7] = [*(view.tool()[0] - (0.054, 0.0, 0.0)), 1.0, 0.0, 0.0, 0.0]
            view.qvel[0, nut.dofadr[0] :][:6] = 0.0
        view.command(goals, ALL)
        env._advance()
        assert_seen_alike(pair)
    assert env.task.grasped()[0] and view.body("SquareNut_main")[0][0, 2] > 0.88  # in the air
    env.close()
    pair.host.close()


def test_a_scripted_lift_succeeds_alike_in_both():
    env, host = RobosuiteEnv("lift", 1, threads=1), make_host("lift", "absolute")
    observation, _ = env.reset(seed=5)
    draw_start(host, 5)
    expert = LiftExpert(1)
    expert.reset(ALL, np.array([5]))
    absolute = RobosuiteEnv("lift", 1, input_type="absolute", threads=1).inputs
    for _ in range(80):
        action = expert.act(observation)
        goals = env.inputs.goals(action.astype(np.float64), env.view.here())
        observation, _, terminated, _, info = env.step(action)
        host.step(absolute.actions(goals, env.view.here())[0])
        if terminated[0]:
            break
    host.sim.forward()
    assert info["success"][0]
    cube = host.sim.data.body_xpos[host.cube_body_id]
    assert np.linalg.norm(cube - env.view.body("cube_main")[0][0]) < 0.005
    assert cube[2] > 0.83


def test_links_whose_collisions_are_left_out_cannot_meet():
    host = make_host("lift")
    model = host.sim.model._model
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    solid = [index for index in range(model.ngeom) if model.geom_contype[index]]
    geoms = {
        link: [g for g in solid if model.geom(g).bodyid[0] == model.body(f"robot0_{link}").id]
        for link in ("link0", "link1", "link2", "link3", "link4", "link5")
    }
    low, high = model.jnt_range[:7].T
    nearest = np.inf
    for _ in range(300):
        data.qpos[:7] = rng.uniform(low, high)
        mujoco.mj_kinematics(model, data)
        for one, other in NEVER_MEET:
            nearest = min(nearest, *(mujoco.mj_geomDistance(model, data, a, b, 0.1, None) for a in geoms[one] for b in geoms[other]))
    assert nearest > 5e-4
