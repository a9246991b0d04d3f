"""What makes one assembly task: its parts, where they start, which poses are goals, what its stages are. Everything else is the world's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, nearest
from robolearn.sim.panda import Arm, ServoGains
from robolearn.sim.pose import Pose
from robolearn.sim.screw import Screws, Socket
from robolearn.spec import EnvSpec
from robolearn.tasks import env_spec_of

if TYPE_CHECKING:
    from robolearn.sim.starts import Start
    from robolearn.sim.view import View

Mask = NDArray[np.bool_]
Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
UNTURNED: Matrix = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Contacts:
    """Friction coefficients and constraint softness (measured: clearances of 1 mm need no more than 0.3 mm of penetration)."""

    part_friction: float = 0.15
    pad_friction: float = 1.0
    solref: str = ".01 1"
    solimp: str = ".95 .99 .0005"


@dataclass(frozen=True)
class Physics:
    """How the scene is integrated: the defaults suit clearances of 0.5 mm and more."""

    timestep: float = 0.005  # [s]
    substeps: int = 20  # a control step
    iterations: int = 20
    linesearch: int = 20  # a firm grip on several contacts needs 50: with 20 one in thousands of grasps shoots the part away
    noslip: int = 0


@dataclass(frozen=True)
class Rest:
    """The nominal place of a part: ``x, y`` [m] in the base frame, how it lies, and a height [m] just above where it comes to rest."""

    x: float
    y: float
    height: float
    rotation: Matrix = UNTURNED


@dataclass(frozen=True)
class Randomness:
    """Half-widths of uniform displacements from the nominal layout: x, y [m] and yaw [rad] a part; x, y [m] a fixture; joints [rad]."""

    parts: tuple[tuple[float, float, float], ...]
    joints: float
    fixtures: tuple[float, ...] = ()


@dataclass(frozen=True)
class Goal:
    """Poses of ``child`` in ``parent``'s frame, any of which will do.

    Args:
        parent: a body.
        child: another.
        positions: ``(k, 3)`` [m].
        rotations: ``(k, 3, 3)``, or one for all k.
        tolerance: [m] along each axis.
        cosine: least cosine between each axis of the child and that of its goal; None where orientation does not matter.
    """

    parent: str
    child: str
    positions: NDArray[np.float64]
    rotations: NDArray[np.float64] = field(default_factory=lambda: np.eye(3)[None])
    tolerance: float = 0.005
    cosine: float | None = 0.94

    def reached(self, pose: Pose) -> Mask:
        """Whether the child, seen from the parent, is at one of them: ``(N,)``."""
        near = (np.abs(pose.position[:, None] - self.positions) <= self.tolerance).all(2)  # (N, k)
        if self.cosine is not None:
            cosines = np.einsum("kji,njl->nkil", self.rotations, pose.rotation)
            near &= (np.diagonal(cosines, axis1=2, axis2=3) >= self.cosine).all(2)
        reached: Mask = near.any(1)
        return reached


@dataclass(frozen=True)
class Task:
    """Base of the assembly tasks; a subclass fills in the class variables and the methods, in the order in which they stand here.

    Attributes:
        name: the task's, as :func:`robolearn.tasks.env_spec_of` knows it; its spec gives rate, limits and the names of the stages.
        parts: free bodies, in the order of the observation's poses.
        fixtures: mocap bodies, behind them: what stands still but elsewhere in every episode.
        arms: robots.
        physics: how the scene is integrated.
        layout: nominal place of each part and fixture.
        levels: how far they start from it.
        horizon: usual time limit [steps].
        clear_height: no tool starts below it [m], however the joints are drawn: above the parts that lie there.
        hold_steps: further steps for which every goal must stay reached before that counts.
        ordered: whether a goal counts only once those before it have.
    """

    gains: ServoGains = field(default_factory=ServoGains)
    contacts: Contacts = field(default_factory=Contacts)

    name: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]
    fixtures: ClassVar[tuple[str, ...]] = ()
    arms: ClassVar[tuple[Arm, ...]] = (Arm(),)
    physics: ClassVar[Physics] = Physics()
    layout: ClassVar[tuple[Rest, ...]]
    levels: ClassVar[Mapping[str, Randomness]]
    horizon: ClassVar[int] = 600
    clear_height: ClassVar[float] = 0.05
    hold_steps: ClassVar[int] = 0
    ordered: ClassVar[bool] = False

    def add_bodies(self, world: ET.Element) -> None:
        """Geometry: put a body for each part (with a free joint of its name) and each fixture (mocap) into the document."""
        raise NotImplementedError

    def sockets(self) -> tuple[Socket, ...]:
        """Threaded holes."""
        return ()

    def adjust(self, start: Start) -> Start:
        """Layout: keep what was drawn from overlapping."""
        return start

    def goals(self) -> tuple[Goal, ...]:
        """One for each pair that is to be assembled."""
        raise NotImplementedError

    def stages(self, view: View, screws: Screws | None) -> tuple[Mask, ...]:
        """Whether each stage but the last, success, holds now: ``(N,)`` each."""
        raise NotImplementedError

    def spec(self) -> EnvSpec:
        """What the task shows and takes."""
        return env_spec_of(self.name)

    def check_level(self, level: str) -> None:
        """Raise ``UserError``, naming what there is, unless ``level`` is a key of ``levels``."""
        if level not in self.levels:
            raise UserError(f"no randomness level {level!r}; there are {', '.join(self.levels)}{nearest(level, self.levels)}")

    @property
    def memory(self) -> int:
        """Numbers that the world keeps behind the simulator's state: steps, seed, stages, assembled pairs, steps held."""
        pairs = len(self.goals())
        return 2 + len(self.spec().stages) + (pairs if pairs > 1 else 0) + (1 if self.hold_steps else 0)
