"""Two arms, a peg and a socket: each arm picks one part, and in the air the peg goes into the socket; after ALOHA's insertion task."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np

from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR
from robolearn.sim.panda import Arm
from robolearn.sim.primitives import box, inertia_of_box
from robolearn.sim.screw import Screws
from robolearn.sim.task import Contacts, Goal, Mask, Physics, Randomness, Rest, Task
from robolearn.sim.view import View

# Half sizes [m] about the parts' middles; the peg enters along -y, the socket's hole opens towards +y.
PEG_HALF = (0.010, 0.060, 0.010)
SOCKET_HALF = (0.018, 0.040, 0.018)
HOLE_HALF = 0.011  # [m] of the square hole: 1 mm to spare on each side
HOLE_DEPTH = 0.050
# The seated peg's middle in the socket's frame: its end on the hole's floor.
SEATED = SOCKET_HALF[1] - HOLE_DEPTH + PEG_HALF[1]
CENTRE = (0.55, 0.0)  # x, y [m] between the arms
_REACH = 0.71  # [m] from each arm's base to the middle between them
_DENSITY = 600.0  # [kg/m3] of a printed part
_TURNS = [np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]]) for c, s in ((1, 0), (0, 1), (-1, 0), (0, -1))]


@dataclass(frozen=True)
class BimanualInsertion(Task):
    """The left arm has the peg before it, the right arm the socket; both lie along the line from arm to arm.

    The arms face each other across the base frame's y axis, the left one at +y, as a person who looks along x has them: so
    both lie within the limits of every other task's actions, and its cameras see them from the side. The peg is square, so any
    quarter turn will do. Success is the seated pose held for half a second (ResiP: 5 mm, 0.05 rad, 25 steps at 50 Hz).
    """

    contacts: Contacts = field(default_factory=lambda: Contacts(solref=".005 1"))

    name = "bimanual_insertion"
    parts = ("peg", "socket")
    arms = (
        Arm("left_", (CENTRE[0], CENTRE[1] + _REACH, 0.0), -np.pi / 2),
        Arm("right_", (CENTRE[0], CENTRE[1] - _REACH, 0.0), np.pi / 2),
    )
    physics = Physics(timestep=0.0025, substeps=8)  # fingers that close at 0.3 m/s on a part as wide as this throw it up at 5 ms
    layout = (
        Rest(CENTRE[0], CENTRE[1] + 0.20, height=PEG_HALF[2] + 0.0005),
        Rest(CENTRE[0], CENTRE[1] - 0.20, height=SOCKET_HALF[2] + 0.0005),
    )
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.02, 0.02, np.radians(15.0)),) * 2, joints=np.radians(5.0)),
        "med": Randomness(parts=((0.04, 0.03, np.radians(30.0)),) * 2, joints=np.radians(5.0)),
        "high": Randomness(parts=((0.06, 0.04, np.radians(45.0)),) * 2, joints=np.radians(5.0)),
    }
    horizon = 500
    hold_steps = 25

    def add_bodies(self, world: ET.Element) -> None:
        """The peg, a square bar, and the socket, a box with a square hole."""
        add_peg(world)
        add_socket(world)

    def goals(self) -> tuple[Goal, ...]:
        """The peg's end on the hole's floor."""
        seat = np.array([[0.0, SEATED, 0.0]] * len(_TURNS))
        return (Goal("socket", "peg", seat, np.array(_TURNS), cosine=float(np.cos(0.05))),)

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Reached, grasped, lifted, aligned, entered."""
        pose = view.relative("peg", "socket")
        held = view.holds("peg", 0.06, 0, (0.015, 0.025)) & view.holds("socket", 0.06, 1, (0.031, 0.041))
        near = [
            np.linalg.norm(arm.tcp_position - view.part(part)[:, :3], axis=1) < 0.06
            for arm, part in zip(view.arms, self.parts, strict=True)
        ]
        off, end = np.abs(pose.position[:, [0, 2]]).max(1), pose.position[:, 1] - PEG_HALF[1] - SOCKET_HALF[1]
        straight = pose.rotation[:, 1, 1] > 0.99  # 8 degrees
        return (
            near[0] & near[1],
            held,
            view.parts[:, :, 2].min(1) > 0.08,
            straight & (off < 0.004) & (end < 0.03),
            straight & (off < 0.003) & (end < -0.005),
        )


def add_peg(world: ET.Element) -> None:
    """The peg as a free body."""
    body = _part(world, "peg", _volume(PEG_HALF), PEG_HALF)
    box(body, [-half for half in PEG_HALF], PEG_HALF, **{"class": "part", "name": "peg", "rgba": REQUIRED_COLOR})


def add_socket(world: ET.Element) -> None:
    """The socket as a free body: two walls for the fingers, between them a solid end, a floor and a roof."""
    x, y, z = SOCKET_HALF
    body = _part(world, "socket", _volume(SOCKET_HALF) - HOLE_DEPTH * (2 * HOLE_HALF) ** 2, SOCKET_HALF)
    look, floor = {"class": "part", "rgba": PART_COLOR}, y - HOLE_DEPTH
    for sign, side in ((-1, "left"), (1, "right")):  # in one piece each: fingers that close over a seam are pushed along it
        ends = sorted((sign * HOLE_HALF, sign * x))
        box(body, (ends[0], -y, -z), (ends[1], y, z), **look, name=f"socket_{side}")
    box(body, (-HOLE_HALF, -y, -z), (HOLE_HALF, floor, z), **look, name="socket_end")
    box(body, (-HOLE_HALF, floor, -z), (HOLE_HALF, y, -HOLE_HALF), **look, name="socket_below")
    box(body, (-HOLE_HALF, floor, HOLE_HALF), (HOLE_HALF, y, z), **look, name="socket_above")


def _volume(half: tuple[float, float, float]) -> float:
    return 8 * half[0] * half[1] * half[2]


def _part(world: ET.Element, name: str, volume: float, half: tuple[float, float, float]) -> ET.Element:
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    inertia_of_box(body, _DENSITY * volume, half)
    return body
