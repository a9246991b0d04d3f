"""Solid shapes from MuJoCo's primitives: boxes between two corners, plates with holes, cylinders, and inertias of homogeneous bodies."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence

Vector = Sequence[float]


def words(numbers: Vector) -> str:
    """Numbers as MJCF writes them."""
    return " ".join(f"{number:.6g}" for number in numbers)


def box(parent: ET.Element, low: Vector, high: Vector, **attributes: str) -> None:
    """A massless box between two corners [m]."""
    position = [(a + b) / 2 for a, b in zip(low, high, strict=True)]
    size = [(b - a) / 2 for a, b in zip(low, high, strict=True)]
    ET.SubElement(parent, "geom", {"type": "box", "pos": words(position), "size": words(size), "mass": "0", **attributes})


def cylinder(parent: ET.Element, bottom: float, top: float, radius: float, **attributes: str) -> None:
    """A massless cylinder about the y axis, between two heights [m]."""
    shape = {"pos": f"0 {(bottom + top) / 2:.6g} 0", "zaxis": "0 1 0", "size": words((radius, (top - bottom) / 2))}
    ET.SubElement(parent, "geom", {"type": "cylinder", "mass": "0", **shape, **attributes})


def inertia_of_box(body: ET.Element, mass: float, half: tuple[float, float, float], at: Vector = (0, 0, 0)) -> None:
    """Inertia of a homogeneous box of these half sizes [kg, m]."""
    x, y, z = half
    _inertia(body, mass, [mass / 3 * value for value in (y * y + z * z, x * x + z * z, x * x + y * y)], at)


def inertia_of_cylinder(body: ET.Element, mass: float, radius: float, half: float, at: Vector = (0, 0, 0)) -> None:
    """Inertia of a homogeneous cylinder about y, of this radius and half height [kg, m]."""
    across = mass * (radius**2 / 4 + half**2 / 3)
    _inertia(body, mass, [across, mass * radius**2 / 2, across], at)


def _inertia(body: ET.Element, mass: float, diagonal: Vector, at: Vector) -> None:
    ET.SubElement(body, "inertial", pos=words(at), mass=str(mass), diaginertia=words(diagonal))


def holed_plate(
    body: ET.Element, low: Vector, high: Vector, holes: Sequence[tuple[float, float]], half: float, name: str, **attributes: str
) -> None:
    """A plate, its normal along y, with square holes of half width ``half`` through it, centred at ``holes`` (x, z) [m].

    The holes form a grid: bars run along x between their rows, blocks fill each row's gaps.
    """
    rows = sorted({z for _, z in holes})
    columns = {row: sorted(x for x, z in holes if z == row) for row in rows}
    for index, (a, b) in enumerate(_gaps(low[2], high[2], rows, half)):
        box(body, (low[0], low[1], a), (high[0], high[1], b), name=f"{name}_bar{index}", **attributes)
    for place, row in enumerate(rows):
        for index, (c, d) in enumerate(_gaps(low[0], high[0], columns[row], half)):
            box(body, (c, low[1], row - half), (d, high[1], row + half), name=f"{name}_block{place}{index}", **attributes)


def _gaps(low: float, high: float, centres: Sequence[float], half: float) -> list[tuple[float, float]]:
    """What is left of an interval without those of half width ``half`` around the centres."""
    edges = [low, *(edge for centre in centres for edge in (centre - half, centre + half)), high]
    return list(zip(edges[::2], edges[1::2], strict=True))


def ring(body: ET.Element, bottom: float, top: float, inner: float, outer: float, name: str, sides: int = 12, **attributes: str) -> None:
    """A tube about the y axis between two heights [m]: ``sides`` boxes whose inner faces touch the inner radius."""
    half = outer * math.tan(math.pi / sides)
    for index in range(sides):
        angle = 2 * math.pi * index / sides
        middle = (inner + outer) / 2
        position = (middle * math.cos(angle), (bottom + top) / 2, -middle * math.sin(angle))
        size = ((outer - inner) / 2, (top - bottom) / 2, half)
        quat = (math.cos(angle / 2), 0.0, math.sin(angle / 2), 0.0)
        shape = {"type": "box", "pos": words(position), "size": words(size), "quat": words(quat), "mass": "0"}
        ET.SubElement(body, "geom", {**shape, "name": f"{name}{index}", **attributes})
