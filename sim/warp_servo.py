"""MuJoCo's orientation servo for Warp, which has none: three motors about the reference's axes, whose commands a kernel computes."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from dataclasses import dataclass

AXES = 3
TORQUE = "{name}_about_{axis}"


@dataclass(frozen=True)
class Servo:
    """One orientation servo.

    Args:
        name: of its actuator.
        site: whose orientation is commanded.
        refsite: in whose frame.
        stiffness: [Nm/rad].
    """

    name: str
    site: str
    refsite: str
    stiffness: float


def without_orientation(root: ET.Element) -> tuple[ET.Element, list[Servo]]:
    """A copy of a scene in which motors stand for its ``<orientation>`` actuators, and what was replaced.

    Each motor damps by itself, so that the integrator's implicit damping holds for it as for the servo; its command is the torque of
    the spring alone. Stiffness and damping being the same about all axes, it does not matter in which frame they act.
    """
    root, servos = copy.deepcopy(root), list[Servo]()
    actuators = root.find("actuator")
    for place, element in enumerate(list(actuators) if actuators is not None else []):
        if element.tag != "orientation" or actuators is None:
            continue
        servo = Servo(element.attrib["name"], element.attrib["site"], element.attrib["refsite"], float(element.attrib["kp"]))
        at = place + len(servos) * (AXES - 1)
        actuators.remove(element)
        for axis in range(AXES):
            gear = " ".join("1" if index == 3 + axis else "0" for index in range(6))
            motor = {"name": TORQUE.format(name=servo.name, axis=axis), "site": servo.site, "refsite": servo.refsite, "gear": gear}
            gains = {"gainprm": "1", "biastype": "affine", "biasprm": f"0 0 {-float(element.get('kv', '0'))}"}
            actuators.insert(at + axis, ET.Element("general", motor | gains))
        servos.append(servo)
    return root, servos
