"""A scripted expert for pick_cube."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import Array, Goal, Mask, Scene, hand_rotation, hold, reach


class PickCubeExpert(Expert):
    """Comes from above, grasps the cube by the two faces that need the least turning, and carries it to the target."""

    task = "pick_cube"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {
            "over": Phase(reach(_from_above, 0.06, 0.02), OPEN, "down"),
            "down": Phase(reach(_from_above, 0.0, 0.006), OPEN, "grasp", lead=0.03, patience=50),
            "grasp": Phase(hold, CLOSE, "carry", least=8),
            "carry": Phase(_carry, CLOSE, "carry", failed=_dropped, instead="over", patience=10_000),
        }


def _from_above(scene: Scene) -> tuple[Array, Array]:
    """Down onto the cube: where, and the hand's rotation."""
    turned = scene.rotation("cube")
    yaw = np.arctan2(turned[:, 1, 0], turned[:, 0, 0])
    yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4  # the nearest of four
    position = scene.position("cube").copy()
    position[:, :2] += 0.004 * scene.variation[:, 1:3]
    return position, hand_rotation(yaw, 0.0, len(yaw))


def _carry(scene: Scene) -> Goal:
    position = scene.tcp + scene.position("target") - scene.position("cube")
    return Goal(position, scene.hand, np.zeros(len(position), bool))


def _dropped(scene: Scene) -> Mask:
    dropped: Mask = np.linalg.norm(scene.position("cube") - scene.tcp, axis=1) > 0.04
    return dropped
