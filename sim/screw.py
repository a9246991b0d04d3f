"""The screw: when a pin has entered a hole, a native screw law takes its part, and the part must be turned to seat."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion
from robolearn.sim.engines import PhysicsEngine
from robolearn.sim.headless import mujoco
from robolearn.sim.pose import Pose
from robolearn.sim.primitives import words

TURN = 2 * np.pi
_CLOSE = 0.006  # [m] of a pin's end from the hole's axis, along either of its sides, and below where it is when seated
_SLACK = 5e-4  # [m] above its height at which the thread has been reached
_UPRIGHT = 0.9  # cosine between pin and hole


@dataclass(frozen=True)
class Socket:
    """A threaded hole of ``parent``, which takes one of ``children`` at a time.

    Args:
        name: of the nut, the frame that moves along the thread.
        parent: body with the hole.
        children: bodies whose pin fits.
        position: of a seated child's origin, in the parent's frame [m].
        quaternion: of a seated child, in the parent's frame (wxyz); the screw's axis is the child's y.
        pin_end: the pin's end in the child's frame [m].
        mouth: height of the hole's mouth above a seated child's origin, along the axis [m].
        pitch: [m] a turn.
        entry_turns: turns above the seat at which the thread catches, by the child's phase.
        friction: of the thread against turning [Nm]: keeps a child from turning itself home by its weight.
    """

    name: str
    parent: str
    children: tuple[str, ...]
    position: tuple[float, float, float]
    pin_end: tuple[float, float, float]
    mouth: float
    pitch: float
    entry_turns: tuple[float, float]
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)
    friction: float = 0.0


def add_nuts(world: ET.Element, sockets: Sequence[Socket]) -> None:
    """Under each socket's parent a massless-looking frame that may only move along the screw: where a child in this hole may be."""
    for socket in sockets:
        parent = world.find(f".//body[@name='{socket.parent}']")
        if parent is None:
            raise ValueError(f"socket {socket.name!r} belongs to {socket.parent!r}, which is no body of the scene")
        nut = ET.SubElement(parent, "body", name=socket.name, pos=words(socket.position), quat=words(socket.quaternion), gravcomp="1")
        ET.SubElement(nut, "inertial", pos="0 0 0", mass=".002", diaginertia="1e-6 1e-6 1e-6")
        along = {"type": "slide", "axis": "0 1 0", "limited": "true", "range": words((0.0, socket.pitch * (socket.entry_turns[1] + 0.2)))}
        rise = ET.SubElement(nut, "joint", {"name": f"{socket.name}_rise", **along, "armature": ".02", "damping": ".5"})
        turn = ET.SubElement(nut, "joint", name=f"{socket.name}_turn", type="hinge", axis="0 1 0", armature="2e-5", damping="1e-4")
        if socket.friction:
            turn.set("frictionloss", str(socket.friction))
            rise.attrib.update(solreflimit=".01 1", solimplimit=".99 .9999 .0005")  # what is turned too far would stay there
        ET.SubElement(nut, "site", name=socket.name, size=".002", group="4")


def add_threads(root: ET.Element, sockets: Sequence[Socket]) -> None:
    """A weld from each nut to each of its children, and the nut's screw law; all off until a pin has entered.

    The turn is joint1: with the slide as joint1 the light hinge makes the constraint ill-conditioned. Both are stiffer than
    contacts, so that a part pressed with 10 N gives way by 0.15 mm and cannot seat unturned.
    """
    firm = {"solref": ".01 1", "solimp": ".99 .9999 .0005", "active": "false"}
    equality = ET.SubElement(root, "equality")
    for socket in sockets:
        for child in socket.children:
            weld = {"name": f"{socket.name}_{child}", "site1": socket.name, "site2": child, "torquescale": ".2"}
            ET.SubElement(equality, "weld", {**weld, **firm})
        law = f"0 {2 * math.pi / socket.pitch} 0 0 0"
        joints = {"joint1": f"{socket.name}_turn", "joint2": f"{socket.name}_rise"}
        ET.SubElement(equality, "joint", {"name": f"{socket.name}_law", **joints, "polycoef": law, **firm})


class Screws:
    """Switches the screw constraint of each row and hole on when a pin reaches the thread, off when it is unscrewed.

    A hole's nut rises ``pitch`` a turn above the seat, in phase with the child: at twist ``phi`` the child may only be at
    heights ``pitch * (phi / 2 pi + k)``. The turn k at which it catches is the one inside ``entry_turns``, so a part that
    was pushed deep is lifted back to the thread's beginning instead of being let off a turn.
    All memory (equality flags, nut joints) is part of MuJoCo's integration state.

    Args:
        engine: N rows of a scene with these sockets' nuts and threads.
        sockets: S holes.
    """

    def __init__(self, engine: PhysicsEngine, sockets: Sequence[Socket]) -> None:
        self._qpos, self._qvel, self._active = engine.view("qpos"), engine.view("qvel"), engine.view("eq_active")
        model = engine.model
        pairs = [(place, child) for place, socket in enumerate(sockets) for child in socket.children]
        self.pairs = tuple((sockets[place].parent, child) for place, child in pairs)
        self._socket = np.array([place for place, _ in pairs], np.int64)  # (P,) hole of each pair
        self._child = np.unique([child for _, child in pairs], return_inverse=True)[1].reshape(-1)
        self._seat = Pose(
            np.array([sockets[place].position for place, _ in pairs]),
            matrix_from_quaternion(np.array([sockets[place].quaternion for place, _ in pairs])),
        )
        self._pin_end = np.array([sockets[place].pin_end for place, _ in pairs])  # (P, 3)
        self._mouth, self._pitch = (np.array([getattr(sockets[place], name) for place, _ in pairs]) for name in ("mouth", "pitch"))
        self._entry = np.array([sockets[place].entry_turns for place, _ in pairs])  # (P, 2)

        def address(kind: str, table: NDArray[np.int32]) -> NDArray[np.int64]:
            return np.array([table[model.joint(f"{sockets[place].name}_{kind}").id] for place, _ in pairs])

        def equality(names: list[str]) -> NDArray[np.int64]:
            return np.array([mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_EQUALITY, name) for name in names])

        self._rise_q, self._turn_q = address("rise", model.jnt_qposadr), address("turn", model.jnt_qposadr)
        self._rise_v, self._turn_v = address("rise", model.jnt_dofadr), address("turn", model.jnt_dofadr)
        self._weld = equality([f"{sockets[place].name}_{child}" for place, child in pairs])
        self._law = equality([f"{sockets[place].name}_law" for place, _ in pairs])

    def engaged(self) -> NDArray[np.bool_]:
        """Which child each hole holds, ``(N, P)`` by :attr:`pairs`."""
        engaged: NDArray[np.bool_] = self._active[:, self._weld] > 0
        return engaged

    def heights(self) -> NDArray[np.float64]:
        """Height of each engaged child above its seat by the screw law [m], infinity where the hole does not hold it: ``(N, P)``."""
        heights: NDArray[np.float64] = np.where(self.engaged(), self._qpos[:, self._rise_q], np.inf)
        return heights

    def height(self, child: str) -> NDArray[np.float64]:
        """Height of ``child`` above the seat of whatever hole holds it [m], else infinity: ``(N,)``."""
        of_child = [place for place, (_, name) in enumerate(self.pairs) if name == child]
        height: NDArray[np.float64] = self.heights()[:, of_child].min(1)
        return height

    def update(self, pose: Pose) -> None:
        """Engage and release, given each pair's child in its parent's frame: ``position (N, P, 3)``, ``rotation (N, P, 3, 3)``."""
        self._release()
        engaged = self.engaged()
        taken = np.zeros_like(engaged)
        for place in range(engaged.shape[1]):  # a child in any hole, a hole with any child
            shared = (self._socket == self._socket[place]) | (self._child == self._child[place])
            taken[:, place] = engaged[:, shared].any(1)
        seat = pose.seen_from(self._seat)
        end = seat.position + (seat.rotation @ self._pin_end[..., None])[..., 0]  # (N, P, 3)
        deep = end[..., 1] - self._pin_end[:, 1]  # a leg may also lie far below a top that flies over it
        inside = (np.abs(end[..., [0, 2]]) < _CLOSE).all(-1) & (end[..., 1] < self._mouth) & (deep > -_CLOSE)
        low = self._entry[:, 0]
        turns = (seat.twist / TURN - low) % 1.0 + low
        rise = self._pitch * turns
        reached = seat.position[..., 1] <= rise + _SLACK
        rows, places = np.nonzero(inside & reached & (seat.rotation[..., 1, 1] > _UPRIGHT) & ~taken)
        self._qpos[rows, self._rise_q[places]] = rise[rows, places]
        self._qpos[rows, self._turn_q[places]] = TURN * turns[rows, places]
        self._qvel[rows, self._rise_v[places]] = 0.0
        self._qvel[rows, self._turn_v[places]] = 0.0
        self._active[rows, self._weld[places]] = 1.0
        self._active[rows, self._law[places]] = 1.0

    def _release(self) -> None:
        top = self._pitch * (self._entry[:, 1] + 0.1)
        rows, places = np.nonzero(self.engaged() & (self._qpos[:, self._rise_q] > top))
        self._active[rows, self._weld[places]] = 0.0
        self._active[rows, self._law[places]] = 0.0
