"""robosuite's own model, lightened for batches: the same physics to the bit, without what only pictures and unread sensors need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite.osc import JOINTS, NUMERIC, USERDATA, Arm, table_size, write_table

Contacts = Mapping[str, Sequence[tuple[str, str]]]  # {what touches: [(geom, body with all that hangs on it, or geom), ...]}
_VISUAL_GROUP = 1
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
        UserError: an arm or controller that the compiled controller is not made for.
    """
    return tuple(_robot(robot) for robot in host.robots)


def _robot(robot: Any) -> Robot:
    if list(robot.arms) != ["right"] or type(robot.gripper["right"]).__name__ != "PandaGripper":
        raise UserError(f"batched robosuite tasks have the robot Panda with its own gripper, not {robot.name}")
    settings, controller = robot.part_controller_config["right"], robot.part_controllers["right"]
    wanted = {"type": "OSC_POSE", "impedance_mode": "fixed", "interpolation": None, "uncouple_pos_ori": True}
    for name, value in wanted.items():
        if settings.get(name, value) != value:
            raise UserError(f"batched robosuite tasks have a controller with {name}={value!r}, not {settings[name]!r}")
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


def build_model(
    host: Any, robots: tuple[Robot, ...], contacts: Contacts, hidden: Sequence[str] = (), sleep: bool = False, xml: str | None = None
) -> mujoco.MjModel:
    """Compile the model of a robosuite environment for :class:`robolearn.sim.engine.Engine` and the compiled controller.

    Left out: visual geoms, cameras, lights and the wrists' force sensors. Added: a sensor for every pair in ``contacts``, and
    userdata for the controller's goals. ``hidden`` objects, which robosuite parks beside the world, neither collide nor fall.

    Args:
        host: robosuite's environment.
        robots: its arms.
        contacts: what the task asks of contacts.
        hidden: names of bodies.
        sleep: whether MuJoCo may put what rests to sleep.
        xml: the world's document where it is not the one that the environment made itself.
    """
    spec = mujoco.MjSpec.from_string(host.edit_model_xml(xml or host.model.get_xml()))
    for element in [*spec.sensors, *spec.cameras, *spec.lights, *(geom for geom in spec.geoms if geom.group == _VISUAL_GROUP)]:
        spec.delete(element)
    bodies = {body.name for body in spec.bodies}
    for pairs in contacts.values():
        for geom, other in pairs:
            kind = mujoco.mjtObj.mjOBJ_XBODY if other in bodies else mujoco.mjtObj.mjOBJ_GEOM
            _add_contact(spec, geom, other, kind)
    for name in hidden:
        body = spec.body(name)
        for each in [body, *body.find_all("body")]:
            each.gravcomp = 1
        for geom in body.find_all("geom"):
            geom.contype = geom.conaffinity = 0
    spec.nuserdata = USERDATA * len(robots)
    spec.add_numeric(name=NUMERIC, size=table_size(len(robots)), data=np.zeros(table_size(len(robots))))
    if sleep:
        spec.option.enableflags |= mujoco.mjtEnableBit.mjENBL_SLEEP.value
    model = spec.compile()
    write_table(model, tuple(robot.osc for robot in robots))
    return model


def _add_contact(spec: Any, geom: str, other: str, kind: Any) -> None:
    sensor = spec.add_sensor(type=mujoco.mjtSensor.mjSENS_CONTACT, objtype=mujoco.mjtObj.mjOBJ_GEOM, objname=geom)
    sensor.reftype, sensor.refname = kind, other
    sensor.intprm[: len(_FOUND)] = _FOUND
