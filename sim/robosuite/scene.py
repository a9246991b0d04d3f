"""robosuite's own model, lightened for batches: the same physics to the bit, without what only pictures and unread sensors need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite.callbacks import NUMERIC, table_size, write_table
from robolearn.sim.robosuite.osc import JOINTS, USERDATA, Arm

Contacts = Mapping[str, Sequence[tuple[str, str]]]  # {what touches: [(one, other), ...]}, geoms or bodies with all that hangs on them
# Links of the Panda that MuJoCo tests for contact in every step, and that no joint angles bring together; a test looks.
NEVER_MEET = (("link1", "link0"), ("link2", "link0"), ("link4", "link2"), ("link5", "link3"))
FEW_GEOMS = 8  # of a body: comparing each pair takes less than MuJoCo's trees of boxes, and finds the same contacts in the same order
_CONTROLLER: dict[str, Any] = {
    "type": "OSC_POSE",
    "impedance_mode": "fixed",
    "interpolation": None,
    "uncouple_pos_ori": True,
    "position_limits": None,
    "orientation_limits": None,
}
_LIMITS = ("input_min", "input_max", "output_min", "output_max")
_OF_ACTIONS = ("input_type", "input_ref_frame", *_LIMITS)  # what a controller makes of them
_FOUND = (1 << mujoco.mjtConDataField.mjCONDATA_FOUND.value, 0, 1)  # whether there is a contact; any; one number


@dataclass(frozen=True)
class Robot:
    """One arm of a robosuite environment, by the names and numbers of its model.

    Args:
        prefix: of its observations, ``robot0_``.
        osc: what its controller needs.
        hand: name of the body whose orientation robosuite observes.
        fingers: names of the finger joints.
        finger_actuators: names of their position servos.
        base_position: of the frame in which actions and observations are, in the world, 3 [m].
        base_rotation: its axes as columns, (3, 3).
        controller: robosuite's settings of the controller.
    """

    prefix: str
    osc: Arm
    hand: str
    fingers: tuple[str, ...]
    finger_actuators: tuple[str, ...]
    base_position: NDArray[np.float64]
    base_rotation: NDArray[np.float64]
    controller: Mapping[str, Any]


def robots_of(host: Any) -> tuple[Robot, ...]:
    """The arms of a robosuite environment.

    Raises:
        UserError: an arm or controller that the compiled controller is not made for, or two that read actions differently.
    """
    robots = tuple(_robot(robot) for robot in host.robots)
    _check_alike(robots)
    return robots


def _robot(robot: Any) -> Robot:
    grippers = [type(robot.gripper[arm]).__name__ for arm in robot.arms]
    if list(robot.arms) != ["right"] or grippers != ["PandaGripper"]:
        came = f"{robot.name} with {', '.join(grippers)}"
        raise UserError(f"batched robosuite tasks have the robot Panda with its own gripper, PandaGripper, not {came}")
    settings, controller = robot.part_controller_config["right"], robot.part_controllers["right"]
    check_controller(settings)
    for name in _LIMITS:
        if np.shape(settings.get(name, 0)) not in ((), (6,)):
            raise UserError(f"a controller's {name} is one number or 6, a step's and a turn's, not {settings[name]!r}")
    model, gripper = robot.robot_model, robot.gripper["right"]
    base_position, base_rotation = robot.composite_controller.get_controller_base_pose("right")
    osc = Arm(
        joints=tuple(controller.joint_names),
        actuators=tuple(model.arm_actuators),
        site=controller.ref_name,
        stiffness=np.array(controller.kp, np.float64),
        damping=np.array(controller.kd, np.float64),
    )
    if len(osc.joints) != JOINTS:
        raise UserError(f"batched robosuite tasks have arms of {JOINTS} joints, {robot.name} has {len(osc.joints)}")
    return Robot(
        prefix=model.naming_prefix,
        osc=osc,
        hand=model.eef_name["right"],
        fingers=tuple(gripper.joints),
        finger_actuators=tuple(gripper.actuators),
        base_position=base_position,
        base_rotation=base_rotation,
        controller=settings,
    )


def check_controller(settings: Mapping[str, Any]) -> None:
    """Raise ``UserError`` unless robosuite's settings of an arm's controller are those of the compiled one."""
    for name, value in _CONTROLLER.items():
        if settings.get(name, value) != value:
            raise UserError(f"batched robosuite tasks have a controller with {name}={value!r}, not {settings[name]!r}")


def _check_alike(robots: tuple[Robot, ...]) -> None:
    one, *others = robots
    for other in others:
        for name in _OF_ACTIONS:
            first, second = one.controller.get(name), other.controller.get(name)
            if not np.all(np.asarray(first) == np.asarray(second)):
                raise UserError(
                    f"batched robosuite tasks have arms that read actions alike, not with {name}={first!r} and {name}={second!r}"
                )


def build_model(
    host: Any,
    robots: tuple[Robot, ...],
    contacts: Contacts,
    *,
    hidden: Sequence[str] = (),
    sites: Sequence[str] = (),
    sleep: bool = False,
    xml: str | None = None,
) -> mujoco.MjModel:
    """Compile the model of a robosuite environment for :class:`robolearn.sim.engine.Engine` and the compiled controller.

    Left out, because nothing that remains can tell: what only pictures need, the wrists' force sensors, ``hidden`` objects (robosuite
    parks them beside the world), sites and empty bodies that nobody asks for, and collisions of links that cannot meet.
    Added: a sensor for every pair in ``contacts``, and userdata for the controller's goals.

    Args:
        host: robosuite's environment.
        robots: its arms.
        contacts: what the task asks of contacts.
        hidden: names of bodies.
        sites: whose place the task asks for.
        sleep: whether MuJoCo may put what rests to sleep.
        xml: the world's document where it is not the one that the environment made itself.
    """
    spec = mujoco.MjSpec.from_string(host.edit_model_xml(xml or host.model.get_xml()))
    _strip(spec, {*sites, *(robot.osc.site for robot in robots)}, hidden, {robot.hand for robot in robots})
    for robot in robots:
        for one, other in NEVER_MEET:
            spec.add_exclude(bodyname1=f"{robot.prefix}{one}", bodyname2=f"{robot.prefix}{other}")
    bodies = {body.name for body in spec.bodies}
    for pairs in contacts.values():
        for one, other in pairs:
            _add_contact(spec, one, other, bodies)
    spec.nuserdata = USERDATA * len(robots)
    size = table_size(len(robots), len(spec.bodies))
    spec.add_numeric(name=NUMERIC, size=size, data=np.zeros(size))
    spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_AUTORESET.value  # a row that fails stays so, and is found
    if max(len(body.geoms) for body in spec.bodies) <= FEW_GEOMS:
        spec.option.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE.value
    if len(robots) > 1:
        spec.option.jacobian = mujoco.mjtJacobian.mjJAC_SPARSE  # faster from 50 degrees of freedom on; MuJoCo itself turns at 60
    if sleep:
        spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP.value
    model = spec.compile()
    fixed = model.body_weldid == 0
    with_fixed_root = np.array([fixed[model.body_rootid == root].all() for root in model.body_rootid])
    model.body_mass[with_fixed_root] = 0.0  # tables: what weighs nothing has no drag to compute
    write_table(model, tuple(robot.osc for robot in robots))
    return model


def _strip(spec: Any, sites: set[str], hidden: Sequence[str], hands: set[str]) -> None:
    """Take out what no dynamics, contact or observation depends on."""
    for name in hidden:
        spec.delete(spec.body(name))
    unseen = [geom for geom in spec.geoms if not geom.contype and not geom.conaffinity]
    unread = [site for site in spec.sites if site.name not in sites]
    for element in [*spec.sensors, *spec.cameras, *spec.lights, *unseen, *unread]:
        spec.delete(element)
    while empty := [body for body in spec.bodies if _is_empty(body) and body.name not in {"world", *hands}]:
        for body in empty:
            spec.delete(body)


def _is_empty(body: Any) -> bool:
    return not (body.mass or len(body.joints) or len(body.geoms) or len(body.sites) or len(body.bodies))


def _add_contact(spec: Any, one: str, other: str, bodies: set[str]) -> None:
    def kind(name: str) -> Any:
        return mujoco.mjtObj.mjOBJ_XBODY if name in bodies else mujoco.mjtObj.mjOBJ_GEOM

    sensor = spec.add_sensor(type=mujoco.mjtSensor.mjSENS_CONTACT, objtype=kind(one), objname=one)
    sensor.reftype, sensor.refname = kind(other), other
    sensor.intprm[: len(_FOUND)] = _FOUND


def columns(host: Any, model: mujoco.MjModel) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where a model's joint positions ``(nq,)`` and velocities ``(nv,)`` are in robosuite's world, hidden objects included."""
    whole = host.sim.model._model
    positions: list[int] = []
    velocities: list[int] = []
    for index in range(model.njnt):
        joint = whole.joint(model.joint(index).name)
        positions += range(int(joint.qposadr[0]), int(joint.qposadr[0]) + len(joint.qpos0))
        velocities += range(int(joint.dofadr[0]), int(joint.dofadr[0]) + len(joint.damping))
    return np.array(positions), np.array(velocities)
