"""The words of each task as plain data: what its world shows and takes, for worlds and importers alike."""

from __future__ import annotations

from collections.abc import Callable

from robolearn.errors import UserError, nearest
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

# Order of the six poses in ``parts_poses``; the fence is the front bar of the U that the top is pushed into.
ONE_LEG_PARTS = ("top", "leg1", "leg2", "leg3", "leg4", "fence")
ONE_LEG_STAGES = ("pushed", "grasped", "upright", "inserted", "screwed", "success")
ROUND_TABLE_PARTS = ("top", "leg", "table_base", "fence")
ROUND_TABLE_STAGES = (
    "pushed",
    "leg_grasped",
    "leg_inserted",
    "leg_screwed",
    "base_grasped",
    "base_inserted",
    "base_screwed",
    "success",
)
LAMP_PARTS = ("lamp_base", "bulb", "hood", "fence")
LAMP_STAGES = ("pushed", "bulb_grasped", "bulb_inserted", "bulb_screwed", "hood_grasped", "hood_over", "success")
POSE_SIZE = 9  # position 3 [m], rot6d 6


def one_leg_spec() -> EnvSpec:
    """FurnitureBench one_leg from state (ResiP, Ankile et al. 2024): 70 observed numbers, canonical action, 10 Hz.

    All positions in the robot's base frame, z = 0 on the table top; part orientations as rot6d, because quaternions flip sign.
    """
    return _furniture_spec("one_leg", ONE_LEG_PARTS, ONE_LEG_STAGES)


def round_table_spec() -> EnvSpec:
    """FurnitureBench round_table from state: 52 observed numbers, otherwise as one_leg."""
    return _furniture_spec("round_table", ROUND_TABLE_PARTS, ROUND_TABLE_STAGES)


def lamp_spec() -> EnvSpec:
    """FurnitureBench lamp from state: 52 observed numbers, otherwise as one_leg."""
    return _furniture_spec("lamp", LAMP_PARTS, LAMP_STAGES)


def _furniture_spec(task: str, parts: tuple[str, ...], stages: tuple[str, ...]) -> EnvSpec:
    """One arm at 10 Hz that sees itself and these poses."""
    return EnvSpec(
        task=task,
        observation={
            "tcp_pos": ArraySpec((3,), units="m", frame="base"),
            "tcp_rot6d": ArraySpec((6,), units="rot6d", frame="base"),
            "tcp_linvel": ArraySpec((3,), units="m/s", frame="base"),
            "tcp_angvel": ArraySpec((3,), units="rad/s", frame="base"),
            "gripper_width": ArraySpec((1,), units="m"),
            "parts_poses": ArraySpec((POSE_SIZE * len(parts),), units="m, rot6d", frame="base"),
        },
        action=tool_pose_action((0.2, -0.35, -0.02), (0.8, 0.35, 0.45)),
        control_hz=10.0,
        stages=stages,
    )


SPECS: dict[str, Callable[[], EnvSpec]] = {"one_leg": one_leg_spec, "round_table": round_table_spec, "lamp": lamp_spec}


def env_spec_of(task: str) -> EnvSpec:
    """The spec of a task by name.

    Raises:
        UserError: no such task; the message names the nearest.
    """
    if task not in SPECS:
        raise UserError(f"no task {task!r}; there are {', '.join(sorted(SPECS))}{nearest(task, SPECS)}")
    return SPECS[task]()
