"""The words of each task as plain data: what its world shows and takes, for worlds and importers alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from robolearn.errors import UserError, nearest
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action

# Order of the six poses in ``parts_poses``; the fence is the front bar of the U that the top is pushed into.
ONE_LEG_PARTS = ("top", "leg1", "leg2", "leg3", "leg4", "fence")
ONE_LEG_STAGES = ("pushed", "grasped", "upright", "inserted", "screwed", "success")
POSE_SIZE = 9  # position 3 [m], rot6d 6


def one_leg_spec() -> EnvSpec:
    """FurnitureBench one_leg from state (ResiP, Ankile et al. 2024): 70 observed numbers, canonical action, 10 Hz.

    All positions in the robot's base frame, z = 0 on the table top; part orientations as rot6d, because quaternions flip sign.
    """
    return EnvSpec(
        task="one_leg",
        observation={
            "tcp_pos": ArraySpec((3,), units="m", frame="base"),
            "tcp_rot6d": ArraySpec((6,), units="rot6d", frame="base"),
            "tcp_linvel": ArraySpec((3,), units="m/s", frame="base"),
            "tcp_angvel": ArraySpec((3,), units="rad/s", frame="base"),
            "gripper_width": ArraySpec((1,), units="m"),
            "parts_poses": ArraySpec((POSE_SIZE * len(ONE_LEG_PARTS),), units="m, rot6d", frame="base"),
        },
        action=tool_pose_action((0.2, -0.35, -0.02), (0.8, 0.35, 0.45)),
        control_hz=10.0,
        stages=ONE_LEG_STAGES,
    )


def peg_hole_spec() -> EnvSpec:
    """Factory's rectangular peg and hole from state, as ResiP has them: 34 observed numbers, canonical action, 10 Hz."""
    return _assembly_spec("peg_hole", bodies=2, stages=("reached", "grasped", "aligned", "entered", "success"))


def bimanual_insertion_spec() -> EnvSpec:
    """Two arms put a peg into a socket, after ALOHA's and ResiP's task: 50 observed numbers, a canonical action an arm, 50 Hz."""
    spec = _assembly_spec("bimanual_insertion", bodies=2, stages=("reached", "grasped", "lifted", "aligned", "entered", "success"))
    arms, one = ("left_", "right_"), spec.action
    parts = {"parts_poses": spec.observation["parts_poses"]}
    hands = {f"{arm}{name}": entry for arm in arms for name, entry in spec.observation.items() if name not in parts}
    names = tuple(f"{arm}{name}" for arm in arms for name in one.names)
    both = replace(one, names=names, low=one.low * 2, high=one.high * 2, units=f"{one.units}, {one.units}")
    return replace(spec, observation={**hands, **parts}, action=both, control_hz=50.0)


def _assembly_spec(task: str, bodies: int, stages: tuple[str, ...]) -> EnvSpec:
    """What every task of parts on the table shows and takes: one_leg's, with the poses of as many bodies as it has."""
    spec = one_leg_spec()
    poses = ArraySpec((POSE_SIZE * bodies,), units="m, rot6d", frame="base")
    return replace(spec, task=task, observation={**spec.observation, "parts_poses": poses}, stages=stages)


SPECS: dict[str, Callable[[], EnvSpec]] = {
    "one_leg": one_leg_spec,
    "peg_hole": peg_hole_spec,
    "bimanual_insertion": bimanual_insertion_spec,
}


def env_spec_of(task: str) -> EnvSpec:
    """The spec of a task by name.

    Raises:
        UserError: no such task; the message names the nearest.
    """
    if task not in SPECS:
        raise UserError(f"no task {task!r}; there are {', '.join(sorted(SPECS))}{nearest(task, SPECS)}")
    return SPECS[task]()
