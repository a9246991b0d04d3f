"""A scripted expert for bimanual_insertion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import Array, Goal, Grip, Mask, Scene, Seat, Skill, carry, firmly, hand_rotation, hold, reach
from robolearn.sim.tasks.bimanual_insertion import CENTRE, HOLE_DEPTH, SEATED

_SEAT = Seat("peg", "socket", np.array([0.0, SEATED, 0.0]), np.eye(3))
# Where the parts meet [m]: the hands as far from the middle on either side once the peg is seated.
_SOCKET_AT = np.array([CENTRE[0], CENTRE[1] - 0.03, 0.20])
_PEG_AT = np.array([CENTRE[0], CENTRE[1] + SEATED + HOLE_DEPTH, 0.20])


class BimanualInsertionExpert(Expert):
    """Both arms grasp and lift their parts at once; the right one holds the socket still, the left one slides the peg in."""

    task = "bimanual_insertion"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode; parts that were dropped are grasped again."""
        grips, still = (_grip("peg", 0.030, 0), _grip("socket", -0.018, 1)), bring("socket", _SOCKET_AT)
        return {
            "above": Phase(tuple(reach(grip, 0.06, 0.015) for grip in grips), OPEN, "down", patience=200),
            "down": Phase(tuple(reach(grip, 0.0, 0.004) for grip in grips), OPEN, "grasp", lead=0.03, patience=120),
            "grasp": Phase((hold, hold), CLOSE, "meet", lead=0.005, least=20),
            "meet": Phase((bring("peg", _PEG_AT), still), CLOSE, "align", patience=250),
            "align": Phase(
                (align(_SEAT, HOLE_DEPTH + 0.008), still), CLOSE, "insert", lead=0.015, patience=80, failed=_dropped, instead="above"
            ),
            "insert": Phase((slide(_SEAT, 0.008), still), CLOSE, "keep", lead=0.015, patience=120, failed=_dropped, instead="above"),
            "keep": Phase((slide(_SEAT, 0.003), still), CLOSE, "align", lead=0.005, least=60, failed=_unseated, instead="align"),
        }


def _grip(part: str, along: float, place: int) -> Grip:
    """Across a lying part, ``along`` [m] from its middle, not always at the same place."""

    def grip(scene: Scene) -> tuple[Array, Array]:
        axis = scene.rotation(part)[:, :, 1]
        position = scene.position(part) + (along + 0.006 * scene.variation[:, 1 + place : 2 + place]) * axis
        position[:, 2] = np.maximum(position[:, 2], 0.018)  # [m] the fingers' ends clear the table
        return position, hand_rotation(np.arctan2(axis[:, 1], axis[:, 0]) + (np.pi if place == 0 else 0.0), 0.0, len(position))

    return grip


def _dropped(scene: Scene) -> Mask:
    dropped: Mask = np.minimum(scene.position("peg")[:, 2], scene.position("socket")[:, 2]) < 0.06
    return dropped


def _unseated(scene: Scene) -> Mask:
    return _SEAT.left(scene)[:, 1] > 0.004


def bring(part: str, position: Array) -> Skill:
    """A held part to a position in the base frame, square to it, correcting for how it lies in the hand."""

    def goal(scene: Scene) -> Goal:
        held, back = scene.poses[part], scene.hand.transpose(0, 2, 1)
        rotation = (back @ held.rotation).transpose(0, 2, 1)
        offset = (back @ (held.position - scene.tcp)[..., None])[..., 0]
        target = position - (rotation @ offset[..., None])[..., 0]
        there = (np.linalg.norm(held.position - position, axis=1) < 0.01) & (np.trace(held.rotation, axis1=1, axis2=2) > 2.995)
        return Goal(target, rotation, there)

    return goal


def align(seat: Seat, height: float) -> Skill:
    """Before the hole, to 0.5 mm and a degree and a half."""
    before = firmly(carry(seat, height, 0.002, lift=0.0))

    def goal(scene: Scene) -> Goal:
        aim, left = before(scene), seat.left(scene)
        straight = scene.relative(seat.child, seat.parent).rotation[:, 1, 1] > 0.9997
        there: Mask = straight & (np.abs(left[:, [0, 2]]).max(1) < 0.0005) & (np.abs(left[:, 1] - height) < 0.003)
        return Goal(aim.position, aim.rotation, there)

    return goal


def slide(seat: Seat, most: float) -> Skill:
    """Along the seat's y axis into it, the target no more than ``most`` [m] ahead, and firmly in line with it."""
    straight = carry(seat, 0.0, 0.001, lift=0.0)

    def goal(scene: Scene) -> Goal:
        aim, axis = straight(scene), scene.rotation(seat.parent)[:, :, 1]
        way = aim.position - scene.tcp
        along = (way * axis).sum(1, keepdims=True)
        target = scene.tcp + 2.5 * (way - along * axis) + np.clip(along, -most, most) * axis
        return Goal(target, aim.rotation, seat.left(scene)[:, 1] < 0.001)

    return goal
