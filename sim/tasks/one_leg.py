"""FurnitureBench's one_leg: push the table top into the fence's corner, screw leg 4 into it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from robolearn.sim.furniture import (
    FENCE_HEIGHT,
    FENCE_WALLS,
    HOLES,
    LEG_HALF,
    LEG_LYING,
    PIN_LENGTH,
    SEATED,
    TOP_HALF,
    TOP_LYING,
    Fit,
    add_fence,
    add_leg,
    add_top,
    top_sockets,
)
from robolearn.sim.looks import PART_COLOR, REQUIRED_COLOR
from robolearn.sim.pose import Pose
from robolearn.sim.screw import Screws, Socket
from robolearn.sim.starts import Start
from robolearn.sim.task import Goal, Mask, Randomness, Rest, Task
from robolearn.sim.view import View

REQUIRED_LEG = "leg4"
_LEGS_END = 0.42  # [m] no leg reaches further along x
_HOLES = np.array(HOLES)
GOALS = np.stack([_HOLES[:, 0], np.full(len(HOLES), SEATED), _HOLES[:, 1]], 1)  # (4, 3)
_PIN_END = np.array([0.0, -(LEG_HALF[1] + PIN_LENGTH), 0.0])


def _leg(y: float) -> Rest:
    return Rest(0.371, y, height=0.0155, rotation=LEG_LYING)


@dataclass(frozen=True)
class OneLeg(Task):
    """The table top, four legs of which leg 4 is wanted, and the fence; any hole will do, untwisted.

    FurnitureSim displaces parts by random impulses, which depend on its friction; ``low`` has the displacements seen in the
    recorded demonstrations, ``med`` JUICER's +-5 cm, +-45 degrees as far as the top clears the legs, which keep to their
    strips, ``high`` the fence's and the joints' widest (ResiP) and a top that is turned further.
    """

    fit: Fit = field(default_factory=Fit)

    name = "one_leg"
    parts = ("top", "leg1", "leg2", "leg3", "leg4")
    fixtures = ("fence",)
    layout = (
        Rest(0.5415, 0.0, height=0.017, rotation=TOP_LYING),
        *map(_leg, (-0.2, -0.12, 0.12, 0.2)),
        Rest(0.6815, 0.0, height=FENCE_HEIGHT),
    )
    levels = {  # noqa: RUF012
        "low": Randomness(parts=((0.018, 0.018, 0.33), *((0.005, 0.008, 0.45),) * 4), fixtures=(0.02,), joints=np.radians(5.0)),
        "med": Randomness(parts=((0.03, 0.05, 0.45), *((0.015, 0.008, 0.45),) * 4), fixtures=(0.04,), joints=np.radians(10.0)),
        "high": Randomness(parts=((0.03, 0.05, 0.6), *((0.015, 0.008, 0.45),) * 4), fixtures=(0.06,), joints=np.radians(13.0)),
    }

    def add_bodies(self, world: ET.Element) -> None:
        """The top, the legs, the fence."""
        add_top(world, self.fit)
        for name in self.parts[1:]:
            add_leg(world, name, self.fit, REQUIRED_COLOR if name == REQUIRED_LEG else PART_COLOR)
        add_fence(world)

    def sockets(self) -> tuple[Socket, ...]:
        """The top's four holes, for leg 4."""
        return top_sockets(self.fit, (REQUIRED_LEG,))

    def adjust(self, start: Start) -> Start:
        """Room for the top between the legs and the fence, and the top there."""
        return clear_top(start)

    def goals(self) -> tuple[Goal, ...]:
        """Leg 4 in any hole, its axes those of the top: FurnitureBench takes no quarter turns for the same."""
        return (Goal("top", REQUIRED_LEG, GOALS),)

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Pushed, grasped, upright, inserted, screwed."""
        pose = view.relative(REQUIRED_LEG, "top")
        at_hole, end = pin_at_hole(pose)
        height = screws.height(REQUIRED_LEG) if screws is not None else pose.position[:, 1] - SEATED
        return (
            pushed(view),
            view.holds(REQUIRED_LEG, 0.06) & (view.part(REQUIRED_LEG)[:, 2] > 2 * LEG_HALF[0]),
            pose.rotation[:, 1, 1] > 0.9,
            at_hole & (end < TOP_HALF[1] - 0.010),
            at_hole & (height < 0.0035),
        )


def pushed(view: View) -> Mask:
    """Whether the top lies in the fence's corner, ``(N,)``."""
    gap = view.fixture("fence")[:, :2] + FENCE_WALLS - TOP_HALF[0] - view.part("top")[:, :2]
    there: Mask = (gap[:, 0] < 0.015) & (gap[:, 1] < 0.03)
    return there


def pin_at_hole(pose: Pose) -> tuple[Mask, NDArray[np.float64]]:
    """Whether a leg's pin, the leg seen from the top, ends over or in a hole ``(N,)``, and the end's height [m] ``(N,)``."""
    end = pose.point(_PIN_END)
    at_hole: Mask = (np.abs(end[:, None, [0, 2]] - _HOLES).max(2) < 0.006).any(1)
    return at_hole, end[:, 1]


def clear_top(start: Start) -> Start:
    """Move fences away from the legs, and tops out of the fence and off the legs, by as little as will do [m]."""
    xy, turn, fence = start.xy.copy(), start.yaw[:, 0], start.xy[:, -1].copy()
    reach = TOP_HALF[0] * (np.abs(np.cos(turn)) + np.abs(np.sin(turn))) + 0.003
    fence[:, 0] = np.maximum(fence[:, 0], _LEGS_END + 2 * reach + 0.01)
    x = np.clip(xy[:, 0, 0], _LEGS_END + reach, np.maximum(fence[:, 0] - 0.01 - reach, _LEGS_END + reach))
    room = np.maximum(0.165 - reach, 0.0)
    xy[:, 0] = np.stack([x, np.clip(xy[:, 0, 1], fence[:, 1] - room, fence[:, 1] + room)], 1)
    xy[:, -1] = fence
    return replace(start, xy=xy)
