"""What the crash tests run in a process of its own: it appends episodes and says so after each, until it is killed."""

from __future__ import annotations

import resource
from multiprocessing.connection import Connection
from pathlib import Path

from robolearn.datasets.layout import StoreError
from robolearn.datasets.store import DemoStore
from tests.datasets.episodes import make_episode


def append_forever(path: Path, replies: Connection) -> None:
    with DemoStore.open(path, "a") as store:
        while True:
            replies.send(store.num_episodes)
            store.append(make_episode(store.num_episodes))


def append_until_full(path: Path, limit: int, replies: Connection) -> None:
    """Files cannot grow beyond ``limit`` bytes: a disk that fills up in the middle of a write."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    with DemoStore.open(path, "a") as store:
        try:
            while True:
                store.append(make_episode(store.num_episodes))
        except StoreError as error:
            replies.send((store.num_episodes, str(error)))


def hold_lock(path: Path, replies: Connection) -> None:
    store = DemoStore.open(path, "a")
    replies.send(store.num_episodes)
    replies.recv()
