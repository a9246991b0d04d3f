"""MuJoCo's orientation servo for Warp, which has none: three motors about the reference's axes, whose commands a kernel computes."""

import copy
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import warp as wp

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
    root, servos = copy.deepcopy(root), []
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


@wp.kernel(enable_backward=False)
def pass_on(command: wp.array2d[float], columns: wp.array[int], ctrl: wp.array2d[float]):
    """``ctrl[:, j] = command[:, columns[j]]`` where there is such a column."""
    row, index = wp.tid()
    if columns[index] >= 0:
        ctrl[row, index] = command[row, columns[index]]


@wp.kernel(enable_backward=False)
def spring_torque(
    command: wp.array2d[float],
    column: int,
    site_xmat: wp.array2d[wp.mat33],
    site: int,
    refsite: int,
    stiffness: float,
    first: int,
    ctrl: wp.array2d[float],
):
    """Stiffness times the rotation vector from the site's orientation to the commanded quaternion (wxyz), in the reference's frame."""
    row = wp.tid()
    goal = wp.normalize(wp.quat(command[row, column + 1], command[row, column + 2], command[row, column + 3], command[row, column]))
    here = wp.transpose(site_xmat[row, refsite]) * site_xmat[row, site]
    error = wp.normalize(wp.quat_from_matrix(wp.quat_to_matrix(goal) * wp.transpose(here)))
    axis, cosine = wp.vec3(error[0], error[1], error[2]), error[3]
    if cosine < 0.0:  # the shorter way round
        axis, cosine = -axis, -cosine
    sine = wp.length(axis)
    turn = 2.0 * axis
    if sine > 1.0e-6:
        turn = (2.0 * wp.atan2(sine, cosine) / sine) * axis
    for index in range(AXES):
        ctrl[row, first + index] = stiffness * turn[index]


@wp.kernel(enable_backward=False)
def note_overflow(nefc: wp.array[int], njmax: int, nacon: wp.array[int], naconmax: int, lacking: wp.array2d[float]):
    """Remember rows with more constraints than there is room for, and that there were too many contacts in all."""
    row = wp.tid()
    if nefc[row] > njmax:
        lacking[row, 0] = 1.0
    if nacon[0] > naconmax:
        lacking[row, 1] = 1.0
