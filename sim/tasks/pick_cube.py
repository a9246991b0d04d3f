"""A cube is picked up and brought to a place in the air: the smallest task, and the one to measure speed with."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import numpy as np

from robolearn.sim.looks import REQUIRED_COLOR
from robolearn.sim.primitives import box, inertia_of_box
from robolearn.sim.screw import Screws
from robolearn.sim.task import Goal, Mask, Physics, Randomness, Rest, Task
from robolearn.sim.view import View

HALF = 0.02  # [m] of the cube
_WIDTH = (0.035, 0.045)  # [m] between fingers that hold it
_TARGET_COLOR = ".2 .7 .4 .35"


@dataclass(frozen=True)
class PickCube(Task):
    """A cube of 40 mm, of aluminium, and a target that it is to reach within 25 mm, turned anyhow; 20 Hz."""

    name = "pick_cube"
    parts = ("cube",)
    fixtures = ("target",)
    physics = Physics(substeps=10)
    layout = (Rest(0.5, 0.0, height=HALF + 0.0005), Rest(0.5, 0.0, height=0.22))
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.03, 0.03, 0.4),), fixtures=(0.05,), joints=np.radians(5.0)),
        "med": Randomness(parts=((0.06, 0.10, 0.7),), fixtures=(0.10,), joints=np.radians(10.0)),
        "high": Randomness(parts=((0.10, 0.20, 0.7),), fixtures=(0.15,), joints=np.radians(13.0)),
    }
    horizon = 200
    clear_height = 0.07

    def add_bodies(self, world: ET.Element) -> None:
        """The cube, and the target, which nothing touches."""
        cube = ET.SubElement(world, "body", name="cube")
        ET.SubElement(cube, "freejoint", name="cube")
        inertia_of_box(cube, 0.173, (HALF, HALF, HALF))
        box(cube, (-HALF, -HALF, -HALF), (HALF, HALF, HALF), **{"class": "part", "name": "cube", "rgba": REQUIRED_COLOR})
        target = ET.SubElement(world, "body", name="target", mocap="true")
        look = {"rgba": _TARGET_COLOR, "contype": "0", "conaffinity": "0"}
        box(target, (-HALF, -HALF, -HALF), (HALF, HALF, HALF), **look, name="target")

    def goals(self) -> tuple[Goal, ...]:
        """The cube where the target is."""
        return (Goal("target", "cube", np.zeros((1, 3)), tolerance=0.025, cosine=None),)

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Reached, grasped, lifted."""
        cube = view.part("cube")
        reached = np.linalg.norm(cube[:, :3] - view.arm.tcp_position, axis=1) < 0.02
        held = view.holds("cube", 0.03, width=_WIDTH)
        return reached, held & (cube[:, 2] > HALF + 0.005), held & (cube[:, 2] > HALF + 0.05)
