"""FurnitureBench's lamp: push the base into the fence's corner, screw the bulb into it, put the hood over the bulb."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np

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
from robolearn.sim.primitives import box, cylinder, holed_plate, inertia_of_box, inertia_of_cylinder, ring, words
from robolearn.sim.screw import Screws, Socket
from robolearn.sim.starts import Start
from robolearn.sim.task import Goal, Mask, Randomness, Rest, Task
from robolearn.sim.view import View

# Every part's y is its axis and points up when assembled (FurnitureBench's points down in base and hood) [m, kg].
# The base: a block with a hole from above.
BASE_HALF, BASE_HEIGHT, BASE_MASS, HOLE_DEPTH = 0.0424, 0.0315, 0.0597, 0.028
# The bulb: from below a pin, a collar, an octagonal globe on a side of which it lies, a square stem to hold it by.
BULB_HALF, BULB_MASS = 0.0605, 0.0385
BULB_SHOULDER = -BULB_HALF + PIN_LENGTH
COLLAR_RADIUS, GLOBE_BOTTOM, GLOBE_TOP, GLOBE, STEM_HALF = 0.022, -0.025, 0.010, 0.028, 0.015
# The hood: a cone, open below, a shoulder, a ring to hold it by; its rim stands on the base.
HOOD_BOTTOM, HOOD_TOP, HOOD_MASS = -0.056824, 0.043176, 0.060
HOOD_SHOULDER, HOOD_INNER, HOOD_OUTER, WALL = 0.018, 0.0245, 0.0275, 0.004
RIM, NECK = 0.040, 0.031  # inner radius of the cone, below and above
_SIDES = 8
# Seated: the bulb and the hood in the base.
BULB_SEATED, HOOD_SEATED = 0.0678, 0.088324
_THREAD_FRICTION = 0.002  # [Nm]
BASE_REACH, BULB_REACH, HOOD_REACH = 0.0600, 0.0625, 0.0480  # [m] no corner is further from the origin, seen from above


@dataclass(frozen=True)
class Lamp(Task):
    """The base stands, the bulb lies, the hood stands on its rim.

    Four choices of ours. FurnitureBench's bulb rolls and is pinned to its place until the hand is near; this one has an
    octagonal globe, on a side of which it lies. Its hood is held by its wall, 4 mm, which our fingers, 7 mm apart when closed,
    cannot; this one has a ring of 55 mm on top. The bulb's pin is the 25 mm of the other parts. The parts start where they clear
    each other and the hand comes from the robot's side: the bulb on the left, the hood on the right, before the base.
    """

    fit: Fit = field(default_factory=Fit)

    name = "lamp"
    parts = ("lamp_base", "bulb", "hood")
    fixtures = ("fence",)
    layout = (
        Rest(0.520, 0.050, height=BASE_HEIGHT + 0.0005, rotation=TOP_LYING),
        Rest(0.330, 0.140, height=GLOBE + 0.0005, rotation=LEG_LYING),
        Rest(0.390, -0.130, height=-HOOD_BOTTOM + 0.0005, rotation=TOP_LYING),
        Rest(0.6815, 0.0, height=FENCE_HEIGHT),
    )
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.015, 0.015, 0.26),) * 3, fixtures=(0.02,), joints=np.radians(5.0)),
        "med": Randomness(parts=((0.03, 0.05, 0.45), (0.03, 0.03, 0.6), (0.03, 0.05, 0.785)), fixtures=(0.04,), joints=np.radians(10.0)),
        "high": Randomness(parts=((0.03, 0.05, 0.6), (0.03, 0.04, 0.785), (0.03, 0.05, np.pi)), fixtures=(0.06,), joints=np.radians(13.0)),
    }
    horizon = 1000
    clear_height = 0.115
    hold_steps = 2  # a part that is pushed deep is for one step where only a turned one may stay
    ordered = True

    def add_bodies(self, world: ET.Element) -> None:
        """The base, the bulb, the hood, the fence."""
        self._add_base(world)
        self._add_bulb(world)
        _add_hood(world)
        add_fence(world)

    def _add_base(self, world: ET.Element) -> None:
        body = _free_body(world, "lamp_base")
        inertia_of_box(body, BASE_MASS, (BASE_HALF, BASE_HEIGHT, BASE_HALF))
        floor, mouth, edge = BASE_HEIGHT - HOLE_DEPTH, BASE_HEIGHT - self.fit.mouth_depth, BASE_HALF
        look = {"class": "part", "rgba": PART_COLOR}
        box(body, (-edge, -BASE_HEIGHT, -edge), (edge, floor, edge), name="lamp_floor", **look)
        hole = ((0.0, 0.0),)
        holed_plate(body, (-edge, floor, -edge), (edge, mouth, edge), hole, self.fit.hole_half, "lamp", **look)
        holed_plate(body, (-edge, mouth, -edge), (edge, BASE_HEIGHT, edge), hole, self.fit.mouth_half, "lamp_mouth", **look)

    def _add_bulb(self, world: ET.Element) -> None:
        body = _free_body(world, "bulb")
        inertia_of_cylinder(body, BULB_MASS, 0.025, 0.045, at=(0.0, -0.006, 0.0))
        look = {"class": "part", "rgba": REQUIRED_COLOR}
        cylinder(body, BULB_SHOULDER, GLOBE_BOTTOM, COLLAR_RADIUS, name="bulb_collar", **look)
        ring(body, GLOBE_BOTTOM, GLOBE_TOP, 0.004, GLOBE, "globe", _SIDES, **look)
        box(body, (-STEM_HALF, GLOBE_TOP, -STEM_HALF), (STEM_HALF, BULB_HALF, STEM_HALF), name="bulb_stem", **look)
        add_pin(body, "bulb", BULB_SHOULDER, self.fit)

    def sockets(self) -> tuple[Socket, ...]:
        """The base's hole, for the bulb."""
        socket = Socket(
            name="lamp_nut",
            parent="lamp_base",
            children=("bulb",),
            position=(0.0, BULB_SEATED, 0.0),
            pin_end=(0.0, -BULB_HALF, 0.0),
            mouth=BASE_HEIGHT - BULB_SEATED,
            pitch=self.fit.pitch,
            entry_turns=self.fit.entry_turns,
            friction=_THREAD_FRICTION,
        )
        return (socket,)

    def adjust(self, start: Start) -> Start:
        """Room for the base inside the fence, the base there, bulb and hood off the base."""
        return keep_clear(start, BASE_REACH, (BULB_REACH, HOOD_REACH))

    def goals(self) -> tuple[Goal, ...]:
        """The bulb in the base at the angle at which its thread ends, then the hood over it, turned by any angle."""
        return (
            Goal("lamp_base", "bulb", np.array([[0.0, BULB_SEATED, 0.0]])),
            Goal("lamp_base", "hood", np.array([[0.0, HOOD_SEATED, 0.0]]), cosine=None),
        )

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Pushed; the bulb grasped, inserted, screwed; the hood grasped, over the bulb."""
        gap = view.fixture("fence")[:, :2] + FENCE_WALLS - BASE_HALF - view.part("lamp_base")[:, :2]
        bulb, hood = view.relative("bulb", "lamp_base"), view.relative("hood", "lamp_base").position
        end = bulb.point(np.array([0.0, -BULB_HALF, 0.0]))
        there = (np.hypot(end[:, 0], end[:, 2]) < 0.006) & (end[:, 1] < BASE_HEIGHT - 0.010)
        height = bulb.position[:, 1] - BULB_SEATED if screws is None else screws.height("bulb")
        return (
            (gap < 0.015).all(1),
            view.holds("bulb", 0.08) & (view.part("bulb")[:, 2] > GLOBE + 0.01),
            there,
            there & (height < 0.0035),
            view.holds("hood", 0.07, width=(0.05, 0.062)) & (view.part("hood")[:, 2] > 0.08),
            (np.hypot(hood[:, 0], hood[:, 2]) < 0.010) & (hood[:, 1] < HOOD_SEATED + 0.04),
        )


def _free_body(world: ET.Element, name: str) -> ET.Element:
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    ET.SubElement(body, "site", name=name, size=".002", group="4")
    return body


def _add_hood(world: ET.Element) -> None:
    body = _free_body(world, "hood")
    inertia_of_cylinder(body, HOOD_MASS, 0.035, 0.05, at=(0.0, -0.012, 0.0))
    look = {"class": "part", "rgba": PART_COLOR}
    height = HOOD_SHOULDER - HOOD_BOTTOM
    lean = math.atan2(RIM - NECK, height)
    for side in range(_SIDES):
        angle, middle = 2 * math.pi * side / _SIDES, (RIM + NECK + WALL) / 2
        position = (middle * math.cos(angle), (HOOD_SHOULDER + HOOD_BOTTOM) / 2, -middle * math.sin(angle))
        size = (WALL / 2, height / 2, (RIM + WALL) * math.tan(math.pi / _SIDES))
        turn, tip = angle / 2, lean / 2  # about y, then about its own z
        quat = (
            math.cos(turn) * math.cos(tip),
            math.sin(turn) * math.sin(tip),
            math.sin(turn) * math.cos(tip),
            math.cos(turn) * math.sin(tip),
        )
        shape = {"type": "box", "pos": words(position), "size": words(size), "quat": words(quat), "mass": "0"}
        ET.SubElement(body, "geom", {**shape, "name": f"hood{side}", **look})
    ring(body, HOOD_SHOULDER - 0.002, HOOD_SHOULDER + 0.003, HOOD_INNER, NECK + WALL, "hood_shoulder", _SIDES, **look)
    ring(body, HOOD_SHOULDER, HOOD_TOP, HOOD_INNER, HOOD_OUTER, "hood_ring", _SIDES, **look)
