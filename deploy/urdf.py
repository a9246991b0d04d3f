"""The arm between two links of a robot description (URDF), as a chain."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.kinematics import Chain, pose
from robolearn.deploy.limits import JointLimits
from robolearn.errors import UserError, nearest, reading

_LARGEST = 50_000_000  # bytes; descriptions with meshes beside them are far below 1 MB


@dataclass(frozen=True)
class _Joint:
    name: str
    kind: str
    parent: str
    child: str
    origin: NDArray[np.float64]
    axis: tuple[float, ...]
    lower: float
    upper: float
    velocity: float
    mimics: str


def chain_from_urdf(path: Path, base: str, tip: str, tool: NDArray[np.float64] | None = None) -> Chain:
    """The chain of turning joints from link ``base`` to link ``tip``; fixed joints become part of their neighbours.

    Args:
        path: a URDF with its macros expanded (``xacro robot.urdf.xacro > robot.urdf``).
        base: the link whose frame positions are given in.
        tip: the link that the tool is fixed to.
        tool: ``(4, 4)`` the tool centre point, seen from ``tip``.

    Raises:
        UserError: no such file or link, no way from one link to the other, a sliding or floating joint on it, or one that mimics another.
    """
    moving, origins, end = _serial(path, base, tip)
    return Chain(
        np.array(origins),
        np.array([joint.axis for joint in moving]),
        end @ (np.eye(4) if tool is None else tool),
        lower=[joint.lower for joint in moving],
        upper=[joint.upper for joint in moving],
        names=[joint.name for joint in moving],
    )


def limits_from_urdf(
    path: str | Path,
    base: str,
    tip: str,
    *,
    acceleration: float = 5.0,
    jerk: float = 1000.0,
    rates: float = 0.5,
    inset: float = 0.05,
) -> JointLimits:
    """Limits of the joints between two links: angles and velocities of the description with margins; it has no accelerations.

    Args:
        path: the URDF.
        base: link at the one end.
        tip: link at the other.
        acceleration: [rad/s^2].
        jerk: [rad/s^3].
        rates: share of the velocities.
        inset: [rad] from the ends of the joints; joints without ends are held to a turn each way.

    Raises:
        UserError: as :func:`chain_from_urdf`, or a joint without a velocity.
    """
    moving, _, _ = _serial(Path(path), base, tip)
    slow = [joint.name for joint in moving if not 0 < joint.velocity < math.inf]
    if slow:
        raise UserError(f"{path} gives no velocity limit for {', '.join(slow)}; write it there, or give limits as numbers")
    turn, size = 2 * math.pi, len(moving)
    lower, upper = (tuple(max(joint.lower, -turn) for joint in moving), tuple(min(joint.upper, turn) for joint in moving))
    limits = JointLimits(lower, upper, tuple(joint.velocity for joint in moving), (acceleration,) * size, (jerk,) * size)
    return limits.scaled(velocity=rates, inset=inset)


def _serial(path: Path, base: str, tip: str) -> tuple[list[_Joint], list[NDArray[np.float64]], NDArray[np.float64]]:
    """The turning joints between two links, each one's frame seen from the one before, and what is behind the last."""
    origins, moving, before = [], [], np.eye(4)
    for joint in _way(_read(path), base, tip, path):
        before = before @ joint.origin
        if joint.kind == "fixed":
            continue
        where = f"{path}: joint {joint.name!r} between {base!r} and {tip!r}"
        if joint.kind not in ("revolute", "continuous"):
            raise UserError(f"{where} is {joint.kind}; only turning and fixed joints are known")
        if joint.mimics:
            raise UserError(f"{where} mimics {joint.mimics!r}; an arm's joints move freely")
        origins.append(before)
        moving.append(joint)
        before = np.eye(4)
    if not moving:
        raise UserError(f"{path}: no joint turns between {base!r} and {tip!r}")
    return moving, origins, before


def _read(path: Path) -> list[_Joint]:
    if not path.is_file():
        raise UserError(
            f"no robot description {path}; a driver publishes one on /robot_description, or: xacro robot.urdf.xacro > robot.urdf"
        )
    if path.stat().st_size > _LARGEST:
        raise UserError(f"{path} has {path.stat().st_size} bytes, more than a robot description's {_LARGEST}")
    text = path.read_text(encoding="utf-8", errors="replace")
    if re.search(r"<!\s*(ENTITY|DOCTYPE)", text, re.IGNORECASE):
        raise UserError(f"{path} declares a document type or entities, which a robot description needs not and which are not read")
    with reading(path):
        try:
            root = ET.fromstring(text)
        except ET.ParseError as error:
            raise UserError(f"{path} is no XML: {error}") from error
        if root.tag != "robot":
            raise UserError(f"{path} is no robot description: its first element is <{root.tag}>, not <robot>")
        return [_joint(element) for element in root.findall("joint")]


def _joint(element: ET.Element) -> _Joint:
    def link(tag: str) -> str:
        found = element.find(tag)
        if found is None or "link" not in found.attrib:
            raise ValueError(f"joint {element.get('name')!r} names no {tag} link")
        return found.attrib["link"]

    def vector(tag: str, key: str, default: str) -> tuple[float, ...]:
        found = element.find(tag)
        values = tuple(float(word) for word in (default if found is None else found.get(key, default)).split())
        if len(values) != 3 or not all(map(math.isfinite, values)):
            raise ValueError(f"joint {element.get('name')!r}: {tag} {key} takes three finite numbers, got {values}")
        return values

    limit, mimic, kind = element.find("limit"), element.find("mimic"), element.get("type", "")
    bounded = kind == "revolute" and limit is not None
    return _Joint(
        name=element.attrib["name"],
        kind=kind,
        parent=link("parent"),
        child=link("child"),
        origin=pose(vector("origin", "xyz", "0 0 0"), vector("origin", "rpy", "0 0 0")),
        axis=vector("axis", "xyz", "1 0 0"),
        lower=float(limit.get("lower", 0.0)) if bounded and limit is not None else -math.inf,
        upper=float(limit.get("upper", 0.0)) if bounded and limit is not None else math.inf,
        velocity=math.inf if limit is None else float(limit.get("velocity", math.inf)),
        mimics="" if mimic is None else mimic.get("joint", "?"),
    )


def _way(joints: list[_Joint], base: str, tip: str, path: Path) -> list[_Joint]:
    """The joints from ``base`` down to ``tip``."""
    links = sorted({joint.parent for joint in joints} | {joint.child for joint in joints})
    for link in (base, tip):
        if link not in links:
            raise UserError(f"{path} has no link {link!r}; it has {', '.join(links) or 'none'}{nearest(link, links)}")
    above = {joint.child: joint for joint in joints}
    way: list[_Joint] = []
    at = tip
    while at != base:
        if at not in above or len(way) > len(joints):
            raise UserError(f"{path}: link {tip!r} does not hang from {base!r}; going up from it ends at {at!r}")
        way.append(above[at])
        at = above[at].parent
    return way[::-1]
