"""Small episodes, each determined by its number, so that any process can tell what a store should hold."""

from __future__ import annotations

import numpy as np

from robolearn.episode import Episode
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec

SPEC = EnvSpec(
    task="toy",
    observation={"joints": ArraySpec((3,), units="rad")},
    action=ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0)),
    control_hz=10.0,
    stages=("near", "done"),
)


def make_episode(number: int, *, spec: EnvSpec = SPEC, steps: int | None = None, state_size: int = 0) -> Episode:
    """Episode ``number``: random content drawn from the number alone."""
    rng = np.random.default_rng([77, number])
    length = steps or int(rng.integers(3, 25))
    success = bool(rng.random() < 0.5)
    return Episode(
        observations={name: random_array(rng, (length, *entry.shape), entry.dtype) for name, entry in spec.observation.items()},
        actions=rng.uniform(-1, 1, (length, spec.action.size)).astype(spec.action.dtype),
        rewards=rng.standard_normal(length).astype(spec.reward_dtype),
        terminated=success,
        truncated=not success,
        success=success,
        sim_state=rng.standard_normal((length, state_size)) if state_size else None,
        provenance={"source": "expert", "seed": number, "note": f"épisode {number}"},
        extras={name: random_array(rng, (length, *entry.shape), entry.dtype) for name, entry in spec.extras.items()},
    )


def random_array(rng: np.random.Generator, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    if np.dtype(dtype).kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 256, shape).astype(dtype)


def assert_same(got: Episode, expected: Episode) -> None:
    """Equal to the bit, provenance included."""
    assert dict(got.provenance) == dict(expected.provenance)
    assert (got.terminated, got.truncated, got.success) == (expected.terminated, expected.truncated, expected.success)
    assert got.observations.keys() == expected.observations.keys()
    pairs = [(got.observations[name], expected.observations[name]) for name in expected.observations]
    assert got.extras.keys() == expected.extras.keys()
    pairs += [(got.extras[name], expected.extras[name]) for name in expected.extras]
    pairs += [(got.actions, expected.actions), (got.rewards, expected.rewards)]
    assert (got.sim_state is None) == (expected.sim_state is None)
    if expected.sim_state is not None:
        pairs.append((got.sim_state, expected.sim_state))
    for mine, theirs in pairs:
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
