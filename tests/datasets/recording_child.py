"""What the crash tests of the recorder run in a process of its own; importing it draws the scenes, once for all children."""

from __future__ import annotations

import contextlib
import time
from multiprocessing.connection import Connection
from pathlib import Path

from robolearn.datasets.codecs import Jpeg
from robolearn.datasets.layout import StoreError
from robolearn.datasets.recorder import Recorder
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError
from tests.datasets.camera_episodes import CAMERAS, camera_steps, scene

for _seed, _ in enumerate(CAMERAS):
    with contextlib.suppress(UserError):  # where imagecodecs is missing, the tests are skipped
        Jpeg().encode_picture(scene(_seed).picture(0))


def record_forever(path: Path, hz: float, replies: Connection) -> None:
    """Records camera episodes in a loop of ``hz`` steps a second; says how many are committed after each."""
    with DemoStore.open(path, "a") as store, Recorder(store) as recorder:
        begin, step = time.monotonic(), 0
        while True:
            number = store.num_episodes
            replies.send(number)
            recorder.begin("expert", seed=number)
            for observation, action in camera_steps(number):
                step += 1
                time.sleep(max(0.0, begin + step / hz - time.monotonic()))
                recorder.add(observation, action)
            recorder.end(success=number % 2 == 0, truncated=number % 2 == 1)


def record_until_full(path: Path, replies: Connection) -> None:
    """The same as fast as it goes, until the disk is full."""
    with DemoStore.open(path, "a") as store, Recorder(store) as recorder:
        try:
            while True:
                recorder.begin("expert", seed=store.num_episodes)
                for observation, action in camera_steps(store.num_episodes):
                    recorder.add(observation, action)
                recorder.end(success=True)
        except StoreError as error:
            replies.send((store.num_episodes, str(error)))
