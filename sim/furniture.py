"""FurnitureBench's square table (its top, its legs) and the fence as MuJoCo primitives, in the parts' own frames [m, kg]."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, replace

import numpy as np

from robolearn.sim.looks import FENCE_COLOR, PART_COLOR, PIN_COLOR
from robolearn.sim.primitives import box, cylinder, holed_plate, inertia_of_box
from robolearn.sim.screw import Socket
from robolearn.sim.starts import Start

# The square table's top: y is its normal; four blind holes open towards +y.
TOP_HALF = (0.08125, 0.015625, 0.08125)
TOP_MASS = 0.151
HOLE_OFFSET = 0.05625
HOLE_DEPTH = 0.027
# A leg: a 30 mm square bar 62.5 mm long about its origin, and a 25 mm pin at -y.
LEG_HALF = (0.015, 0.03125, 0.015)
LEG_MASS = 0.0231
PIN_LENGTH = 0.025
# Height of a seated leg's origin above the top's origin, along the top's normal.
SEATED = 0.046875
HOLES = tuple((x, z) for x in (-HOLE_OFFSET, HOLE_OFFSET) for z in (-HOLE_OFFSET, HOLE_OFFSET))
# How parts lie, as rotations: the top's normal up; a leg's long axis along +x.
TOP_LYING = ((0.0, 0.0, -1.0), (-1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
LEG_LYING = ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0))
# The fence's inner walls, seen from its origin [m]: where an edge that is pushed towards +x or +y stops.
FENCE_WALLS = (-0.01, 0.165)
FENCE_HEIGHT = 0.015
_BARS_FROM = 0.655  # [m] fence's x from which on its side bars are beyond the parts that lie before it


@dataclass(frozen=True)
class Fit:
    """How a pin sits in its hole, and the screw's thread.

    The printed thread (crest radius 12.19 mm in a major radius of 12.5 mm, core 10 mm in a minor radius of 10.93 mm) is
    modelled as a smooth pin in a square hole with a widened mouth, and a screw law that holds once the pin has entered.
    """

    hole_half: float = 0.0115
    mouth_half: float = 0.0128
    mouth_depth: float = 0.004
    pin_radius: float = 0.0100
    pin_body: float = 0.018
    tip_radius: float = 0.007
    pitch: float = 0.007  # [m] a turn
    entry_turns: tuple[float, float] = (0.7, 1.7)  # turns above the seat at which the thread catches, by the pin's phase


def add_top(world: ET.Element, fit: Fit) -> ET.Element:
    """The table top as a free body; its body."""
    body = ET.SubElement(world, "body", name="top")
    ET.SubElement(body, "freejoint", name="top")
    inertia_of_box(body, TOP_MASS, TOP_HALF)
    floor, mouth, edge = TOP_HALF[1] - HOLE_DEPTH, TOP_HALF[1] - fit.mouth_depth, TOP_HALF[0]
    look = {"class": "part", "rgba": PART_COLOR}
    box(body, (-edge, -TOP_HALF[1], -edge), (edge, floor, edge), **look, name="top_floor")
    holed_plate(body, (-edge, floor, -edge), (edge, mouth, edge), HOLES, fit.hole_half, "top", **look)
    holed_plate(body, (-edge, mouth, -edge), (edge, TOP_HALF[1], edge), HOLES, fit.mouth_half, "mouth", **look)
    return body


def top_sockets(fit: Fit, legs: tuple[str, ...]) -> tuple[Socket, ...]:
    """The top's four threaded holes, each of which takes any of these legs."""
    return tuple(
        Socket(
            name=f"nut{index}",
            parent="top",
            children=legs,
            position=(x, SEATED, z),
            pin_end=(0.0, -(LEG_HALF[1] + PIN_LENGTH), 0.0),
            mouth=TOP_HALF[1] - SEATED,
            pitch=fit.pitch,
            entry_turns=fit.entry_turns,
        )
        for index, (x, z) in enumerate(HOLES)
    )


def add_leg(world: ET.Element, name: str, fit: Fit, rgba: str) -> None:
    """A square leg as a free body: the bar, the pin and its narrower tip."""
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    inertia_of_box(body, LEG_MASS, LEG_HALF)
    box(body, tuple(-value for value in LEG_HALF), LEG_HALF, **{"class": "part", "name": f"{name}_bar", "rgba": rgba})
    add_pin(body, name, -LEG_HALF[1], fit)
    ET.SubElement(body, "site", name=name, size=".002", group="4")


def add_pin(body: ET.Element, name: str, shoulder: float, fit: Fit) -> None:
    """A pin along -y from the height ``shoulder`` [m] of its part, narrower at the tip."""
    neck = shoulder - fit.pin_body
    look = {"class": "part", "rgba": PIN_COLOR}
    cylinder(body, neck, shoulder, fit.pin_radius, **look, name=f"{name}_pin")
    cylinder(body, shoulder - PIN_LENGTH, neck, fit.tip_radius, **look, name=f"{name}_tip")


def add_fence(world: ET.Element) -> None:
    """The U-shaped fence, a mocap body so that each environment may place it: front bar along x, side bars towards +y."""
    body = ET.SubElement(world, "body", name="fence", mocap="true", pos="0.6832 0 0.015", quat="0.70710678 0 0 0.70710678")
    look = {"class": "part", "rgba": FENCE_COLOR}
    box(body, (-0.175, -0.01, -0.015), (0.175, 0.01, 0.015), **look, name="fence_front")
    for sign, side in ((-1, "left"), (1, "right")):
        box(body, (sign * 0.175 - 0.01, -0.01, -0.015), (sign * 0.175 + 0.01, 0.16, 0.015), **look, name=f"fence_{side}")


def keep_clear(start: Start, reach: float, others: tuple[float, ...]) -> Start:
    """Move what was drawn apart: the fence off the parts, the first part inside the fence, the other parts off the first.

    Args:
        start: its last place is the fence's.
        reach: of the first part from its origin, seen from above [m].
        others: of the other parts.
    """
    xy, fence = start.xy.copy(), start.xy[:, -1].copy()
    fence[:, 0] = np.maximum(fence[:, 0], _BARS_FROM)
    room = max(FENCE_WALLS[1] - reach - 0.003, 0.0)
    x = np.minimum(xy[:, 0, 0], fence[:, 0] + FENCE_WALLS[0] - reach - 0.003)
    xy[:, 0] = np.stack([x, np.clip(xy[:, 0, 1], fence[:, 1] - room, fence[:, 1] + room)], 1)
    xy[:, -1] = fence
    for part, own in enumerate(others, 1):
        away = xy[:, part] - xy[:, 0]
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        xy[:, part] += away / distance * np.maximum(reach + own + 0.003 - distance, 0.0)
    return replace(start, xy=xy)
