"""A scripted expert for square_table: one_leg's skills, leg after leg."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from robolearn.rotation import matrix_from_rotvec
from robolearn.sim.experts.expert import CLOSE, OPEN, Expert, Phase
from robolearn.sim.experts.one_leg import push_top, screw_home
from robolearn.sim.experts.skills import (
    Array,
    Goal,
    Grip,
    Mask,
    Scene,
    Seat,
    Wrench,
    along,
    back_off,
    carry,
    hand_rotation,
    hold,
    insert,
    near,
    reach,
    retreat,
    screw,
)
from robolearn.sim.furniture import FENCE_WALLS, HOLE_OFFSET, SEATED, TOP_HALF, Fit

# Which leg goes into which hole (x, z in the top's frame, signs), in this order: far holes first, so that the hand comes over no
# leg that stands; outer legs first, so that fingers have room beside the inner ones.
_ORDER = (("leg4", (-1, -1)), ("leg1", (1, -1)), ("leg3", (-1, 1)), ("leg2", (1, 1)))
_QUARTER = matrix_from_rotvec(np.array([0.0, np.pi / 2, 0.0]))
_TILT = np.radians(60.0)
_ABOVE_LEGS = 0.17  # [m] where open fingers pass over standing legs
_UNWOUND = np.radians(60.0)
_ASTRAY = 0.04  # [m]
_GRASPS = 0.004  # [m] along a leg, by which people's grasps differ


class SquareTableExpert(Expert):
    """Pushes the top into the corner, then for each leg: grasp, stand up, insert, screw home; a leg that was lost is fetched again."""

    task = "square_table"

    def phases(self) -> Mapping[str, Phase]:
        """In the order of an episode; a leg that is home is passed over, and behind the last leg comes the first again."""
        legs = [leg for leg, _ in _ORDER]
        phases = {**push_top("look"), "look": Phase(hold, OPEN, f"begin {legs[0]}", failed=astray, instead="push again")}
        phases["push again"] = Phase(retreat(0.075), CLOSE, "above_y")
        for (leg, (x, z)), following in zip(_ORDER, (*legs[1:], legs[0]), strict=True):
            seat = Seat(leg, "top", np.array([x * HOLE_OFFSET, SEATED, z * HOLE_OFFSET]), _QUARTER)
            phases |= labelled(fasten(seat, f"begin {following}"), leg)
        return phases


def labelled(phases: Mapping[str, Phase], label: str) -> dict[str, Phase]:
    """The same phases under names that end with ``label``; what they go on with elsewhere keeps its name."""

    def named(name: str) -> str:
        return f"{name} {label}" if name in phases else name

    return {named(name): replace(phase, following=named(phase.following), instead=named(phase.instead)) for name, phase in phases.items()}


def fasten(seat: Seat, following: str) -> dict[str, Phase]:
    """One leg from wherever it lies into its hole, then ``following``."""
    leg = Fastening(seat)
    screwing = screw_home(Wrench(seat.child, seat.parent), "over_pin", "turned")
    for name in ("over_pin", "onto_pin"):
        screwing[name] = replace(screwing[name], failed=leg.fallen, instead="begin")
    screwing["squeeze"] = replace(screwing["squeeze"], failed=leg.askew, instead="unhand")
    screwing["screw"] = replace(screwing["screw"], goal=leg.screw, failed=leg.home, instead="unhand")
    return {
        "begin": Phase(hold, OPEN, "look", failed=leg.home, instead=following),
        "look": Phase(unwind, OPEN, "above_leg", failed=leg.stands, instead="over_pin"),
        "above_leg": Phase(leg.above, OPEN, "over_leg"),
        "over_leg": Phase(reach(leg.grip, 0.07, 0.02), OPEN, "reach_leg"),
        "reach_leg": Phase(reach(leg.grip, 0.0, 0.005), OPEN, "grasp", lead=0.03, patience=25),
        "grasp": Phase(hold, CLOSE, "lift", least=4),
        "lift": Phase(retreat(0.12), CLOSE, "carry", patience=15),
        "carry": Phase(carry(seat, 0.045, 0.008), CLOSE, "align", failed=leg.dropped, instead="let_go"),
        "align": Phase(carry(seat, 0.030, 0.003), CLOSE, "insert", lead=0.02, patience=25, failed=leg.dropped, instead="let_go"),
        "insert": Phase(insert(seat, 0.0095), CLOSE, "release", lead=0.02, patience=25, failed=leg.dropped, instead="let_go"),
        "release": Phase(hold, OPEN, "back_off", least=3),
        "back_off": Phase(back_off(seat.child), OPEN, "over_pin"),
        **screwing,
        "turned": Phase(hold, OPEN, "over_pin", failed=leg.home, instead="leave"),
        "leave": Phase(unwind, OPEN, following),
        "let_go": Phase(hold, OPEN, "begin", least=3),
    }


def astray(scene: Scene) -> Mask:
    """The top is not in the corner, as where a finger came down on its edge."""
    gap = scene.position("fence")[:, :2] + FENCE_WALLS - TOP_HALF[0] - scene.position("top")[:, :2]
    astray: Mask = (np.abs(gap) > _ASTRAY).any(1)
    return astray


def unwind(scene: Scene) -> Goal:
    """Straight up over the legs, and the wrist back the way it came: the short way to the next leg may lead past its end."""
    position = scene.tcp.copy()
    position[:, 2] = _ABOVE_LEGS
    yaw = np.zeros(len(position))
    done = (scene.tcp[:, 2] > _ABOVE_LEGS - 0.02) & (np.abs(scene.yaw) < _UNWOUND)
    return Goal(position, hand_rotation(yaw, 0.0, len(position)), done, yaw)


class Fastening:
    """How far a leg has come: ``(n,)`` masks of a scene."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._screw = screw(Wrench(seat.child, seat.parent))
        self._along = along(seat.child, tilt=_TILT)

    @property
    def grip(self) -> Grip:
        """On the lying leg, each episode a little elsewhere."""

        def grip(scene: Scene) -> tuple[Array, Array]:
            position, rotation = self._along(scene)
            return position + _GRASPS * scene.variation[:, 1:2] * scene.rotation(self._seat.child)[:, :, 1], rotation

        return grip

    def home(self, scene: Scene) -> Mask:
        """Screwed in to within a few degrees."""
        rotation = scene.relative(self._seat.child, self._seat.parent).rotation
        home: Mask = (np.abs(self._seat.left(scene)) < 0.003).all(1) & (rotation[:, 0, 0] > 0.97)
        return home

    def above(self, scene: Scene) -> Goal:
        """High over the lying leg, the hand down: leaned back already far from here, the arm would have to stretch beyond its reach."""
        position = scene.position(self._seat.child) + np.array([0.03, 0.0, 0.0])
        position[:, 2] = _ABOVE_LEGS
        rotation = hand_rotation(0.0, 0.0, len(position))
        return Goal(position, rotation, near(scene, position, rotation, 0.05, 0.5))

    def askew(self, scene: Scene) -> Mask:
        """Between fingers that met its edges, or no longer in the hole."""
        askew: Mask = ((scene.width > 0.034) & (scene.steps > 5)) | self.fallen(scene)
        return askew

    def screw(self, scene: Scene) -> Goal:
        """Turn until the leg is home and no further: pressed onto the top it would stay too far turned."""
        goal = self._screw(scene)
        assert goal.yaw is not None
        left = np.maximum(self._seat.left(scene)[:, 1], 0.0) / Fit().pitch * 2 * np.pi
        return replace(goal, yaw=np.maximum(goal.yaw, scene.yaw - left))

    def stands(self, scene: Scene) -> Mask:
        """With its pin in the hole."""
        left = self._seat.left(scene)
        upright = scene.relative(self._seat.child, self._seat.parent).rotation[:, 1, 1] > 0.9
        stands: Mask = (np.abs(left[:, [0, 2]]) < 0.012).all(1) & (left[:, 1] < 0.02) & upright
        return stands

    def fallen(self, scene: Scene) -> Mask:
        """Not with its pin in the hole."""
        fallen: Mask = ~self.stands(scene)
        return fallen

    def dropped(self, scene: Scene) -> Mask:
        """Not between the fingers."""
        apart = np.linalg.norm(scene.position(self._seat.child) - scene.tcp, axis=1)
        dropped: Mask = (apart > 0.045) | (scene.width < 0.02)
        return dropped
