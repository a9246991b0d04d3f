"""The other process of the two-process tests: a robot's driver in miniature, over real DDS, until its standard input closes."""

from __future__ import annotations

import sys
from typing import Any

from robolearn.deploy.transport.base import LATCHED, QoS
from robolearn.deploy.transport.cyclone import Cyclone

GRIPPER = "control_msgs/action/GripperCommand"


def main() -> None:
    transport = Cyclone("peer")
    new = transport.messages.new
    latched = transport.publisher("/robot_description", "std_msgs/msg/String", LATCHED)
    latched.publish(new("std_msgs/msg/String", data="<robot/>"))
    transport.publisher("/best_effort", "std_msgs/msg/String", QoS("best_effort"))
    trajectories = transport.publisher("/trajectory", "trajectory_msgs/msg/JointTrajectory", QoS("reliable", depth=10))
    pictures = transport.publisher("/picture_back", "sensor_msgs/msg/Image")

    def on_joints(received: Any) -> None:
        joints = received.message
        points = [{"positions": joints.position, "velocities": joints.velocity}]
        trajectories.publish(new("trajectory_msgs/msg/JointTrajectory", header=joints.header, joint_names=joints.name, points=points))

    def on_trigger(_: Any) -> Any:
        return new("std_srvs/srv/Trigger_Response", success=True, message="pong")

    def execute(goal: Any) -> None:
        goal.feedback(new(f"{GRIPPER}_Feedback", position=goal.goal.command.position / 2))
        if goal.goal.command.position < 0.05:
            goal.finish("succeeded", new(f"{GRIPPER}_Result", position=goal.goal.command.position))
        else:
            waiting.append(goal)

    def on_stop(_: Any) -> Any:
        for goal in waiting:
            goal.finish("canceled" if goal.cancel_requested else "aborted", new(f"{GRIPPER}_Result"))
        return new("std_srvs/srv/Trigger_Response", success=bool(waiting))

    waiting: list[Any] = []
    transport.subscribe("/joint_states", "sensor_msgs/msg/JointState", on_joints, QoS("reliable", depth=10))
    transport.subscribe("/picture", "sensor_msgs/msg/Image", lambda received: pictures.publish(received.message))
    transport.serve("/trigger", "std_srvs/srv/Trigger", on_trigger)
    transport.serve("/stop", "std_srvs/srv/Trigger", on_stop)
    transport.serve_action("/gripper", GRIPPER, lambda goal: goal.command.position >= 0, execute)
    print("ready", flush=True)
    sys.stdin.read()
    transport.close()


if __name__ == "__main__":
    main()
