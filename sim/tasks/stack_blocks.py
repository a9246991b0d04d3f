"""Three blocks are stacked in order: the middle one onto the bottom one, the top one onto both. The task of ``docs/add_a_task.md``."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import numpy as np

from robolearn.sim.looks import FENCE_COLOR, PART_COLOR, REQUIRED_COLOR
from robolearn.sim.panda import ServoGains
from robolearn.sim.primitives import box, inertia_of_box
from robolearn.sim.screw import Screws
from robolearn.sim.task import Goal, Mask, Randomness, Rest, Task
from robolearn.sim.view import View

HALF = 0.02  # [m] of a block
MASS = 0.1  # [kg]
WIDTH = (0.035, 0.045)  # [m] between fingers that hold one
_ONTO = np.array([[0.0, 0.0, 2 * HALF]])  # a block on another, seen from that [m]


@dataclass(frozen=True)
class StackBlocks(Task):
    """Blocks of 40 mm, turned anyhow, each to stand within 10 mm of the middle of the one below, for half a second.

    The grip is light: at 20 N the fingers close so fast that they throw a block of this weight one time in twenty.
    """

    gains: ServoGains = field(default_factory=lambda: ServoGains(grip_force=8.0))

    name = "stack_blocks"
    parts = ("bottom", "middle", "top")
    layout = (Rest(0.5, 0.0, HALF + 0.0005), Rest(0.45, -0.16, HALF + 0.0005), Rest(0.45, 0.16, HALF + 0.0005))
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.02, 0.02, 0.4),) * 3, joints=np.radians(5.0)),
        "med": Randomness(parts=((0.04, 0.03, 0.7),) * 3, joints=np.radians(10.0)),
        "high": Randomness(parts=((0.08, 0.045, 0.78),) * 3, joints=np.radians(13.0)),
    }
    horizon = 300
    hold_steps = 5
    ordered = True
    clear_height = 0.07

    def add_bodies(self, world: ET.Element) -> None:
        """Three alike, but for their colours."""
        for name, color in zip(self.parts, (FENCE_COLOR, PART_COLOR, REQUIRED_COLOR), strict=True):
            block = ET.SubElement(world, "body", name=name)
            ET.SubElement(block, "freejoint", name=name)
            inertia_of_box(block, MASS, (HALF, HALF, HALF))
            box(block, (-HALF, -HALF, -HALF), (HALF, HALF, HALF), **{"class": "part", "name": name, "rgba": color})

    def goals(self) -> tuple[Goal, ...]:
        """Middle on bottom, then top on middle."""
        return tuple(Goal(below, above, _ONTO, tolerance=0.010, cosine=None) for below, above in (self.parts[:2], self.parts[1:]))

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Middle grasped, middle stacked, top grasped, top stacked."""
        middle, top = self.goals()
        return (
            _lifted(view, "middle"),
            middle.reached(view.relative("middle", "bottom")),
            _lifted(view, "top"),
            top.reached(view.relative("top", "middle")),
        )


def _lifted(view: View, block: str) -> Mask:
    lifted: Mask = view.holds(block, 0.03, width=WIDTH) & (view.part(block)[:, 2] > HALF + 0.005)
    return lifted
