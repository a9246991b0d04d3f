"""The command ``robolearn sim-robot``: a simulated robot as a process of its own, for a runner to find over its middleware."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from omegaconf import DictConfig

from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.serving.main import follow
from robolearn.deploy.sim_robot.controllers import Controller, ForwardController, PoseController, TrajectoryController
from robolearn.deploy.sim_robot.node import SimulatedRobot
from robolearn.errors import UserError, nearest
from robolearn.nodes import instantiate, to_dict

NAP = 0.0005  # [s]


def main(cfg: DictConfig) -> None:
    """``robolearn sim-robot``: runs until it is ended.

    Raises:
        UserError: no such controller, task, camera or transport.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
    """
    options = to_dict(cfg)
    if options["parent"] is not None:
        follow(int(options["parent"]))
    joints = tuple(options["joints"])
    controllers = make_controllers(joints, str(options["arm_controller"]), float(options["path_tolerance"]), float(options["period"]))
    active = find_controller(controllers, str(options["controller"]))
    env = {name: value for name, value in options["task"]["env"].items() if name not in ("_target_", "engine", "extras")}
    given = {name: options[name] for name in ("cameras", "image_size") if options[name]}
    world = instantiate({**options["robot_world"], **env, **given})
    transport = instantiate(options["transport"])
    robot = None
    try:
        robot = SimulatedRobot(
            world,
            list(controllers.values()),
            transport,
            PUBLISHED["panda"],
            joints,
            active=active.name,
            seed=int(options["seed"]),
            waits=bool(options["wait_for_command"]),
            speed_fault=float(options["speed_fault"]),
        )
        topic, _ = active.topic()
        ready = {"ready": True, "task": world.env_spec.task, "command": topic, "transport": transport.name}
        told = f"{world.env_spec.task}: a Franka that listens to {topic} over {transport.name}; Ctrl-C ends it"
        print(json.dumps(ready) if options["json"] else told, flush=True)
        run(robot)
    finally:
        if robot is not None:
            robot.close()
        transport.close()
        world.close()


def run(robot: SimulatedRobot) -> None:
    """Turn for ever, a physics step at a time."""
    step = robot.world.timestep
    due = time.monotonic()
    while True:
        robot.turn()
        due = max(due + step, time.monotonic() + NAP)
        time.sleep(max(0.0, due - time.monotonic()))


def make_controllers(joints: tuple[str, ...], prefix: str, path_tolerance: float = 0.0, period: float = 0.01) -> dict[str, Controller]:
    """The controllers that a simulated robot has, by the words that the configuration has for them."""
    return {
        "joint_trajectory": TrajectoryController(joints, prefix, path_tolerance=path_tolerance),
        "equilibrium_pose": PoseController(),
        "forward_position": ForwardController(joints, period=period),
    }


def find_controller(controllers: Mapping[str, Controller], name: str) -> Controller:
    """The controller of a name.

    Raises:
        UserError: there is none.
    """
    if name not in controllers:
        raise UserError(f"no controller {name!r}; there are {', '.join(controllers)}{nearest(name, controllers)}")
    return controllers[name]
