"""The words of each task as plain data: what its world shows and takes, for worlds and importers alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from robolearn.errors import UserError, nearest
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action
from robolearn.tasks_robosuite import ROBOSUITE, robosuite_spec

# Order of the six poses in ``parts_poses``; the fence is the front bar of the U that the top is pushed into.
ONE_LEG_PARTS = ("top", "leg1", "leg2", "leg3", "leg4", "fence")
ONE_LEG_STAGES = ("pushed", "grasped", "upright", "inserted", "screwed", "success")
SQUARE_TABLE_STAGES = ("pushed", *(f"{done}_{legs}" for legs in range(1, 5) for done in ("inserted", "screwed")), "success")
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


def assembly_spec(
    task: str,
    bodies: int,
    stages: tuple[str, ...],
    *,
    low: tuple[float, float, float] = (0.2, -0.35, -0.02),
    high: tuple[float, float, float] = (0.8, 0.35, 0.45),
    control_hz: float = 10.0,
) -> EnvSpec:
    """An assembly task of one arm, from state: its tool, its fingers and the poses of ``bodies`` parts and fixtures; canonical action.

    All positions in the robot's base frame, z = 0 on the table top; part orientations as rot6d, because quaternions flip sign.
    ``low`` and ``high`` limit the tool's target [m].
    """
    return EnvSpec(
        task=task,
        observation={
            "tcp_pos": ArraySpec((3,), units="m", frame="base"),
            "tcp_rot6d": ArraySpec((6,), units="rot6d", frame="base"),
            "tcp_linvel": ArraySpec((3,), units="m/s", frame="base"),
            "tcp_angvel": ArraySpec((3,), units="rad/s", frame="base"),
            "gripper_width": ArraySpec((1,), units="m"),
            "parts_poses": ArraySpec((POSE_SIZE * bodies,), units="m, rot6d", frame="base"),
        },
        action=tool_pose_action(low, high),
        control_hz=control_hz,
        stages=stages,
    )


def one_leg_spec() -> EnvSpec:
    """FurnitureBench one_leg (ResiP, Ankile et al. 2024): 70 observed numbers, 10 Hz."""
    return assembly_spec("one_leg", len(ONE_LEG_PARTS), ONE_LEG_STAGES)


def round_table_spec() -> EnvSpec:
    """FurnitureBench round_table: 52 observed numbers, 10 Hz."""
    return assembly_spec("round_table", len(ROUND_TABLE_PARTS), ROUND_TABLE_STAGES)


def lamp_spec() -> EnvSpec:
    """FurnitureBench lamp: 52 observed numbers, 10 Hz."""
    return assembly_spec("lamp", len(LAMP_PARTS), LAMP_STAGES)


def pick_cube_spec() -> EnvSpec:
    """A cube and where it is to go, 20 Hz."""
    return assembly_spec("pick_cube", 2, ("reached", "grasped", "lifted", "success"), high=(0.8, 0.35, 0.6), control_hz=20.0)


def stack_blocks_spec() -> EnvSpec:
    """Three blocks, 10 Hz."""
    return assembly_spec("stack_blocks", 3, ("middle_grasped", "middle_stacked", "top_grasped", "top_stacked", "success"))


def square_table_spec() -> EnvSpec:
    """FurnitureBench square_table: one_leg's parts, four times its work, 10 Hz."""
    return assembly_spec("square_table", len(ONE_LEG_PARTS), SQUARE_TABLE_STAGES)


def mug_rack_spec() -> EnvSpec:
    """FurnitureBench mug_rack: a mug and a rack, 10 Hz."""
    return assembly_spec("mug_rack", 2, ("grasped", "threaded", "hung", "success"))


def peg_hole_spec() -> EnvSpec:
    """Factory's rectangular peg and hole from state, as ResiP has them: 34 observed numbers, canonical action, 10 Hz."""
    return assembly_spec("peg_hole", 2, ("reached", "grasped", "aligned", "entered", "success"))


def bimanual_insertion_spec() -> EnvSpec:
    """Two arms put a peg into a socket, after ALOHA's and ResiP's task: 50 observed numbers, a canonical action an arm, 50 Hz."""
    spec = assembly_spec("bimanual_insertion", 2, ("reached", "grasped", "lifted", "aligned", "entered", "success"))
    arms, one = ("left_", "right_"), spec.action
    parts = {"parts_poses": spec.observation["parts_poses"]}
    hands = {f"{arm}{name}": entry for arm in arms for name, entry in spec.observation.items() if name not in parts}
    names = tuple(f"{arm}{name}" for arm in arms for name in one.names)
    both = replace(one, names=names, low=one.low * 2, high=one.high * 2, units=f"{one.units}, {one.units}")
    return replace(spec, observation={**hands, **parts}, action=both, control_hz=50.0)


SPECS: dict[str, Callable[[], EnvSpec]] = {
    "one_leg": one_leg_spec,
    "square_table": square_table_spec,
    "round_table": round_table_spec,
    "lamp": lamp_spec,
    "mug_rack": mug_rack_spec,
    "peg_hole": peg_hole_spec,
    "bimanual_insertion": bimanual_insertion_spec,
    "stack_blocks": stack_blocks_spec,
    "pick_cube": pick_cube_spec,
    **{task: partial(robosuite_spec, task) for task in ROBOSUITE},
}


def env_spec_of(task: str) -> EnvSpec:
    """The spec of a task by name.

    Raises:
        UserError: no such task; the message names the nearest.
    """
    if task not in SPECS:
        raise UserError(f"no task {task!r}; there are {', '.join(sorted(SPECS))}{nearest(task, SPECS)}")
    return SPECS[task]()
