"""The Franka Panda of robosuite's installed MJCF, with a task-space impedance servo that runs inside MuJoCo."""

from __future__ import annotations

import importlib.util
import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.sim.meshes import read_mesh, thin

# Joint angles [rad] at which an episode of FurnitureBench starts.
HOME = (-0.026, 0.376, 0.125, -2.138, -0.094, 2.496, 0.019)
ARM_JOINTS = tuple(f"joint{index}" for index in range(1, 8))
FINGER_JOINTS = ("finger_joint1", "finger_joint2")
# Each finger's travel [m]: the printed gripper of FurnitureSim reads a width of 65 mm open and 7 mm closed.
FINGER_OPEN, FINGER_CLOSED = 0.0325, 0.0035

_PADS = ("leftfinger", "rightfinger")


# Groups of actuators, where an arm has two servos of which one is off; the fingers' are in group 0, which is always on.
TOOL_GROUP, JOINT_GROUP = 1, 2


@dataclass(frozen=True)
class JointGains:
    """A servo of the joints, as ros2_control's effort controller is: a damped spring to a moving set point.

    Together the springs hold the tool about as firmly as :class:`ServoGains` do, and their dampers, which hold it to the
    set point's velocity, lag as little: a set point that follows a target as the tool would, moves and presses it alike.
    """

    stiffness: tuple[float, ...] = (1000.0, 500.0, 1500.0, 360.0, 250.0, 300.0, 220.0)  # [Nm/rad]
    damping: tuple[float, ...] = (100.0, 90.0, 100.0, 60.0, 30.0, 28.0, 16.0)  # [Nms/rad]


@dataclass(frozen=True)
class ServoGains:
    """Impedance of the tool centre point: a damped spring to the commanded pose.

    With damping ``kv = kp / rate`` far above critical, the tool follows a target as a first-order lag of ``rate`` [1/s]:
    a step of 0.1 s covers ``1 - exp(-0.1 rate)`` of the way, 0.385 in translation and 0.6 in rotation, which is what
    the recorded FurnitureSim demonstrations do.
    """

    stiffness: float = 3000.0  # [N/m]
    rate: float = 4.86  # [1/s]
    rotation_stiffness: float = 200.0  # [Nm/rad]
    rotation_rate: float = 9.16  # [1/s]
    grip_force: float = 20.0  # [N] a finger
    grip_stiffness: float = 4000.0  # [N/m]
    posture_stiffness: float = 0.0  # [Nm/rad] draws joints 3 and 5 to 0: in long episodes elbow and wrist drift into their limits
    tool_offset: float = 0.0964  # [m] from the hand along its z: calibrated on pushes, see docs/world.md
    joints: JointGains | None = None  # a servo of the joints beside the tool's, at first off


@dataclass(frozen=True)
class Arm:
    """One robot of a scene: what its names begin with, and where its base stands in the scene's base frame [m, rad]."""

    prefix: str = ""
    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0


def _assets() -> Path:
    package = importlib.util.find_spec("robosuite")
    if package is None or package.origin is None:
        raise UserError("robosuite is not installed; the Panda's model comes with it: in a clone, pip install '.[sim]'")
    return Path(package.origin).parent / "models" / "assets"


def add_panda(root: ET.Element, gains: ServoGains, mesh_cell: float | None, place: Arm) -> None:
    """Put an arm, its gripper and its actuators into an MJCF document whose world frame is the base frame.

    Control vector: TCP position 3 [m], TCP quaternion 4 (wxyz), finger targets 2 [m]; with a servo of the joints their set points 7.
    Links do not collide; each finger collides as two boxes. ``mesh_cell`` [m] keeps robosuite's meshes
    with so much detail, for pictures only: with and without them a scene has the same state.
    """
    folder = _assets()
    arm = ET.parse(folder / "robots" / "panda" / "robot.xml").getroot()
    gripper = ET.parse(folder / "grippers" / "panda_gripper.xml").getroot()
    meshes: set[str] = set()
    if mesh_cell is not None:
        meshes = _copy_assets(root, arm, folder / "robots" / "panda", mesh_cell) | _copy_assets(
            root, gripper, folder / "grippers", mesh_cell
        )
    base = _find(arm, "body", "base")
    _find(base, "body", "right_hand").append(_find(gripper, "body", "right_gripper"))
    _strip(base, meshes)
    _soften_joints(base)
    if gains.posture_stiffness:
        for name in ("joint3", "joint5"):
            _find(base, "joint", name).attrib.update(stiffness=str(gains.posture_stiffness), springref="0")
    _box_fingers(base)
    ET.SubElement(_find(base, "body", "right_hand"), "site", name="tcp", pos=f"0 0 {gains.tool_offset}", size=".004", group="4")
    if place != Arm():
        _set_up(base, place)
    _require(root, "worldbody").append(base)
    _add_actuators(root, gains, place.prefix)
    _add_sensors(root, place.prefix)


def _set_up(base: ET.Element, place: Arm) -> None:
    """Stand an arm somewhere else, under names of its own; materials and meshes are shared."""
    base.set("pos", " ".join(map(str, place.position)))
    base.set("quat", f"{math.cos(place.yaw / 2)} 0 0 {math.sin(place.yaw / 2)}")
    for element in base.iter():
        if "name" in element.attrib:
            element.set("name", place.prefix + element.attrib["name"])


def _require(root: ET.Element, tag: str) -> ET.Element:
    element = root.find(tag)
    return ET.SubElement(root, tag) if element is None else element


def _find(root: ET.Element, tag: str, name: str) -> ET.Element:
    element = root.find(f".//{tag}[@name='{name}']")
    if element is None:
        raise ValueError(f"robosuite's Panda has no {tag} {name!r}; robosuite 1.5.2 has, another version may not")
    return element


def _copy_assets(root: ET.Element, source: ET.Element, folder: Path, mesh_cell: float) -> set[str]:
    """Bring in materials and visual meshes, these thinned and written into the document; the names of those that are left."""
    assets, names = _require(root, "asset"), set()
    there = {asset.get("name") for asset in assets}  # another arm's
    for asset in source.find("asset") or ():
        if asset.get("name") in there:
            names |= {asset.attrib["name"]} if asset.tag == "mesh" else set()
        elif asset.tag != "mesh":
            assets.append(asset)
        elif "_vis" in asset.attrib["name"]:
            vertices, triangles = thin(*read_mesh(folder / asset.attrib["file"]), mesh_cell)
            if len(triangles) < 4:
                continue  # a screw or a label, smaller than the detail kept
            names.add(asset.attrib["name"])
            mesh = {"name": asset.attrib["name"], "vertex": _words(vertices), "face": _words(triangles), "inertia": "shell"}
            ET.SubElement(assets, "mesh", mesh)
    return names


def _words(numbers: NDArray[Any]) -> str:
    return " ".join(f"{number:.6g}" for number in numbers.ravel())


def _strip(base: ET.Element, meshes: set[str]) -> None:
    """Keep the geoms that show one of these meshes; drop sites and cameras; compensate gravity as the real robot does."""
    for body in base.iter("body"):
        body.set("gravcomp", "1")
        for geom in body.findall("geom"):
            if geom.get("group") != "1" or geom.get("mesh") not in meshes:
                body.remove(geom)
        for tag in ("site", "camera"):
            for element in body.findall(tag):
                body.remove(element)


def _soften_joints(base: ET.Element) -> None:
    for joint in base.iter("joint"):
        if joint.get("name") in FINGER_JOINTS:
            sign = 1.0 if joint.get("name") == FINGER_JOINTS[0] else -1.0
            limits = sorted((sign * FINGER_CLOSED, sign * FINGER_OPEN))
            joint.attrib.update(range=f"{limits[0]} {limits[1]}", damping="60", armature=".5", frictionloss="0")
        else:
            joint.attrib.update(damping="1", armature=".1", frictionloss="0")


def _box_fingers(base: ET.Element) -> None:
    """Two boxes a finger, after the extents of its mesh: the tip with its rubber pad, and the shaft above."""
    for name, sign in (("leftfinger", 1.0), ("rightfinger", -1.0)):
        finger = _find(base, "body", name)
        common = {"type": "box", "group": "3", "rgba": ".3 .3 .3 1"}
        ET.SubElement(
            finger, "geom", {**common, "class": "pad", "name": f"{name}_tip", "pos": f"0 {sign * 0.007} .0435", "size": ".0088 .007 .0103"}
        )
        ET.SubElement(
            finger,
            "geom",
            {**common, "class": "finger", "name": f"{name}_shaft", "pos": f"0 {sign * 0.0145} .0165", "size": ".0104 .0115 .0165"},
        )


def _add_actuators(root: ET.Element, gains: ServoGains, prefix: str) -> None:
    actuators, tool = _require(root, "actuator"), {"site": f"{prefix}tcp", "refsite": "base_frame"}
    if gains.joints is not None:
        tool["group"] = str(TOOL_GROUP)
    for index, axis in enumerate("xyz"):
        gear = " ".join("1" if place == index else "0" for place in range(6))
        servo = {"kp": str(gains.stiffness), "kv": str(gains.stiffness / gains.rate)}
        ET.SubElement(actuators, "position", {"name": f"{prefix}tcp_{axis}", **tool, "gear": gear, **servo})
    servo = {"kp": str(gains.rotation_stiffness), "kv": str(gains.rotation_stiffness / gains.rotation_rate)}
    ET.SubElement(actuators, "orientation", {"name": f"{prefix}tcp_rotation", **tool, **servo, "input": "quat"})
    force = f"{-gains.grip_force} {gains.grip_force}"
    for joint in FINGER_JOINTS:
        name = f"{prefix}{joint}"
        ET.SubElement(actuators, "position", name=name, joint=name, kp=str(gains.grip_stiffness), forcerange=force)
    if gains.joints is not None:
        _require(root, "option").set("actuatorgroupdisable", str(JOINT_GROUP))
        for joint, stiffness, damping in zip(ARM_JOINTS, gains.joints.stiffness, gains.joints.damping, strict=True):
            name, servo = f"{prefix}{joint}", {"kp": str(stiffness), "kv": str(damping), "group": str(JOINT_GROUP)}
            ET.SubElement(actuators, "position", {"name": name, "joint": name, **servo})


def _add_sensors(root: ET.Element, prefix: str) -> None:
    sensors = _require(root, "sensor")
    for name in ("framelinvel", "frameangvel"):
        ET.SubElement(sensors, name, name=f"{prefix}tcp_{name[5:]}", objtype="site", objname=f"{prefix}tcp")


def add_touch(root: ET.Element, place: Arm) -> None:
    """Sense the normal force [N] on each finger's pad, ``{prefix}leftfinger_force`` and ``{prefix}rightfinger_force``."""
    sensors = _require(root, "sensor")
    for name in _PADS:
        finger = _find(root, "body", f"{place.prefix}{name}")
        tip = next(geom for geom in finger.iter("geom") if geom.get("name") == f"{place.prefix}{name}_tip")
        size = " ".join(str(float(half) + 0.003) for half in tip.attrib["size"].split())  # contacts lie on its surface
        site = {"name": f"{place.prefix}{name}_pad", "type": "box", "pos": tip.attrib["pos"], "size": size, "group": "4"}
        ET.SubElement(finger, "site", site)
        ET.SubElement(sensors, "touch", name=f"{place.prefix}{name}_force", site=site["name"])
