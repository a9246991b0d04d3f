"""FurnitureBench's one_leg parts and fence as MuJoCo primitives, in the parts' own frames [m, kg]."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

from robolearn.sim.looks import FENCE_COLOR, PART_COLOR, PIN_COLOR

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


@dataclass(frozen=True)
class Fit:
    """How the pin sits in its hole, and the screw's thread.

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
    entry_turns: tuple[float, float] = (0.7, 1.7)  # turns above the seat at which the thread catches, by the leg's phase


def _box(parent: ET.Element, low: tuple[float, ...], high: tuple[float, ...], **attributes: str) -> None:
    position = " ".join(f"{(a + b) / 2:.6g}" for a, b in zip(low, high, strict=True))
    size = " ".join(f"{(b - a) / 2:.6g}" for a, b in zip(low, high, strict=True))
    ET.SubElement(parent, "geom", {"type": "box", "pos": position, "size": size, "mass": "0", **attributes})


def _inertial(body: ET.Element, mass: float, half: tuple[float, float, float]) -> None:
    """Inertia of a homogeneous box of these half sizes."""
    x, y, z = half
    inertia = [mass / 3 * value for value in (y * y + z * z, x * x + z * z, x * x + y * y)]
    ET.SubElement(body, "inertial", pos="0 0 0", mass=str(mass), diaginertia=" ".join(f"{value:.6g}" for value in inertia))


def _holed_layer(body: ET.Element, low: float, high: float, hole_half: float, name: str) -> None:
    """A layer of the top between two heights, with four square holes: three bars along x, three blocks in each gap."""
    edge, near, far = TOP_HALF[0], HOLE_OFFSET - hole_half, HOLE_OFFSET + hole_half
    for index, (a, b) in enumerate(((-edge, -far), (-near, near), (far, edge))):
        _box(body, (-edge, low, a), (edge, high, b), **{"class": "part", "name": f"{name}_bar{index}", "rgba": PART_COLOR})
    for row, (a, b) in enumerate(((-far, -near), (near, far))):
        for index, (c, d) in enumerate(((-edge, -far), (-near, near), (far, edge))):
            _box(body, (c, low, a), (d, high, b), **{"class": "part", "name": f"{name}_block{row}{index}", "rgba": PART_COLOR})


def add_top(world: ET.Element, fit: Fit) -> None:
    """The table top as a free body, with one threaded nut under each hole."""
    body = ET.SubElement(world, "body", name="top")
    ET.SubElement(body, "freejoint", name="top")
    _inertial(body, TOP_MASS, TOP_HALF)
    floor, mouth = TOP_HALF[1] - HOLE_DEPTH, TOP_HALF[1] - fit.mouth_depth
    _box(
        body,
        (-TOP_HALF[0], -TOP_HALF[1], -TOP_HALF[2]),
        (TOP_HALF[0], floor, TOP_HALF[2]),
        **{"class": "part", "name": "top_floor", "rgba": PART_COLOR},
    )
    _holed_layer(body, floor, mouth, fit.hole_half, "top")
    _holed_layer(body, mouth, TOP_HALF[1], fit.mouth_half, "mouth")
    for index, (x, z) in enumerate(HOLES):
        _add_nut(body, f"nut{index}", (x, SEATED, z), fit)


def _add_nut(top: ET.Element, name: str, seat: tuple[float, float, float], fit: Fit) -> None:
    """A massless-looking frame that may only move along the screw: where a leg in this hole may be."""
    nut = ET.SubElement(top, "body", name=name, pos=" ".join(map(str, seat)), gravcomp="1")
    ET.SubElement(nut, "inertial", pos="0 0 0", mass=".002", diaginertia="1e-6 1e-6 1e-6")
    height = fit.pitch * (fit.entry_turns[1] + 0.2)
    ET.SubElement(
        nut, "joint", name=f"{name}_rise", type="slide", axis="0 1 0", limited="true", range=f"0 {height}", armature=".02", damping=".5"
    )
    ET.SubElement(nut, "joint", name=f"{name}_turn", type="hinge", axis="0 1 0", armature="2e-5", damping="1e-4")
    ET.SubElement(nut, "site", name=name, size=".002", group="4")


def add_leg(world: ET.Element, name: str, fit: Fit, rgba: str) -> None:
    """A leg as a free body: the bar, the pin and its narrower tip."""
    body = ET.SubElement(world, "body", name=name)
    ET.SubElement(body, "freejoint", name=name)
    _inertial(body, LEG_MASS, LEG_HALF)
    _box(body, tuple(-value for value in LEG_HALF), LEG_HALF, **{"class": "part", "name": f"{name}_bar", "rgba": rgba})
    shoulder = -LEG_HALF[1]
    for part, top, length, radius in (
        ("pin", shoulder, fit.pin_body, fit.pin_radius),
        ("tip", shoulder - fit.pin_body, PIN_LENGTH - fit.pin_body, fit.tip_radius),
    ):
        ET.SubElement(
            body, "geom", {"class": "part", "type": "cylinder", "name": f"{name}_{part}", "mass": "0", "rgba": PIN_COLOR,
                           "pos": f"0 {top - length / 2:.6g} 0", "zaxis": "0 1 0", "size": f"{radius} {length / 2:.6g}"},
        )  # fmt: skip
    ET.SubElement(body, "site", name=name, size=".002", group="4")


def add_fence(world: ET.Element) -> None:
    """The U-shaped fence, a mocap body so that each environment may place it: front bar along x, side bars towards +y."""
    body = ET.SubElement(world, "body", name="fence", mocap="true", pos="0.6832 0 0.015", quat="0.70710678 0 0 0.70710678")
    look = {"class": "part", "rgba": FENCE_COLOR}
    _box(body, (-0.175, -0.01, -0.015), (0.175, 0.01, 0.015), **look, name="fence_front")
    for sign, side in ((-1, "left"), (1, "right")):
        _box(body, (sign * 0.175 - 0.01, -0.01, -0.015), (sign * 0.175 + 0.01, 0.16, 0.015), **look, name=f"fence_{side}")
