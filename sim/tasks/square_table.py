"""FurnitureBench's square_table: push the table top into the fence's corner, screw all four legs into it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass, field, replace

import numpy as np

from robolearn.sim.furniture import SEATED, TOP_HALF, add_fence, add_leg, add_top, top_sockets
from robolearn.sim.looks import REQUIRED_COLOR
from robolearn.sim.panda import ServoGains
from robolearn.sim.screw import Screws, Socket
from robolearn.sim.task import Goal, Mask
from robolearn.sim.tasks.one_leg import GOALS, OneLeg, pin_at_hole, pushed
from robolearn.sim.view import View

_THREAD_FRICTION = 0.002  # [Nm] eight times a leg's weight on this pitch: a leg that stands in its thread stays as it is


@dataclass(frozen=True)
class SquareTable(OneLeg):
    """The parts, the layout and the levels of one_leg; every leg is wanted, in any hole of its own, untwisted."""

    gains: ServoGains = field(default_factory=lambda: ServoGains(posture_stiffness=5.0))

    name = "square_table"
    horizon = 2500  # JUICER allows 4000; its operators took 2600, the expert takes 1000

    def add_bodies(self, world: ET.Element) -> None:
        """The top, the legs, the fence."""
        add_top(world, self.fit)
        for name in self.legs():
            add_leg(world, name, self.fit, REQUIRED_COLOR)
        add_fence(world)

    def legs(self) -> tuple[str, ...]:
        """All parts but the top."""
        return self.parts[1:]

    def sockets(self) -> tuple[Socket, ...]:
        """The top's four holes, for any leg."""
        return tuple(replace(socket, friction=_THREAD_FRICTION) for socket in top_sockets(self.fit, self.legs()))

    def goals(self) -> tuple[Goal, ...]:
        """Each leg in any hole: a hole takes but one, so four legs at goals are in four holes."""
        return tuple(Goal("top", leg, GOALS) for leg in self.legs())

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Pushed, then for one to four legs in turn: so many inserted, so many screwed home."""
        inserted = np.zeros(len(view.qpos), np.int64)
        screwed = np.zeros_like(inserted)
        for leg in self.legs():
            pose = view.relative(leg, "top")
            at_hole, end = pin_at_hole(pose)
            height = screws.height(leg) if screws is not None else pose.position[:, 1] - SEATED
            inserted += at_hole & (end < TOP_HALF[1] - 0.010)
            screwed += at_hole & (height < 0.0035)
        counts = range(1, len(self.legs()) + 1)
        return (pushed(view), *(mask for count in counts for mask in (inserted >= count, screwed >= count)))
