"""The words of robosuite's tasks as plain data: what their batched worlds show and take, for worlds and importers alike."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.spec import ActionSpec, ArraySpec, EnvSpec, tool_pose_action

CONTROL_HZ = 20.0
# [m] in a robot's base frame, which stands 11 cm above the tables; wide enough for what people did in the published recordings.
_LOW, _HIGH = (-0.1, -0.8, -0.2), (1.0, 0.9, 0.8)


@dataclass(frozen=True)
class RobosuiteWords:
    """What is particular to one task.

    Args:
        world: robosuite's name of it.
        parts: what ``parts_poses`` holds, in order.
        object_size: numbers in robosuite's ``object``.
        stages: reached so far in an episode, in order.
        arms: how many Pandas.
    """

    world: str
    parts: tuple[str, ...]
    object_size: int
    stages: tuple[str, ...]
    arms: int = 1


ROBOSUITE = {
    "lift": RobosuiteWords("Lift", ("cube",), 10, ("grasped", "success")),
    "stack": RobosuiteWords("Stack", ("cube_a", "cube_b"), 23, ("grasped", "lifted", "success")),
    "can": RobosuiteWords("PickPlaceCan", ("can",), 14, ("grasped", "lifted", "above_bin", "success")),
    "square": RobosuiteWords("NutAssemblySquare", ("nut",), 14, ("grasped", "lifted", "above_peg", "success")),
    "tool_hang": RobosuiteWords("ToolHang", ("stand", "frame", "tool"), 44, ("assembled", "hung", "success")),
    "transport": RobosuiteWords(
        "TwoArmTransport",
        ("payload", "trash", "start_bin", "target_bin", "trash_bin", "lid"),
        41,
        ("payload_lifted", "trash_in_bin", "payload_in_bin", "success"),
        arms=2,
    ),
}


def robosuite_spec(task: str) -> EnvSpec:
    """A robosuite task from state: the project's words, and robosuite's own as robomimic names them.

    ``tcp_*``, ``gripper_width`` and ``joint_pos`` are of each arm in its own base frame, named as :func:`arm_prefixes` says;
    ``parts_poses`` is in the first robot's. ``robot0_*`` and ``object`` are robosuite's, in the world, quaternions there xyzw.
    """
    words = ROBOSUITE[task]
    arms = words.arms
    observation = {}
    for prefix in arm_prefixes(arms):
        observation[f"{prefix}tcp_pos"] = ArraySpec((3,), units="m", frame="base")
        observation[f"{prefix}tcp_rot6d"] = ArraySpec((6,), units="rot6d", frame="base")
        observation[f"{prefix}tcp_linvel"] = ArraySpec((3,), units="m/s", frame="base")
        observation[f"{prefix}tcp_angvel"] = ArraySpec((3,), units="rad/s", frame="base")
        observation[f"{prefix}gripper_width"] = ArraySpec((1,), units="m")
        observation[f"{prefix}joint_pos"] = ArraySpec((7,), units="rad")
    observation["parts_poses"] = ArraySpec((9 * len(words.parts),), units="m, rot6d", frame="base")
    for arm in range(arms):
        observation[f"robot{arm}_eef_pos"] = ArraySpec((3,), units="m", frame="world")
        observation[f"robot{arm}_eef_quat"] = ArraySpec((4,), units="xyzw", frame="world")
        observation[f"robot{arm}_gripper_qpos"] = ArraySpec((2,), units="m")
    observation["object"] = ArraySpec((words.object_size,), frame="world")
    return EnvSpec(task, observation, tool_poses_action(arms), CONTROL_HZ, words.stages)


def arm_prefixes(arms: int) -> tuple[str, ...]:
    """How the names of each robot's numbers begin, robosuite's first robot first.

    That one stands at -y, the second at +y: right and left for who looks along x, as in our own tasks of two arms.
    """
    return ("",) if arms == 1 else ("right_", "left_")


def tool_poses_action(arms: int) -> ActionSpec:
    """The canonical action of each arm in turn, ``(A * 10,)``, named as :func:`arm_prefixes` says."""
    one = tool_pose_action(_LOW, _HIGH)
    names = tuple(f"{prefix}{name}" for prefix in arm_prefixes(arms) for name in one.names)
    return ActionSpec(names, one.low * arms, one.high * arms, ", ".join([one.units] * arms))


def pose_steps_action(low: tuple[float, ...], high: tuple[float, ...], arms: int, units: str, frame: str) -> ActionSpec:
    """What robosuite itself takes for each arm in turn, ``(A * 7,)``: position or step 3, rotation vector 3, gripper 1."""
    one = ("x", "y", "z", "rx", "ry", "rz", "gripper")
    names = tuple(f"{prefix}{name}" for prefix in arm_prefixes(arms) for name in one)
    return ActionSpec(names, low * arms, high * arms, units, frame)
