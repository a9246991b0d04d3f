"""The command ``robolearn sim-robot``: a simulated robot as a process of its own, for a runner to find over its middleware."""

from __future__ import annotations

import json
import time

from omegaconf import DictConfig

from robolearn.deploy.robots.franka import PUBLISHED
from robolearn.deploy.serving.main import follow
from robolearn.deploy.sim_robot.controllers import Controller, ForwardController, PoseController, TrajectoryController
from robolearn.deploy.sim_robot.node import SimulatedRobot
from robolearn.errors import UserError, nearest
from robolearn.nodes import instantiate, to_dict

CONTROLLERS = ("joint_trajectory", "equilibrium_pose", "forward_position")
NAP = 0.0005  # [s]


def main(cfg: DictConfig) -> None:
    """``robolearn sim-robot``: runs until it is ended.

    Raises:
        UserError: no such controller, task or transport.
        KeyboardInterrupt: Ctrl-C or SIGTERM ended it.
    """
    options = to_dict(cfg)
    if options["parent"] is not None:
        follow(int(options["parent"]))
    joints = tuple(options["joints"])
    controller = make_controller(str(options["controller"]), joints, str(options["arm_controller"]))
    env = {name: value for name, value in options["task"]["env"].items() if name not in ("_target_", "engine", "extras")}
    world = instantiate({**options["robot_world"], **env})
    transport = instantiate(options["transport"])
    try:
        robot = SimulatedRobot(
            world,
            controller,
            transport,
            PUBLISHED["panda"],
            joints,
            seed=int(options["seed"]),
            waits=bool(options["wait_for_command"]),
            guarded=options["controller"] == "joint_trajectory",
        )
        topic, _ = controller.topic()
        ready = {"ready": True, "task": world.env_spec.task, "command": topic, "transport": transport.name}
        told = f"{world.env_spec.task}: a Franka that listens to {topic} over {transport.name}; Ctrl-C ends it"
        print(json.dumps(ready) if options["json"] else told, flush=True)
        run(robot)
    finally:
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


def make_controller(name: str, joints: tuple[str, ...], prefix: str) -> Controller:
    """The controller of a name.

    Raises:
        UserError: there is none.
    """
    if name == "joint_trajectory":
        return TrajectoryController(joints, prefix)
    if name == "equilibrium_pose":
        return PoseController()
    if name == "forward_position":
        return ForwardController(joints)
    raise UserError(f"no controller {name!r}; there are {', '.join(CONTROLLERS)}{nearest(name, CONTROLLERS)}")
