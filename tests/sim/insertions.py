"""What tests of peg_hole and bimanual_insertion share: putting parts somewhere, and looking at their contacts."""

import numpy as np

from robolearn.rotation import quaternion_from_matrix, rot6d_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly


def start(task, num_envs, **options):
    """An environment on search seeds."""
    env = Assembly(task, num_envs, threads=1, **options)
    env.reset(seed=split_seeds("search", num_envs).tolist())
    return env


def put(env, row, name, position, rotation):
    """A part of one row somewhere in the base frame, at rest."""
    joint, engine = env._engine.model.joint(name), env._engine
    engine.view("qpos")[row, joint.qposadr[0] : joint.qposadr[0] + 7] = np.concatenate(
        [position, quaternion_from_matrix(rotation[None])[0]]
    )
    engine.view("qvel")[row, joint.dofadr[0] : joint.dofadr[0] + 6] = 0.0
    engine.forward(np.arange(env.num_envs) == row)


def put_in(env, row, child, parent, position, rotation=None):
    """A part where it is at ``position`` [m] and ``rotation`` in another's frame."""
    there = env._view.pose(parent)
    turned = there.rotation[row] @ (np.eye(3) if rotation is None else rotation)
    put(env, row, child, there.position[row] + there.rotation[row] @ position, turned)


def stay(env):
    """The action that holds every tool where it is, fingers open."""
    commands = []
    for arm in env._view.arms:
        commands += [arm.tcp_position, rot6d_from_matrix(arm.tcp_rotation), np.full((env.num_envs, 1), -1.0)]
    return np.concatenate(commands, 1).astype(np.float32)


def penetration(env, row, bodies=None):
    """How deep two bodies of a row are in each other at most, or any two [m]."""
    model, data = env._engine.model, env._engine.data(row)
    touching = data.contact.geom[: data.ncon]
    names = [{model.body(body).name for body in pair} for pair in model.geom_bodyid[touching]]
    depths = [-depth for depth, pair in zip(data.contact.dist[: data.ncon], names, strict=True) if bodies is None or pair == set(bodies)]
    return max(depths, default=0.0)


def play(env, expert, steps):
    """Let an expert act: successes ``(N,)``, and the stages after each step ``(T, N, S)``."""
    seeds, everything = split_seeds("search", env.num_envs), np.ones(env.num_envs, bool)
    observation = env.reset(seed=seeds.tolist())[0]
    expert.reset(everything, seeds)
    solved, stages = np.zeros(env.num_envs, bool), []
    for _ in range(steps):
        observation, reward, terminated, _, info = env.step(expert.act(observation))
        assert (reward[~solved] == terminated[~solved]).all()
        stages.append(info["stages"])
        solved |= info["success"]
        if solved.all():
            break
    return solved, np.stack(stages)
