"""Pictures of stored simulator states, drawn in the one thread that holds the graphics context."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.datasets.layout import StoreError
from robolearn.errors import UserError


class Drawing:
    """Draws states as they are asked for, one after the other.

    Args:
        make: makes what draws (see :class:`robolearn.protocols.StatePictures`); called in the drawing thread, at once, so that it
            is ready when the page is.
        sample: a state, drawn to see whether this machine draws any.
    """

    def __init__(self, make: Callable[[], Any], sample: NDArray[np.float64]) -> None:
        self._thread = ThreadPoolExecutor(1, "drawing")
        self._pictures: Any = None
        self._ready: Future[str] = self._thread.submit(self._begin, make, sample)

    def _begin(self, make: Callable[[], Any], sample: NDArray[np.float64]) -> str:
        """Empty when pictures are drawn, else why not."""
        try:
            pictures = make()
            pictures.draw(sample, pictures.cameras[0])
        except UserError as error:
            return str(error)
        except Exception as error:  # OpenGL bindings raise whatever they like
            return " ".join(f"{type(error).__name__}: {error}".split())[:200]
        self._pictures = pictures
        return ""

    def why_not(self) -> str:
        """Empty when pictures are drawn, else why not; waits until that is known."""
        return self._ready.result()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras, none where nothing is drawn."""
        return () if self.why_not() else tuple(self._pictures.cameras)

    def draw(self, state: NDArray[np.float64], camera: str) -> NDArray[np.uint8]:
        """One state as RGB, ``(H, W, 3)``.

        Raises:
            StoreError: this machine draws nothing.
            UserError: no such camera, or a state of another scene.
        """
        if self.why_not():
            raise StoreError(self.why_not())
        try:
            drawn = self._thread.submit(self._pictures.draw, state, camera)
        except RuntimeError as error:
            raise StoreError("robolearn is stopping") from error
        picture: NDArray[np.uint8] = drawn.result()
        return picture

    def close(self) -> None:
        """Free the context, in its thread."""
        self._thread.submit(lambda: self._pictures.close() if self._pictures is not None else None)
        self._thread.shutdown(wait=True, cancel_futures=False)
