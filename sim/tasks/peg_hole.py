"""Factory's rectangular peg and hole as ResiP has them: pick the standing peg, put it into the block's hole with 0.2 mm to spare."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np

from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR
from robolearn.sim.primitives import box, inertia_of_box
from robolearn.sim.screw import Screws
from robolearn.sim.task import Contacts, Goal, Mask, Physics, Randomness, Rest, Task
from robolearn.sim.view import View

# Sizes [m] along each part's own axes: y is the way in, the origins are in the middle of the lower faces.
PEG = (0.016, 0.050, 0.010)
BLOCK = (0.025, 0.009, 0.025)
HOLE = (0.016218, 0.010158)  # through the block, along x and z
# Between peg and block a contact gives 0.03 mm at most; the mix leaves what fingers and table do with them as soft as ever.
_HARD = {"class": "part", "solimp": ".99 .999 .0001", "solmix": ".1"}
_DENSITY = 7850.0  # [kg/m3] parts that fit to 0.1 mm are machined
# Both stand with y up and the peg's broad side along the base's y axis, across which the open fingers come down.
_STANDING = ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))


@dataclass(frozen=True)
class PegHole(Task):
    """A peg and a block with a hole, both free: the block lies on the table unfastened.

    Factory bolts its sockets down; ResiP displaces the block like any part, and so does this world. It does not slide away
    under a peg that is pressed on it, since the table carries that force and the block's weight besides, at the same
    coefficient of friction. A peg that has entered pulls it straight, as a person feels it do.

    ``low`` is ResiP's; ``med`` and ``high`` go as far as leaves the parts 3 mm apart, at any yaw. The arm's joints start nearer
    to home than ResiP's 10 and 13 degrees, which put its fingers into the peg and the table.
    """

    contacts: Contacts = field(default_factory=lambda: Contacts(solref=".004 1"))

    name = "peg_hole"
    parts = ("peg", "block")
    physics = Physics(timestep=0.002, substeps=50, noslip=3)
    layout = (Rest(0.4, 0.05, height=0.0005, rotation=_STANDING), Rest(0.4, -0.05, height=0.0005, rotation=_STANDING))
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.01, 0.01, np.radians(45.0)),) * 2, joints=np.radians(5.0)),
        "med": Randomness(parts=((0.025, 0.025, np.radians(60.0)),) * 2, joints=np.radians(6.0)),
        "high": Randomness(parts=((0.05, 0.035, np.radians(75.0)),) * 2, joints=np.radians(6.0)),
    }
    horizon = 200

    def add_bodies(self, world: ET.Element) -> None:
        """The peg, and the block as four boxes around its hole."""
        add_peg(world)
        add_block(world)

    def goals(self) -> tuple[Goal, ...]:
        """The peg's end less than 5 mm above the block's lower face: 4 of 9 mm in; not the other way round, as ResiP counts it."""
        return (Goal("block", "peg", np.zeros((1, 3))),)

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Reached, grasped, aligned, entered."""
        pose, end = view.relative("peg", "block"), view.part("peg")[:, :3]
        near = np.linalg.norm(view.arm.tcp_position - end - np.array([0.0, 0.0, PEG[1] / 2]), axis=1) < 0.025
        off = np.abs(pose.position[:, [0, 2]]).max(1)
        square = (np.diagonal(pose.rotation, axis1=1, axis2=2) > 0.999).all(1)  # 2.6 degrees
        return (
            near,
            view.holds("peg", 0.06, width=(0.012, 0.02)) & (end[:, 2] > 0.005),
            square & (off < 0.001),
            square & (off < 0.0005) & (pose.position[:, 1] < BLOCK[1] - 0.001),
        )


def add_peg(world: ET.Element) -> None:
    """The peg as a free body."""
    x, y, z = PEG
    body = _part(world, "peg", x * y * z, PEG)
    box(body, (-x / 2, 0.0, -z / 2), (x / 2, y, z / 2), **_HARD, name="peg", rgba=REQUIRED_COLOR)


def add_block(world: ET.Element) -> None:
    """The block as a free body: two bars along x, between them two blocks."""
    x, y, z = BLOCK
    body = _part(world, "block", y * (x * z - HOLE[0] * HOLE[1]), BLOCK)
    inner = (HOLE[0] / 2, HOLE[1] / 2)
    look = {**_HARD, "rgba": PART_COLOR}
    for sign, side in ((-1, "left"), (1, "right")):
        ends = sorted((sign * inner[1], sign * z / 2))
        box(body, (-x / 2, 0.0, ends[0]), (x / 2, y, ends[1]), **look, name=f"block_bar_{side}")
        ends = sorted((sign * inner[0], sign * x / 2))
        box(body, (ends[0], 0.0, -inner[1]), (ends[1], y, inner[1]), **look, name=f"block_end_{side}")


def _part(world: ET.Element, name: str, volume: float, size: tuple[float, float, float]) -> ET.Element:
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    inertia_of_box(body, _DENSITY * volume, (size[0] / 2, size[1] / 2, size[2] / 2), at=(0.0, size[1] / 2, 0.0))
    return body
