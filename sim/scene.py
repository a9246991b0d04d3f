"""The one_leg scene: table, Panda, table top, four legs and the fence, assembled into one MJCF document."""

from __future__ import annotations

import functools
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

from robolearn.sim.furniture import HOLES, Fit, add_fence, add_leg, add_top
from robolearn.sim.headless import mujoco
from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR, TABLE_COLOR, add_looks
from robolearn.sim.panda import ServoGains, add_panda

LEGS = ("leg1", "leg2", "leg3", "leg4")
REQUIRED_LEG = "leg4"
SUBSTEPS = 20
TIMESTEP = 0.005  # [s]


@dataclass(frozen=True)
class Contacts:
    """Friction coefficients and constraint softness (measured: clearances of 1 mm need no more than 0.3 mm of penetration)."""

    part_friction: float = 0.15
    pad_friction: float = 1.0
    solref: str = ".01 1"
    solimp: str = ".95 .99 .0005"


@dataclass(frozen=True)
class SceneConfig:
    """Everything that shapes the physics of one_leg."""

    gains: ServoGains = field(default_factory=ServoGains)
    fit: Fit = field(default_factory=Fit)
    contacts: Contacts = field(default_factory=Contacts)


@functools.lru_cache(maxsize=8)
def build_model(config: SceneConfig, visual: bool = False) -> mujoco.MjModel:
    """Compile the scene; ``visual`` adds meshes for pictures and changes no state."""
    return mujoco.MjModel.from_xml_string(ET.tostring(build_mjcf(config, visual), encoding="unicode"))


def build_mjcf(config: SceneConfig, visual: bool = False) -> ET.Element:
    """The scene as MJCF; the world frame is the robot's base frame, z = 0 the table top."""
    root = ET.Element("mujoco", model="one_leg")
    ET.SubElement(root, "compiler", angle="radian", autolimits="true")
    option = ET.SubElement(
        root,
        "option",
        timestep=str(TIMESTEP),
        integrator="implicitfast",
        cone="elliptic",
        impratio="10",
        iterations="20",
        ls_iterations="20",
    )
    # A state that is not finite must stay visible: MuJoCo's own reset would hide it.
    ET.SubElement(option, "flag", sleep="enable", autoreset="disable")
    _add_defaults(root, config.contacts)
    world = ET.SubElement(root, "worldbody")
    _add_surroundings(world)
    add_panda(root, config.gains, visual)
    add_top(world, config.fit)
    for name in LEGS:
        add_leg(world, name, config.fit, REQUIRED_COLOR if name == REQUIRED_LEG else PART_COLOR)
    add_fence(world)
    _add_thread(root, config.fit)
    if visual:
        add_looks(root)
    return root


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


def _add_thread(root: ET.Element, fit: Fit) -> None:
    """A weld from each hole's nut to the leg, and the screw law of the nut; all off until the pin has entered.

    The turn is joint1: with the slide as joint1 the light hinge makes the constraint ill-conditioned. Both are stiffer than
    contacts, so that a leg pressed with 10 N gives way by a millimetre and cannot seat unturned.
    """
    firm = {"solref": ".01 1", "solimp": ".99 .9999 .0005"}
    equality = ET.SubElement(root, "equality")
    turns_per_metre = 2 * math.pi / fit.pitch
    for index in range(len(HOLES)):
        weld = {"name": f"thread{index}", "site1": f"nut{index}", "site2": REQUIRED_LEG, "torquescale": ".2", **firm}
        screw = {
            "name": f"screw{index}",
            "joint1": f"nut{index}_turn",
            "joint2": f"nut{index}_rise",
            "polycoef": f"0 {turns_per_metre} 0 0 0",
            **firm,
        }
        ET.SubElement(equality, "weld", weld, active="false")
        ET.SubElement(equality, "joint", screw, active="false")
