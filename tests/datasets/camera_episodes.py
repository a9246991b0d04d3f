"""Episodes of two cameras of 240 x 320, each determined by its number, as a robot would record them."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from robolearn.bench.pictures import MovingScene
from robolearn.bench.recording import CAMERAS, HEIGHT, STATE, WIDTH, camera_spec
from robolearn.episode import Episode

SPEC = camera_spec()


@functools.cache
def scene(seed: int) -> MovingScene:
    return MovingScene(HEIGHT, WIDTH, seed)


def length_of(number: int) -> int:
    """Steps of episode ``number``: 0.3 to 3.7 s at 30 Hz."""
    return int(np.random.default_rng([3, number]).integers(10, 110))


def camera_steps(number: int) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Observation and action of each step of episode ``number``; the recorder tells the time."""
    rng = np.random.default_rng([4, number])
    for step in range(length_of(number)):
        pictures = {name: scene(seed).picture(97 * number + step) for seed, name in enumerate(CAMERAS)}
        yield {**pictures, "state": rng.standard_normal(STATE).astype(np.float32)}, rng.uniform(-1, 1, 10).astype(np.float32)


def assert_is(episode: Episode, number: int) -> None:
    """Whether it is episode ``number``: numbers to the bit, pictures as close as JPEG keeps them."""
    steps = list(camera_steps(number))
    assert len(episode) == len(steps)
    assert (episode.actions == np.stack([action for _, action in steps])).all()
    assert (episode.observations["state"] == np.stack([seen["state"] for seen, _ in steps])).all()
    assert (np.diff(episode.observations["timestamp"]) > 0).all()
    for name in CAMERAS:
        sent = np.stack([seen[name] for seen, _ in steps])
        assert np.abs(episode.observations[name].astype(np.int16) - sent).mean((1, 2, 3)).max() < 3
