"""An arm without physics, for drills: its joints go where they are told to, or follow poses as a spring does."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.kinematics import Chain
from robolearn.deploy.turning import rotvec_between
from robolearn.protocols import RobotState, RobotVerdict
from robolearn.rotation import matrix_from_quaternion, quaternion_from_matrix
from robolearn.spec import EnvSpec

Array = NDArray[np.float64]

RATES = (4.86, 9.16)  # [1/s] at which the tool follows poses, in translation and rotation
PARTS = 6


class KinematicWorld:
    """A :class:`robolearn.protocols.RobotWorld` of one arm above an empty table.

    Args:
        env_spec: of the task.
        chain: the arm.
        home: joints ``(7,)`` [rad] after a reset.

    Attributes:
        blocked: joints stay where they are, whatever they are told.
        sags: by which the joints stand beside where they are told to be [rad], as a real arm's do.
        drifts: speed [rad/s] of the first joint beside what it is told, such as a brake that slips has.
        position: of the joints ``(7,)`` [rad].
        velocity: ``(7,)`` [rad/s].
    """

    timestep = 0.005  # as a simulated robot turns: it tells of its joints at 200 Hz
    cameras: tuple[str, ...] = ()

    def __init__(self, env_spec: EnvSpec, chain: Chain, home: tuple[float, ...]) -> None:
        self.env_spec, self._chain, self._home = env_spec, chain, np.array(home)
        self.blocked, self.drifts, self.sags, self._seed = False, 0.0, 0.0, 0
        self.reset(0)

    def reset(self, seed: int, level: str | None = None) -> None:
        """Stand at home."""
        self._seed = seed
        self.position, self.velocity = self._home.copy(), np.zeros(len(self._home))
        self._joints = self.position.copy()
        self._pose: tuple[Array, Array] | None = None
        self._width, self._drift = 0.08, np.zeros(len(self._home))

    def use(self, servo: Literal["pose", "joints"]) -> None:
        """Both work at any time."""

    def command_pose(self, position: Array, quaternion: Array) -> None:
        """Set the tool's equilibrium."""
        self._pose = position, matrix_from_quaternion(quaternion)

    def command_joints(self, position: Array, velocity: Array) -> None:
        """Set where the joints are."""
        self._joints, self._pose = position.copy(), None

    def command_fingers(self, width: float) -> None:
        """The fingers are there at once."""
        self._width = min(max(width, 0.0), 0.08)

    def hold(self) -> None:
        """Stay."""
        self._joints, self._pose = self.position.copy(), None

    def step(self) -> None:
        """Let 5 ms pass."""
        goal = self._joints if self._pose is None else self._drawn(*self._pose)
        if self.blocked:
            goal = self.position
        self._drift[0] += self.drifts * self.timestep
        goal = goal + self._drift + (0.0 if self.blocked else self.sags)
        self.velocity = (goal - self.position) / self.timestep
        self.position = goal.copy()

    def _drawn(self, position: Array, rotation: Array) -> Array:
        """Where a spring has the joints a step later."""
        tool, facing, jacobian = self._chain.forward_jacobian(self.position)
        twist = np.concatenate([(position - tool) * RATES[0], rotvec_between(rotation, facing) * RATES[1]])
        moved: Array = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), twist)
        goal: Array = self.position + moved * self.timestep
        return goal

    def state(self) -> RobotState:
        """Where everything is."""
        position, rotation = self._chain.forward(self.position)
        parts = np.tile([0.5, 0.0, 0.02, 1.0, 0.0, 0.0, 0.0], (PARTS, 1))
        fingers, still = np.full(2, self._width / 2), np.zeros(2)
        quaternion = quaternion_from_matrix(rotation)
        return RobotState(self.position.copy(), self.velocity.copy(), np.zeros(7), fingers, still, position, quaternion, np.zeros(6), parts)

    def verdict(self) -> RobotVerdict:
        """Nothing is ever reached."""
        return RobotVerdict(self._seed, "low", 0, {"success": False}, False, "")

    def scene(self) -> Any:
        """Nothing to draw."""

    def draw(self, scene: Any, camera: str) -> NDArray[np.uint8]:
        """Grey."""
        return np.full((32, 32, 3), 128, np.uint8)

    def close(self) -> None:
        """Nothing to free."""
