"""A scripted expert for stack_blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.skills import Array, Goal, Grip, Mask, Scene, Skill, hand_rotation, hold, near, reach, retreat
from robolearn.sim.tasks.stack_blocks import HALF

Condition = Callable[[Scene], Mask]
_CLEAR = 0.17  # [m] the hand over everything


class StackBlocksExpert(Expert):
    """Puts the middle block onto the bottom one, then the top one onto the middle one; a block that it drops it fetches again."""

    task = "stack_blocks"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode."""
        return {**_put("middle", "bottom", "over_top"), **_put("top", "middle", "rest"), "rest": Phase(hold, OPEN, "rest")}


def _put(block: str, below: str, following: str) -> dict[str, Phase]:
    """Fetch a block and let it go on another."""
    grip, again = _from_above(block), f"over_{block}"
    lost, leave = _lost(block), f"leave_{block}"
    return {
        again: Phase(reach(grip, 0.08, 0.02), OPEN, f"down_{block}"),
        f"down_{block}": Phase(reach(grip, 0.0, 0.006), OPEN, f"grasp_{block}", lead=0.03, patience=30),
        f"grasp_{block}": Phase(hold, CLOSE, f"lift_{block}", least=4),
        f"lift_{block}": Phase(retreat(_CLEAR), CLOSE, f"carry_{block}"),
        f"carry_{block}": Phase(_over(block, below, 0.03, 0.006), CLOSE, f"lower_{block}", failed=lost, instead=leave),
        f"lower_{block}": Phase(
            _over(block, below, 0.001, 0.003), CLOSE, f"release_{block}", lead=0.02, patience=30, failed=lost, instead=leave
        ),
        f"release_{block}": Phase(hold, OPEN, f"done_{block}", least=3),
        f"done_{block}": Phase(retreat(_CLEAR), OPEN, following, failed=_fell(block, below), instead=again),
        f"leave_{block}": Phase(retreat(_CLEAR), OPEN, again),
    }


def _from_above(block: str) -> Grip:
    """Down onto a block, by the two faces that need the least turning."""

    def grip(scene: Scene) -> tuple[Array, Array]:
        turned = scene.rotation(block)
        yaw = np.arctan2(turned[:, 1, 0], turned[:, 0, 0])
        yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4  # the nearest of four
        position = scene.position(block).copy()
        position[:, :2] += 0.004 * scene.variation[:, 1:3]
        return position, hand_rotation(yaw, 0.0, len(yaw))

    return grip


def _over(block: str, below: str, height: float, distance: float) -> Skill:
    """Bring the held block ``height`` [m] over where it belongs, turned as it is."""

    def goal(scene: Scene) -> Goal:
        wanted = scene.position(below) + np.array([0.0, 0.0, 2 * HALF + height])
        position = scene.tcp + wanted - scene.position(block)
        return Goal(position, scene.hand, near(scene, position, scene.hand, distance))

    return goal


def _lost(block: str) -> Condition:
    """The fingers no longer hold it."""
    return lambda scene: np.linalg.norm(scene.position(block) - scene.tcp, axis=1) > 0.04


def _fell(block: str, below: str) -> Condition:
    """It does not stand on the other."""
    return lambda scene: scene.position(block)[:, 2] - scene.position(below)[:, 2] < HALF
