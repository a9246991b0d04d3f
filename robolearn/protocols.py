"""The contracts between rooms: environments, policies, chunk samplers, critics, simulated robots."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from robolearn.normalize import Normalizer
from robolearn.spec import EnvSpec

Observation = Mapping[str, NDArray[Any]]


@runtime_checkable
class Environment(Protocol):
    """N worlds stepped together: what learning asks of a ``gymnasium.vector.VectorEnv``.

    ``info`` of ``step`` holds ``stages (N, S) bool`` (reached so far in the episode, in the order of ``env_spec.stages``;
    of the last of them, success, whether it holds now) and ``success (N,) bool``, that last stage. Success ends an
    episode; who goes on beyond its end remembers success himself, as ``rollout`` does. Where the autoreset mode is
    SAME_STEP and a row ended there is ``final_obs`` (``{name: (N, ...)}``) with ``_final_obs (N,) bool`` saying which
    rows of it count; where a row is over without a result, ``lost (N,) bool`` and ``reason (N,) str``. What an ended row
    shows, there or where rows are not restarted, is its last sound observation: the one before where physics diverged.
    """

    env_spec: EnvSpec
    num_envs: int
    max_episode_steps: int

    def reset(self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Start episodes: ``seed`` one per row, ``options={"reset_mask": (N,) bool}`` for some rows only."""
        ...

    def step(self, actions: NDArray[Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Apply ``(N, A)``; returns observation, reward (N,), terminated (N,), truncated (N,), info.

        A row whose action is not finite is truncated and lost; the others are unharmed.

        Raises:
            UserError: actions of another shape.
        """
        ...

    def get_state(self) -> NDArray[np.float64]:
        """Exact simulator and task state of every row, ``(N, S)``."""
        ...

    def set_state(self, state: NDArray[np.float64], rows: NDArray[np.bool_] | None = None) -> None:
        """Restore rows to the bit: ``(N, S)``, of which ``rows (N,) bool`` are used.

        Raises:
            UserError: states of another world, or not finite.
        """
        ...

    def close(self) -> None:
        """Release threads and renderers."""
        ...


@runtime_checkable
class Policy(Protocol):
    """Something that acts in N rows at once, each with its own episode."""

    env_spec: EnvSpec

    def reset(self, rows: NDArray[np.bool_], seeds: NDArray[np.int64]) -> None:
        """Forget the episodes of ``rows (N,)``; ``seeds (N,)`` address the policy's noise in the new ones."""
        ...

    def act(self, observation: Observation) -> NDArray[np.float32]:
        """``{name: (N, ...)} -> (N, A)`` in environment units."""
        ...


@runtime_checkable
class ChunkSampler(Protocol):
    """A policy's stateless core: draws action chunks."""

    env_spec: EnvSpec
    normalizer: Normalizer
    observation_keys: tuple[str, ...]
    observation_horizon: int
    prediction_horizon: int

    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """Draw K chunks a row: ``{name: (B, To, ...)} -> (B, K, Tp, A)`` in environment units.

        ``seeds (B,)`` and ``decisions (B,)`` (how many chunks the episode has drawn) address the noise;
        candidate 0 is what ``candidates=1`` would draw.
        """
        ...


@runtime_checkable
class Critic(Protocol):
    """Judges chunks that will be executed."""

    env_spec: EnvSpec
    action_horizon: int

    def score(self, observation: Observation, chunks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Value of each chunk by each ensemble member: ``{name: (B, ...)}, (B, K, h, A) -> (E, B, K)``."""
        ...


@runtime_checkable
class ChunkedActing(Policy, Protocol):
    """A policy that executes the first ``action_horizon`` actions of each chunk that ``sampler`` draws."""

    sampler: ChunkSampler
    action_horizon: int


@runtime_checkable
class RefinedActing(Policy, Protocol):
    """A policy that adds a residual to what ``base`` does, ``strength`` times as much as was trained.

    ``refine_keys`` are the observations that the residual reads.
    """

    base: ChunkedActing
    strength: float
    refine_keys: tuple[str, ...]

    def refine(self, observation: Observation, base_action: NDArray[np.float32], phase: NDArray[np.int64]) -> NDArray[np.float32]:
        """``{name: (N, ...)}``, the base's action ``(N, A)`` and how many actions of its chunk came before ``(N,)`` -> ``(N, A)``."""
        ...


@runtime_checkable
class Steering(ChunkSampler, Protocol):
    """A chunk sampler that picks among ``candidates`` draws of another by a critic; ``strength`` 0 is the other."""

    candidates: int
    strength: float

    def wrap_critic(self, wrap: Callable[[Critic], Critic]) -> None:
        """Have ``wrap(critic)`` score from now on."""
        ...

    def reset_statistics(self) -> None:
        """Forget what :attr:`statistics` has seen."""
        ...

    @property
    def statistics(self) -> dict[str, float]:
        """Means over the decisions so far, among them ``abstained`` (share that kept the first draw) and ``gain``."""
        ...


class StatePictures(Protocol):
    """Draws stored simulator states of a task; bound to the thread that made it."""

    cameras: tuple[str, ...]

    def draw(self, state: NDArray[np.float64], camera: str) -> NDArray[np.uint8]:
        """One state ``(S,)`` as RGB, ``(H, W, 3)``."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True)
class RobotState:
    """What a simulated robot and its world are like at one instant; poses in the base frame, quaternions wxyz.

    Args:
        position: of the joints, ``(7,)`` [rad].
        velocity: of the joints, ``(7,)`` [rad/s].
        effort: of the joints' motors, gravity apart, ``(7,)`` [Nm].
        fingers: way of each from the middle, ``(2,)`` [m].
        finger_velocity: ``(2,)`` [m/s].
        tool_position: of the tool centre point, ``(3,)`` [m].
        tool_quaternion: ``(4,)``.
        tool_twist: ``(6,)`` [m/s, rad/s].
        parts: position and quaternion of each part and fixture, in the order of ``parts_poses``, ``(P, 7)``.
    """

    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    effort: NDArray[np.float64]
    fingers: NDArray[np.float64]
    finger_velocity: NDArray[np.float64]
    tool_position: NDArray[np.float64]
    tool_quaternion: NDArray[np.float64]
    tool_twist: NDArray[np.float64]
    parts: NDArray[np.float64]


@dataclass(frozen=True)
class RobotVerdict:
    """How a simulated robot's episode goes.

    Args:
        seed: of its start.
        level: of its randomness.
        steps: control steps that have passed.
        stages: which have been reached, by name; the last of them, success, says whether it holds now.
        success: whether it held at some time.
        lost: why the episode is over without a result, or nothing.
    """

    seed: int
    level: str
    steps: int
    stages: Mapping[str, bool]
    success: bool
    lost: str


class RobotWorld(Protocol):
    """One arm in the world of a task, stepped at the rate of its physics: what a simulated robot's drivers command and read.

    The arm follows a pose of its tool (``pose``) or set points of its joints (``joints``), and holds where it is until it is
    commanded. The task is judged once a control step of ``env_spec``, counted from the reset.
    """

    env_spec: EnvSpec
    timestep: float
    cameras: tuple[str, ...]

    def reset(self, seed: int, level: str | None = None) -> None:
        """Begin the episode of a seed, at another level of randomness if one is given.

        Raises:
            UserError: no such level or seed.
        """
        ...

    def use(self, servo: Literal["pose", "joints"]) -> None:
        """Let the arm follow poses, or joints, from now on; it holds where it is."""
        ...

    def command_pose(self, position: NDArray[np.float64], quaternion: NDArray[np.float64]) -> None:
        """Set the tool's equilibrium: ``(3,)`` [m], ``(4,)`` wxyz, in the base frame."""
        ...

    def command_joints(self, position: NDArray[np.float64], velocity: NDArray[np.float64]) -> None:
        """Set the joints' set points and their velocities: ``(7,)`` [rad], ``(7,)`` [rad/s]."""
        ...

    def command_fingers(self, width: float) -> None:
        """Set how far apart the fingers should be [m], as far as they go."""
        ...

    def hold(self) -> None:
        """Brake: stay where the arm is now."""
        ...

    def step(self) -> None:
        """Let ``timestep`` pass."""
        ...

    def state(self) -> RobotState:
        """Where everything is; copies."""
        ...

    def verdict(self) -> RobotVerdict:
        """How the episode goes."""
        ...

    def scene(self) -> Any:
        """What :meth:`draw` needs to know of this instant; a copy."""
        ...

    def draw(self, scene: Any, camera: str) -> NDArray[np.uint8]:
        """A picture of a scene, ``(H, W, 3)``; always from the same thread."""
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...
