"""Cameras: messages are kept as they come, and turned into pictures by a thread of their own, never by a tick."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.sensors.feeds import Feed, SensorError
from robolearn.deploy.sensors.pictures import Picture, picture_of, same_bytes
from robolearn.deploy.sensors.readings import Refused
from robolearn.deploy.sensors.sources import CameraSource
from robolearn.deploy.sensors.timeline import NANO
from robolearn.deploy.transport.base import Received

_KEPT = 64  # pictures: two seconds at 30 Hz


class CameraFeed(Feed):
    """One camera.

    Args:
        name: of the camera.
        source: what it is.
        darkroom: decodes its pictures.
    """

    source: CameraSource

    def __init__(self, name: str, source: CameraSource, darkroom: Darkroom) -> None:
        super().__init__(name, source)
        self._darkroom = darkroom
        self._pictures: deque[tuple[int, Picture]] = deque(maxlen=_KEPT)
        self._waiting: tuple[int, Any] | None = None  # time and message of the newest picture that is not decoded yet
        self._bytes: NDArray[np.uint8] | None = None  # of the newest message
        self._changed = 0  # when these were new [ns]

    def picture(self, time: int) -> Picture:
        """The newest picture not taken after ``time`` [ns], or the oldest there is, read-only and not copied.

        Raises:
            SensorError: there is none yet.
        """
        with self._lock:
            if not self._pictures:
                raise SensorError(f"camera {self.name!r} has not given a picture yet on {self.source.topic}")
            for stamp, picture in reversed(self._pictures):
                if stamp <= time:
                    return picture
            return self._pictures[0][1]

    def develop(self) -> None:
        """Decode what waits."""
        with self._lock:
            waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        stamp, message = waiting
        try:
            picture = picture_of(message, self.source)
        except Refused as refused:
            words = str(refused)
        except Exception as error:  # whatever a strange message does to the decoder must not end the thread
            words = f"{type(error).__name__}: {error}"[:200]
        else:
            with self._lock:
                if not self._pictures or stamp > self._pictures[-1][0]:
                    self._pictures.append((stamp, picture))
                self._refused = None
            return
        with self._lock:
            self._refuse("malformed", words)

    def _take(self, received: Received) -> bool | None:
        data = np.asarray(received.message.data, np.uint8).reshape(-1)
        measured = self._measured(received)
        if measured is None:
            return False
        if self._bytes is None or not same_bytes(self._bytes, data):
            self._changed = measured
        self._bytes = data
        self._counts["skipped"] += self._waiting is not None
        self._waiting = (measured, received.message)
        self._darkroom.ring()
        return True

    def _kept(self) -> int | None:
        return self._pictures[-1][0] if self._pictures else None

    def _frozen(self) -> str:
        newest, limit = self._timeline.newest, self.source.frozen_after
        if newest is None or limit is None or (newest - self._changed) / NANO <= limit:
            return ""
        still = (newest - self._changed) / NANO
        return f"its pictures on {self.source.topic} have been the same to the byte for {still:.1f} s; {limit:g} s are allowed"

    def _forget(self) -> None:
        last = [(0, picture) for _, picture in list(self._pictures)[-1:]]  # of no time: stale, but there is something to see
        self._pictures = deque(last, maxlen=_KEPT)
        self._waiting, self._bytes = None, None


class Darkroom:
    """The thread that decodes the pictures of all cameras."""

    def __init__(self) -> None:
        self._feeds: list[CameraFeed] = []
        self._changed = threading.Condition()
        self._due = self._closed = self._busy = False
        self._thread: threading.Thread | None = None

    def add(self, feed: CameraFeed) -> None:
        """Decode this camera's pictures too; the first one starts the thread."""
        self._feeds.append(feed)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="darkroom", daemon=True)
            self._thread.start()

    def ring(self) -> None:
        """Say that there is something to do."""
        with self._changed:
            self._due = True
            self._changed.notify_all()

    def settle(self, timeout: float = 5.0) -> bool:
        """Wait until all that came is decoded, at most ``timeout`` [s]; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._due or self._busy), timeout)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._due or self._closed)
                if self._closed:
                    return
                self._due, self._busy = False, True
            for feed in self._feeds:
                feed.develop()
