"""FurnitureBench's round_table: push the top into the fence's corner, screw the leg into its boss, then the base onto the leg."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rotvec
from robolearn.sim.furniture import (
    FENCE_HEIGHT,
    FENCE_WALLS,
    LEG_LYING,
    PIN_LENGTH,
    TOP_LYING,
    Fit,
    add_fence,
    add_pin,
    keep_clear,
)
from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR
from robolearn.sim.pose import Pose
from robolearn.sim.primitives import box, cylinder, inertia_of_box, inertia_of_cylinder, ring
from robolearn.sim.screw import Screws, Socket
from robolearn.sim.starts import Start
from robolearn.sim.task import Goal, Mask, Matrix, Randomness, Rest, Task
from robolearn.sim.view import View

# Every part's y is its axis, and pins are at -y: FurnitureBench's z of the top and of the base, its y of the leg [m, kg].
# The top: a disc about its origin with a boss towards +y; the hole reaches down to 0.9 mm above the disc's underside.
TOP_RADIUS, TOP_HALF, TOP_MASS = 0.1, 0.003125, 0.1217
BOSS_RADIUS, BOSS_TOP, HOLE_DEPTH = 0.02125, 0.02375, 0.026
_DISC_SIDES = 16
TOP_REACH = 0.102  # the disc's corners
# The leg: its pin's end and its head are as far from its origin; the head, an octagon, has the hole for the base.
LEG_HALF, LEG_RADIUS, LEG_MASS = 0.045625, 0.019, 0.0323
LEG_SHOULDER = -LEG_HALF + PIN_LENGTH
_HEAD_SIDES = 8
# The base: a cross of two bars about its origin.
BASE_HALF, BAR_HALF, BASE_THICK, BASE_MASS = 0.065, 0.008, 0.0075, 0.034
BASE_PIN_END = -BASE_THICK - PIN_LENGTH
# Printed threads hold what they carry: without friction a standing leg would turn itself home [Nm].
_THREAD_FRICTION = 0.002
# Seated: the leg in the top, the base in the leg.
LEG_SEATED, LEG_TWIST = 0.044375, np.radians(185.0)
BASE_SEATED, BASE_TWIST = 0.053125, np.radians(90.0)


def about_y(angle: float) -> NDArray[np.float64]:
    """A rotation about a part's axis."""
    return matrix_from_rotvec(np.array([0.0, angle, 0.0]))


# The base leans on its pin and on two bars: so much from upright, towards +x and -y of the robot's base.
BASE_LEAN = float(np.arctan(PIN_LENGTH / ((BASE_HALF + BAR_HALF) / np.sqrt(2) - Fit.tip_radius)))
_LEANT = matrix_from_rotvec(BASE_LEAN * np.array([1.0, 1.0, 0.0]) / np.sqrt(2)) @ np.array(TOP_LYING) @ about_y(np.pi)
# It is turned so that a leg that is stood up as it lies needs one turn and a quarter; so does then the base.
_TURNED = np.array(TOP_LYING) @ about_y(-LEG_TWIST)


def _rows(rotation: NDArray[np.float64]) -> Matrix:
    a, b, c = ((float(x), float(y), float(z)) for x, y, z in rotation)
    return a, b, c


@dataclass(frozen=True)
class RoundTable(Task):
    """The top lies upside down, the leg on its side, the base on its pin and two bars' ends.

    Three choices of ours: the leg is as thick as its waist all along, and its head is an octagon, on a side of which it lies, so
    that it does not roll; leg and base start 2 to 4 cm further from the top than FurnitureSim's nominal poses, where ours
    would touch it; and whatever is drawn too near the top is moved away from it, see :meth:`adjust`. ``low`` and ``med`` are
    JUICER's 1.5 cm, 15 degrees and, as far as the parts clear each other, 5 cm, 45 degrees; fence and joints are ResiP's.
    """

    fit: Fit = field(default_factory=Fit)

    name = "round_table"
    parts = ("top", "leg", "table_base")
    fixtures = ("fence",)
    layout = (
        Rest(0.5265, 0.0, height=0.0035, rotation=_rows(_TURNED)),
        Rest(0.390, 0.140, height=0.0195, rotation=LEG_LYING),
        Rest(0.390, -0.160, height=0.033, rotation=_rows(_LEANT)),
        Rest(0.6815, 0.0, height=FENCE_HEIGHT),
    )
    levels = {  # noqa: RUF012
        "low": Randomness(
            parts=((0.015, 0.015, 0.26), (0.015, 0.015, 0.26), (0.015, 0.015, 0.26)), fixtures=(0.02,), joints=np.radians(5.0)
        ),
        "med": Randomness(parts=((0.03, 0.05, 0.785), (0.03, 0.03, 0.6), (0.03, 0.03, 0.6)), fixtures=(0.04,), joints=np.radians(10.0)),
        "high": Randomness(
            parts=((0.03, 0.05, np.pi), (0.03, 0.04, 0.785), (0.03, 0.04, 0.785)), fixtures=(0.06,), joints=np.radians(13.0)
        ),
    }
    horizon = 1000
    hold_steps = 2  # a part that is pushed deep is for one step where only a turned one may stay
    ordered = True

    def add_bodies(self, world: ET.Element) -> None:
        """The top, the leg, the base, the fence."""
        self._add_top(world)
        self._add_leg(world)
        self._add_base(world)
        add_fence(world)

    def _add_top(self, world: ET.Element) -> None:
        body = _free_body(world, "top")
        inertia_of_cylinder(body, TOP_MASS, TOP_RADIUS, TOP_HALF, at=(0.0, 0.0015, 0.0))
        floor, look = BOSS_TOP - HOLE_DEPTH, {"class": "part", "rgba": PART_COLOR}
        cylinder(body, -TOP_HALF, floor, TOP_RADIUS, name="top_floor", **look)
        # Boxes around the hole touch; a disc that does not is seen.
        ring(body, floor, TOP_HALF, self.fit.hole_half, TOP_RADIUS, "top_disc", _DISC_SIDES, group="3", **look)
        cylinder(body, floor, TOP_HALF, TOP_RADIUS, name="top_seen", contype="0", conaffinity="0", **look)
        self._add_hole(body, TOP_HALF, BOSS_TOP, BOSS_RADIUS, "boss", PART_COLOR)

    def _add_leg(self, world: ET.Element) -> None:
        body = _free_body(world, "leg")
        inertia_of_cylinder(body, LEG_MASS, LEG_RADIUS, (LEG_HALF - LEG_SHOULDER) / 2, at=(0.0, (LEG_HALF + LEG_SHOULDER) / 2, 0.0))
        head, look = LEG_HALF - HOLE_DEPTH, {"class": "part", "rgba": REQUIRED_COLOR}
        cylinder(body, LEG_SHOULDER, head, LEG_RADIUS, name="leg_body", **look)
        self._add_hole(body, head, LEG_HALF, LEG_RADIUS, "leg_head", REQUIRED_COLOR)
        add_pin(body, "leg", LEG_SHOULDER, self.fit)

    def _add_base(self, world: ET.Element) -> None:
        body = _free_body(world, "table_base")
        inertia_of_box(body, BASE_MASS, (0.045, BASE_THICK, 0.045), at=(0.0, -0.003, 0.0))
        look = {"class": "part", "rgba": PART_COLOR}
        box(body, (-BASE_HALF, -BASE_THICK, -BAR_HALF), (BASE_HALF, BASE_THICK, BAR_HALF), name="base_bar0", **look)
        box(body, (-BAR_HALF, -BASE_THICK, -BASE_HALF), (BAR_HALF, BASE_THICK, BASE_HALF), name="base_bar1", **look)
        add_pin(body, "table_base", -BASE_THICK, self.fit)

    def _add_hole(self, body: ET.Element, bottom: float, top: float, outer: float, name: str, rgba: str) -> None:
        """A ring, wider inside at its mouth."""
        look, mouth = {"class": "part", "rgba": rgba}, top - self.fit.mouth_depth
        ring(body, bottom, mouth, self.fit.hole_half, outer, name, _HEAD_SIDES, **look)
        ring(body, mouth, top, self.fit.mouth_half, outer, f"{name}_mouth", _HEAD_SIDES, **look)

    def sockets(self) -> tuple[Socket, ...]:
        """The boss, for the leg; the leg's head, for the base."""
        boss = self._socket("top_nut", "top", "leg", LEG_SEATED, LEG_TWIST, -LEG_HALF, BOSS_TOP)
        return boss, self._socket("leg_nut", "leg", "table_base", BASE_SEATED, BASE_TWIST, BASE_PIN_END, LEG_HALF)

    def _socket(self, name: str, parent: str, child: str, seated: float, twist: float, pin_end: float, mouth: float) -> Socket:
        return Socket(
            name=name,
            parent=parent,
            children=(child,),
            position=(0.0, seated, 0.0),
            pin_end=(0.0, pin_end, 0.0),
            mouth=mouth - seated,
            pitch=self.fit.pitch,
            entry_turns=self.fit.entry_turns,
            friction=_THREAD_FRICTION,
            quaternion=(float(np.cos(twist / 2)), 0.0, float(np.sin(twist / 2)), 0.0),
        )

    def adjust(self, start: Start) -> Start:
        """Room for the top inside the fence, the top there, leg and base off the top."""
        return keep_clear(start, TOP_REACH, (LEG_REACH, BASE_REACH))

    def goals(self) -> tuple[Goal, ...]:
        """The leg in the top, then the base in the leg, each at the angle at which its thread ends."""
        return (
            Goal("top", "leg", np.array([[0.0, LEG_SEATED, 0.0]]), about_y(LEG_TWIST)[None]),
            Goal("leg", "table_base", np.array([[0.0, BASE_SEATED, 0.0]]), about_y(BASE_TWIST)[None]),
        )

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Pushed; then grasped, inserted and screwed, first the leg, then the base."""
        leg, base = view.relative("leg", "top"), view.relative("table_base", "leg")
        leg_there, base_there = inserted(leg, -LEG_HALF, BOSS_TOP), inserted(base, BASE_PIN_END, LEG_HALF)
        leg_height = leg.position[:, 1] - LEG_SEATED if screws is None else screws.height("leg")
        base_height = base.position[:, 1] - BASE_SEATED if screws is None else screws.height("table_base")
        return (
            pushed(view),
            view.holds("leg", 0.06) & (view.part("leg")[:, 2] > LEG_RADIUS + 0.01),
            leg_there,
            leg_there & (leg_height < 0.0035),
            view.holds("table_base", 0.06) & (view.part("table_base")[:, 2] > 0.05),
            base_there,
            base_there & (base_height < 0.0035),
        )


LEG_REACH, BASE_REACH = 0.0502, 0.0655  # [m] no corner of theirs is further from the origin, seen from above


def _free_body(world: ET.Element, name: str) -> ET.Element:
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    ET.SubElement(body, "site", name=name, size=".002", group="4")
    return body


def pushed(view: View) -> Mask:
    """Whether the top lies in the fence's corner, ``(N,)``."""
    gap = view.fixture("fence")[:, :2] + FENCE_WALLS - TOP_RADIUS - view.part("top")[:, :2]
    there: Mask = (gap < 0.015).all(1)
    return there


def inserted(pose: Pose, pin_end: float, mouth: float) -> Mask:
    """Whether a child's pin, the child seen from its parent, is 10 mm deep in the hole, ``(N,)``."""
    end = pose.point(np.array([0.0, pin_end, 0.0]))
    there: Mask = (np.hypot(end[:, 0], end[:, 2]) < 0.006) & (end[:, 1] < mouth - 0.010)
    return there
