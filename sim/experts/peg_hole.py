"""A scripted expert for peg_hole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.rotation import rotvec_from_matrix
from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import Array, Goal, Mask, Scene, Seat, Skill, carry, firmly, hand_rotation, hold, reach, retreat
from robolearn.sim.tasks.peg_hole import BLOCK

_SEAT = Seat("peg", "block", np.zeros(3), np.eye(3))
_GRIP = 0.037  # [m] above the peg's end: the fingers stay clear of the block
_LOST = 0.012  # [m] the fingers have closed on less than the peg
# A search: how far it goes from the middle [m], and how far it turns and grows a step [rad, m].
_SEARCH, _TURN, _GROWTH = 0.0010, 0.8, 0.00004
# How far under the tool its target is [m]: 3 N a millimetre. Friction does not hold a peg that touches lightly.
_TOUCH, _PRESS = 0.001, 0.003


class PegHoleExpert(Expert):
    """Grasps the standing peg, brings it over the hole, presses lightly and searches in a spiral until it drops in."""

    task = "peg_hole"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode; a lost peg is grasped again, a search that found nothing begins anew."""
        return {
            "rise": Phase(retreat(0.10), OPEN, "over_peg"),
            "over_peg": Phase(reach(_grip, 0.05, 0.015), OPEN, "reach_peg"),
            "reach_peg": Phase(reach(_grip, 0.0, 0.003), OPEN, "grasp", lead=0.03, patience=25),
            "grasp": Phase(hold, CLOSE, "carry", lead=0.01, least=4),
            "carry": Phase(carry(_SEAT, 0.025, 0.006), CLOSE, "align", turn=0.25, failed=_lost, instead="rise"),
            "align": Phase(align(_SEAT, BLOCK[1] + 0.003), CLOSE, "insert", lead=0.004, patience=25, failed=_lost, instead="rise"),
            "insert": Phase(search(_SEAT, BLOCK[1]), CLOSE, "raise", lead=0.004, patience=40, failed=_lost, instead="rise"),
            "raise": Phase(carry(_SEAT, 0.02, 0.004), CLOSE, "align", lead=0.01, patience=15),
        }


def _lost(scene: Scene) -> Mask:
    return scene.width < _LOST


def _grip(scene: Scene) -> tuple[Array, Array]:
    """Across the standing peg's broad side, not always at the same place."""
    broad, along = scene.rotation("peg")[:, :, 0], scene.rotation("peg")[:, :, 2]
    position = scene.position("peg") + 0.002 * scene.variation[:, 1:2] * along
    position[:, 2] += _GRIP + 0.005 * scene.variation[:, 2]
    return position, hand_rotation(np.arctan2(broad[:, 0], -broad[:, 1]), 0.0, len(position))


def align(seat: Seat, height: float) -> Skill:
    """Still over the seat, to 0.1 mm and half a degree."""
    over = firmly(carry(seat, height, 0.001))

    def goal(scene: Scene) -> Goal:
        aim, left = over(scene), seat.left(scene)
        turned = np.linalg.norm(rotvec_from_matrix(scene.relative(seat.child, seat.parent).rotation), axis=1)
        there = (np.abs(left[:, [0, 2]]).max(1) < 0.0001) & (turned < 0.009) & (left[:, 1] < height + 0.001)
        return Goal(aim.position, aim.rotation, there)

    return goal


def search(seat: Seat, mouth: float) -> Skill:
    """Into a hole whose mouth is ``mouth`` [m] above the seat: where the child touches it, lightly and in a widening spiral."""
    straight = firmly(carry(seat, 0.0, 0.001))

    def goal(scene: Scene) -> Goal:
        aim, height = straight(scene), seat.left(scene)[:, 1]
        position = aim.position.copy()
        touching = np.abs(height - mouth) < 0.0006
        radius = np.where(touching, np.minimum(_GROWTH * scene.steps, _SEARCH), 0.0)
        position[:, 0] += radius * np.cos(_TURN * scene.steps)
        position[:, 1] += radius * np.sin(_TURN * scene.steps)
        position[:, 2] = np.maximum(position[:, 2], scene.tcp[:, 2] - np.where(touching, _TOUCH, _PRESS))
        return Goal(position, aim.rotation, height < 0.001)

    return goal
