"""FurnitureBench's mug_rack: hang a mug by its handle on a peg of a rack."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR
from robolearn.sim.primitives import box, cylinder, inertia_of_box, inertia_of_cylinder, ring, words
from robolearn.sim.screw import Screws
from robolearn.sim.task import Goal, Mask, Matrix, Randomness, Rest, Task
from robolearn.sim.view import View

# The mug: y is its axis, the origin its middle; the handle, a ring about z, stands at +x [m, kg].
MUG_HALF, MUG_RADIUS, MUG_WALL, MUG_MASS = 0.035, 0.026, 0.004, 0.08
EYE = MUG_RADIUS + 0.013  # x of the ring's centre
EYE_RADIUS = 0.013
# The rack: y is up, the origin on the table; a foot, a trunk, and a peg to either side along z, rising outwards.
FOOT_HALF, TRUNK_HALF, TRUNK_TOP, RACK_MASS = 0.06, 0.010, 0.150, 0.4
PEG_HEIGHT, PEG_LENGTH, PEG_RADIUS = 0.130, 0.065, 0.005
PEG_RISE = math.radians(12.0)  # steeper than friction holds: a mug slides down to the trunk
PEG_END = TRUNK_HALF + PEG_LENGTH * math.cos(PEG_RISE)
UPRIGHT: Matrix = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
_HANGS = TRUNK_HALF + MUG_RADIUS  # z of a mug that leans on the trunk


def peg_height(z: NDArray[np.float64] | float) -> NDArray[np.float64] | float:
    """Height of a peg's axis at a distance from the rack's middle [m]."""
    return PEG_HEIGHT + (np.abs(z) - TRUNK_HALF) * math.tan(PEG_RISE)


@dataclass(frozen=True)
class MugRack(Task):
    """Both parts are free. The mug starts upright, its handle anywhere within the level's yaw.

    FurnitureBench counts a mug that lies near any of 25 recorded poses; here the goals are the poses in which it hangs at
    rest: on either peg, threaded from either side, between the trunk and the peg's end.
    """

    name = "mug_rack"
    parts = ("mug", "rack")
    layout = (Rest(0.4, 0.175, height=MUG_HALF + 0.0005, rotation=UPRIGHT), Rest(0.4, -0.175, height=0.0005, rotation=UPRIGHT))
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.02, 0.02, 0.26), (0.015, 0.015, 0.26)), joints=math.radians(5.0)),
        "med": Randomness(parts=((0.05, 0.05, 0.78), (0.03, 0.03, 0.52)), joints=math.radians(10.0)),
        "high": Randomness(parts=((0.07, 0.07, 1.2), (0.05, 0.05, 0.78)), joints=math.radians(13.0)),
    }
    clear_height = 0.1  # the mug is 0.07 tall
    horizon = 400
    hold_steps = 5  # a mug that swings through the goal does not hang yet

    def add_bodies(self, world: ET.Element) -> None:
        """The mug, the rack."""
        _add_mug(world)
        _add_rack(world)

    def goals(self) -> tuple[Goal, ...]:
        """The mug below a peg by its eye, handle up."""
        reach = np.arange(_HANGS, PEG_END - 0.010, 0.008)  # each 8 mm, with 5 mm of tolerance to either side
        at = np.concatenate([reach, -reach])
        below = peg_height(at) + PEG_RADIUS - (EYE + EYE_RADIUS)
        positions = np.stack([np.zeros_like(at), below, at], 1)
        facing = np.array([((0.0, -side, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, side)) for side in (1.0, -1.0)])
        return (Goal("rack", "mug", np.tile(positions, (2, 1)), np.repeat(facing, len(at), 0)),)

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Grasped, threaded, hung."""
        mug = view.relative("mug", "rack")
        held = view.holds("mug", 0.05, width=(2 * MUG_RADIUS - 0.01, 2 * MUG_RADIUS + 0.004))
        return (
            held & (view.part("mug")[:, 2] > MUG_HALF + 0.01),
            threaded(mug.point(np.array([EYE, 0.0, 0.0]))),
            self.goals()[0].reached(mug),
        )


def threaded(eye: NDArray[np.float64]) -> Mask:
    """Whether the middle of the mug's eye, in the rack's frame ``(N, 3)`` [m], is so near a peg that this goes through it: ``(N,)``."""
    aside = np.hypot(eye[:, 0], eye[:, 1] - peg_height(eye[:, 2]))
    along: Mask = (np.abs(eye[:, 2]) > TRUNK_HALF) & (np.abs(eye[:, 2]) < PEG_END - 0.005)
    return along & (aside < EYE_RADIUS)


def _add_mug(world: ET.Element) -> None:
    body = ET.SubElement(world, "body", name="mug")
    ET.SubElement(body, "freejoint", name="mug")
    inertia_of_cylinder(body, MUG_MASS, MUG_RADIUS, MUG_HALF)
    look = {"class": "part", "rgba": REQUIRED_COLOR}
    cylinder(body, -MUG_HALF, 0.005 - MUG_HALF, MUG_RADIUS, **look, name="mug_floor")
    ring(body, 0.005 - MUG_HALF, MUG_HALF, MUG_RADIUS - MUG_WALL, MUG_RADIUS, "mug_wall", sides=12, **look)
    handle = ET.SubElement(body, "frame", pos=words((EYE, 0.0, 0.0)), quat=words((math.sqrt(0.5), math.sqrt(0.5), 0.0, 0.0)))
    ring(handle, -0.004, 0.004, EYE_RADIUS, EYE_RADIUS + 0.005, "mug_handle", sides=12, **look)


def _add_rack(world: ET.Element) -> None:
    body = ET.SubElement(world, "body", name="rack")
    ET.SubElement(body, "freejoint", name="rack")
    inertia_of_box(body, RACK_MASS, (FOOT_HALF, 0.03, FOOT_HALF), at=(0.0, 0.03, 0.0))
    look = {"class": "part", "rgba": PART_COLOR}
    box(body, (-FOOT_HALF, 0.0, -FOOT_HALF), (FOOT_HALF, 0.012, FOOT_HALF), **look, name="rack_foot")
    box(body, (-TRUNK_HALF, 0.012, -TRUNK_HALF), (TRUNK_HALF, TRUNK_TOP, TRUNK_HALF), **look, name="rack_trunk")
    for index, side in enumerate((1, -1)):
        ends = (0.0, PEG_HEIGHT, side * TRUNK_HALF, 0.0, float(peg_height(PEG_END)), side * PEG_END)
        shape = {"type": "capsule", "fromto": words(ends), "size": words((PEG_RADIUS,)), "mass": "0"}
        ET.SubElement(body, "geom", {**shape, **look, "name": f"rack_peg{index}"})
