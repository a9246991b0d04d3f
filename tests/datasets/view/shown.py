"""A store with a camera and simulator states, and its page while it is served."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading

import numpy as np

from robolearn.datasets.store import DemoStore
from robolearn.datasets.view.main import serving
from robolearn.errors import UserError
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode

HEIGHT, WIDTH = 24, 32
COUNT = 12
WITHOUT_STATES = 9
CAMERA_SPEC = dataclasses.replace(SPEC, observation={**SPEC.observation, "front": ArraySpec((HEIGHT, WIDTH, 3), "uint8")})
FAKE = {"_target_": "tests.datasets.view.shown.FakePictures", "width": WIDTH, "height": HEIGHT}


class FakePictures:
    """Draws a state as a grey picture of its first number, another grey for each camera."""

    cameras = ("above", "beside")

    def __init__(self, width: int, height: int, broken: bool = False) -> None:
        if broken:
            raise UserError("this machine draws no pictures: install libegl1")
        self._size, self._thread = (height, width, 3), threading.get_ident()

    def draw(self, state, camera):
        assert threading.get_ident() == self._thread, "a graphics context belongs to one thread"
        return np.full(self._size, int(state[0]) + 100 * self.cameras.index(camera), np.uint8)

    def close(self):
        assert threading.get_ident() == self._thread


def shade(number, step):
    """What the stored camera shows at a step: a grey."""
    return (40 * number + 9 * step) % 256


def make_store(path, numbers=range(COUNT)):
    with DemoStore.create(path, CAMERA_SPEC) as store:
        episodes = []
        for number in numbers:
            episode = make_episode(number, spec=CAMERA_SPEC, steps=10 + number)
            shades = np.array([shade(number, step) for step in range(len(episode))], np.uint8)
            pictures = np.broadcast_to(shades[:, None, None, None], (len(episode), HEIGHT, WIDTH, 3)).copy()
            states = np.arange(len(episode), dtype=np.float64)[:, None] if number != WITHOUT_STATES else None
            observations = {**episode.observations, "front": pictures}
            episodes.append(dataclasses.replace(episode, observations=observations, sim_state=states))
        store.extend(episodes)
    return DemoStore.open(path)


def bytes_of(path):
    """A digest of every file of a store, by name."""
    return {file.relative_to(path): hashlib.sha256(file.read_bytes()).hexdigest() for file in sorted(path.rglob("*")) if file.is_file()}


@contextlib.contextmanager
def served(store, folder, pictures=FAKE):
    """The page's :class:`Viewer`, answering."""
    with serving(store, folder, dict(pictures)) as viewer:
        thread = threading.Thread(target=viewer.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield viewer
        finally:
            viewer.server.shutdown()
            thread.join()
