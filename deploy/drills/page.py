"""An operator's page for drills: the browser's device without viser or a network; a hand drags its handle to and fro."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.browser import BrowserDevice
from robolearn.deploy.teleop.device import OperatorInput
from robolearn.deploy.teleop.pulse import Pulse
from robolearn.deploy.teleop.steering import Pose

SWEEP, PERIOD = 0.12, 3.0  # [m] to each side, [s] there and back
HEARTBEAT = 0.5  # [s]


class PlayedDevice(BrowserDevice):
    """The browser's device behind its server: what reaches it from a page comes from a :class:`Page`.

    Args:
        clock: [ns].

    Attributes:
        fails: words of an error in place of every answer; none if empty.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        super().__init__(heartbeat=HEARTBEAT, announce=False)
        self.pulse = self._pulse = Pulse(HEARTBEAT, clock)
        self.handle = self._handle = SimpleNamespace(position=np.zeros(3), wxyz=np.array([1.0, 0.0, 0.0, 0.0]))
        self._panel: Any = SimpleNamespace(show=lambda *_, **__: None, draw=lambda *_: None)
        self.fails = ""

    @property
    def plays(self) -> bool:
        """Whether what is shown is an episode that goes on."""
        return self._status.phase == "recording" and not self._status.paused

    @property
    def held(self) -> bool:
        """Whether the handle is dragged, as far as the device knows."""
        return self._gizmo.held

    def open(self) -> None:
        """Nothing is served."""

    def poll(self, now_ns: int, tool: Pose) -> OperatorInput:
        """As a browser's device, or broken."""
        if self.fails:
            raise OSError(self.fails)
        return super().poll(now_ns, tool)

    def press(self, word: str, client: int) -> None:
        """A button of a page."""
        self._pressed(word, client)

    def drag(self, phase: str, position: NDArray[np.float64], client: int) -> None:
        """A drag's begin (``start``), way (``update``) or ``end``."""
        target = SimpleNamespace(position=position, wxyz=self.handle.wxyz)
        with contextlib.suppress(StopIteration):  # it waits for nothing
            self._dragged(SimpleNamespace(client_id=client, phase=phase, target=target)).send(None)

    def leave(self, client: int) -> None:
        """A page is gone, and has said so."""
        self._left(SimpleNamespace(client_id=client))


class Page:
    """One open tab, and who drags the handle in it; :meth:`act` is called every tick.

    Args:
        clock: [ns].
        grabs: the handle is grabbed and dragged to and fro, as soon as an episode is recorded.

    Attributes:
        answers: the page does: a tab that hangs, or a network that is gone, does not.
    """

    def __init__(self, clock: Callable[[], int], grabs: bool = True) -> None:
        self.device, self._clock = PlayedDevice(clock), clock
        self.answers, self._grabs, self._client = True, grabs, 1
        self._begun: tuple[int, NDArray[Any]] | None = None
        self.device.pulse.came(self._client)

    def act(self) -> None:
        """Answer, and drag on."""
        if not self.answers:
            return
        self.device.pulse.heard(self._client, drives=False)
        if self._grabs and self.device.plays and not self.device.held:
            self._grab()
        if self._begun is not None:
            since, start = self._begun
            aside = SWEEP * np.sin(2 * np.pi * (self._clock() - since) * 1e-9 / PERIOD)
            self.device.drag("update", start + np.array([0.0, aside, 0.0]), self._client)

    def press(self, *words: str) -> None:
        """Press buttons."""
        for word in words:
            self.device.press(word, self._client)

    def close(self) -> None:
        """Close the tab in mid-drag."""
        self.answers, self._begun = False, None
        self.device.leave(self._client)

    def reopen(self) -> None:
        """Open the page again."""
        self._client += 1
        self.device.pulse.came(self._client)
        self.answers, self._begun = True, None

    def _grab(self) -> None:
        """Begin to drag the handle from where it is."""
        start = self.device.handle.position.copy()
        self.device.drag("start", start, self._client)
        self._begun = self._clock(), start
