"""A scripted expert for mug_rack."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import Array, Mask, Scene, Seat, carry, hand_rotation, hold, reach, retreat
from robolearn.sim.tasks.mug_rack import EYE, EYE_RADIUS, PEG_END, PEG_RADIUS, peg_height

_HEIGHT, _GRASPS = 0.018, 0.005  # [m] of the grip above the mug's middle, and how much people's differ
_ON = 0.050  # [m] from the rack's middle, where the mug is let go: clear of the trunk when it swings down
_BESIDE = 0.080  # [m] from the hand: the mug is not in it


class MugRackExpert(Expert):
    """Grasps the upright mug from above, slides its eye over the peg that points to +y, sets it down and lets it swing."""

    task = "mug_rack"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        drop = EYE_RADIUS - PEG_RADIUS
        before, on, down = _seat(PEG_END + 0.03), _seat(_ON), _seat(_ON, drop + 0.002)
        return {
            "over": Phase(reach(grip, 0.07, 0.02), OPEN, "reach"),
            "reach": Phase(reach(grip, 0.0, 0.005), OPEN, "grasp", lead=0.03, patience=25),
            "grasp": Phase(hold, CLOSE, "lift", least=4),
            "lift": Phase(retreat(0.17), CLOSE, "before", patience=20),
            "before": Phase(carry(before, 0.0, 0.010, lift=0.03), CLOSE, "thread", failed=dropped, instead="let_go"),
            "thread": Phase(carry(on, 0.0, 0.006, lift=0.0), CLOSE, "lower", lead=0.03, failed=dropped, instead="let_go"),
            "lower": Phase(carry(down, 0.0, 0.003, lift=0.0), CLOSE, "release", lead=0.02, patience=12),
            "release": Phase(hold, OPEN, "leave", least=4),
            "leave": Phase(retreat(0.26), OPEN, "wait"),
            "wait": Phase(hold, OPEN, "over", least=30),
            "let_go": Phase(hold, OPEN, "rise", least=4),
            "rise": Phase(retreat(0.26), OPEN, "over"),
        }


def grip(scene: Scene) -> tuple[Array, Array]:
    """From above, the fingers beside the handle."""
    axis = scene.rotation("mug")[:, :, 0]
    position = scene.position("mug").copy()
    position[:, 2] += _HEIGHT + _GRASPS * scene.variation[:, 1]
    return position, hand_rotation(np.arctan2(axis[:, 1], axis[:, 0]), 0.0, len(position))


def dropped(scene: Scene) -> Mask:
    """The mug is no longer in the hand."""
    gone: Mask = np.linalg.norm(scene.position("mug") - scene.tcp, axis=1) > _BESIDE
    return gone


def _seat(z: float, lower: float = 0.0) -> Seat:
    """The mug upright with the middle of its eye on the peg's axis, or ``lower`` [m] than it, ``z`` [m] from the rack's middle."""
    return Seat("mug", "rack", np.array([-EYE, float(peg_height(z)) - lower, -z]), np.eye(3))
