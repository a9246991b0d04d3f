"""A task's scene: table, robots, parts and fixtures, assembled into one MJCF document."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET

from robolearn.sim.headless import mujoco
from robolearn.sim.looks import TABLE_COLOR, add_looks, find_quality
from robolearn.sim.panda import add_panda, add_touch
from robolearn.sim.screw import add_nuts, add_threads
from robolearn.sim.task import Contacts, Task


@functools.lru_cache(maxsize=16)
def build_model(task: Task, visual: bool = False, touch: bool = False, quality: str = "fine") -> mujoco.MjModel:
    """Compile the scene; ``visual`` adds meshes for pictures, ``touch`` senses the fingers' forces; neither changes a state.

    Raises:
        UserError: no such picture quality.
    """
    return mujoco.MjModel.from_xml_string(ET.tostring(build_mjcf(task, visual, touch, quality), encoding="unicode"))


def build_mjcf(task: Task, visual: bool = False, touch: bool = False, quality: str = "fine") -> ET.Element:
    """The scene as MJCF; the world frame is the robot's base frame, z = 0 the table top."""
    root = ET.Element("mujoco", model=task.name)
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    _add_option(root, task, sleep=not visual)
    _add_defaults(root, task.contacts)
    world = ET.SubElement(root, "worldbody")
    _add_surroundings(world)
    mesh_cell = find_quality(quality).mesh_cell if visual else None
    for arm in task.arms:
        add_panda(root, task.gains, mesh_cell, arm)
    task.add_bodies(world)
    add_nuts(world, task.sockets())
    add_threads(root, task.sockets())
    if touch:
        for arm in task.arms:
            add_touch(root, arm)
    if visual:
        add_looks(root, task.arms)
    return root


def _add_option(root: ET.Element, task: Task, sleep: bool) -> None:
    physics = task.physics
    numerics = {"timestep": str(physics.timestep), "iterations": str(physics.iterations)}
    numerics["ls_iterations"] = str(physics.linesearch)
    option = ET.SubElement(root, "option", {**numerics, "integrator": "implicitfast", "cone": "elliptic", "impratio": "10"})
    if physics.noslip:
        option.set("noslip_iterations", str(physics.noslip))
    # A state that is not finite must stay visible: MuJoCo's own reset would hide it. Where things may sleep, MuJoCo leaves alone what is
    # fixed to the world, so that a scene which is drawn would keep its first cameras, lights and distractors.
    ET.SubElement(option, "flag", sleep="enable" if sleep else "disable", autoreset="disable")


def _add_defaults(root: ET.Element, contacts: Contacts) -> None:
    default = ET.SubElement(root, "default")
    ET.SubElement(default, "geom", solref=contacts.solref, solimp=contacts.solimp)
    for name, friction, condim in (
        ("part", contacts.part_friction, 3),
        ("finger", contacts.part_friction, 3),
        ("pad", contacts.pad_friction, 4),
    ):
        child = ET.SubElement(default, "default", {"class": name})
        ET.SubElement(child, "geom", friction=f"{friction} .005 .0001", condim=str(condim))


def _add_surroundings(world: ET.Element) -> None:
    ET.SubElement(world, "site", name="base_frame", size=".001", group="4")
    ET.SubElement(world, "geom", {"class": "part", "name": "table", "type": "plane", "size": "3 3 .1", "rgba": TABLE_COLOR})
