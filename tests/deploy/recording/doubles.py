"""What the recorder's tests record: a toy spec, episodes drawn from a seed, ROS messages."""

from __future__ import annotations

from typing import Any

import numpy as np

from robolearn.deploy.messages import Messages
from robolearn.deploy.transport.base import Received
from robolearn.episode import Episode
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec

SPEC = EnvSpec(
    "toy",
    {"joints": ArraySpec((7,)), "front": ArraySpec((8, 6, 3), "uint8")},
    ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0)),
    10.0,
)


MESSAGES = Messages()
definition = MESSAGES.definition


def joint_state(number: int) -> Received:
    """A message of which each number gives another."""
    header = MESSAGES.new("std_msgs/msg/Header", stamp=MESSAGES.new("builtin_interfaces/msg/Time", sec=number, nanosec=5), frame_id="base")
    message = MESSAGES.new("sensor_msgs/msg/JointState", header=header, name=["a", "b"], position=np.array([number, 0.5]))
    return Received("/joint_states", "sensor_msgs/msg/JointState", message, MESSAGES.encode(message), 1_000_000 + number)


def blob(topic: str, number: int, size: int) -> Received:
    """A message of ``size`` bytes that nobody decodes; noise, so that nothing compresses it."""
    raw = b"\0\1\0\0" + np.random.default_rng(number).bytes(size - 4)
    return Received(topic, "std_msgs/msg/String", None, raw, 1_000_000 + number)


def episode(number: int, steps: int = 12) -> Episode:
    """Drawn from its number."""
    rng = np.random.default_rng(number)
    return Episode(
        {"joints": rng.normal(size=(steps, 7)).astype(np.float32), "front": rng.integers(0, 255, (steps, 8, 6, 3), np.uint8)},
        rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        np.zeros(steps, np.float32),
        terminated=number % 2 == 0,
        truncated=number % 2 == 1,
        success=number % 2 == 0,
        extras={"intervention": rng.random(steps) < 0.4},
    )


def play(recorder: Any, made: Episode, steps: int | None = None) -> None:
    """Hand an episode over, step by step."""
    for step in range(len(made) if steps is None else steps):
        observation = {name: values[step] for name, values in made.observations.items()}
        recorder.step(observation, made.actions[step], float(made.rewards[step]), bool(made.extras["intervention"][step]))


def record(recorder: Any, number: int) -> Episode:
    """Record the episode of a number, from begin to finish."""
    made = episode(number)
    recorder.begin("rollout", seed=number)
    play(recorder, made)
    recorder.finish(made.success, made.terminated, f"note {number}", truncated=made.truncated)
    return made


def assert_same(read: Episode, made: Episode) -> None:
    for name, values in made.observations.items():
        np.testing.assert_array_equal(read.observations[name], values)
    np.testing.assert_array_equal(read.actions, made.actions)
    np.testing.assert_array_equal(read.rewards, made.rewards)
    np.testing.assert_array_equal(read.extras["intervention"], made.extras["intervention"])
    assert (read.success, read.terminated, read.truncated) == (made.success, made.terminated, made.truncated)
