"""The browser as an operator's device: a page with the scene, a handle to drag the tool by, buttons, counters and pictures."""

from __future__ import annotations

import contextlib
import io
import queue
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.teleop.browser_panel import Panel
from robolearn.deploy.teleop.device import OperatorInput, Scene
from robolearn.deploy.teleop.gizmo import Gizmo
from robolearn.deploy.teleop.guarded import LOOPBACK, open_server
from robolearn.deploy.teleop.pulse import Pulse
from robolearn.deploy.teleop.steering import Follower, Limits, Pose
from robolearn.errors import UserError, check_positive
from robolearn.learning.session import Status
from robolearn.rotation import matrix_from_quaternion, quaternion_from_matrix

_CAMERA = ((0.95, 0.36, 0.46), (0.42, -0.03, 0.07))  # where a page first looks from, and at [m]


class BrowserDevice:
    """Serves a page on which the tool is dragged by a handle.

    What a page sends is only ever a wish: targets go through speed limits and stay near the tool, and a page that does not answer
    for ``heartbeat`` seconds (the tab was closed, the browser hangs) is nobody: the target is the tool's own pose.

    Args:
        host: 127.0.0.1: this machine's browsers only. Another lets in whoever reaches it: the page knows no password.
        port: the next free one where it is taken; 0: any.
        heartbeat: silence of the page after which nothing moves [s].
        limits: of targets; the defaults of :class:`Limits` unless given.
        fine: share of the handle's way that the tool goes while "fine" is on.
        pictures_hz: how often cameras' pictures are sent.
        emergency: a button (and Escape) for the emergency stop, as a robot needs and a simulation does not.
        announce: say on stderr where the page is.
        scene: what is drawn around the handle.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8080,
        *,
        heartbeat: float = 0.5,
        limits: Mapping[str, float] | None = None,
        fine: float = 0.2,
        pictures_hz: float = 5.0,
        emergency: bool = False,
        announce: bool = True,
        scene: Scene | None = None,
    ) -> None:
        if not 0 <= port <= 65535:
            raise UserError(f"devices.browser.port is from 0 (any) to 65535, got {port}")
        check_positive(heartbeat=heartbeat, pictures_hz=pictures_hz)
        self.host, self.port, self.scene = host, port, scene
        self._heartbeat_ns = int(heartbeat * 1e9)
        self._gizmo, self._follower, self._pulse = Gizmo(fine), Follower(Limits(**(limits or {}))), Pulse(heartbeat)
        self._events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._picture_period = 1.0 / pictures_hz
        self._emergency, self._announce = emergency, announce
        self._status, self._gripper, self._shown_at = Status(), -1.0, 0.0
        self._server: Any = None
        self._handle: Any = None
        self._panel: Panel | None = None
        self._placed: NDArray[np.float64] | None = None

    @property
    def address(self) -> str:
        """Where the page is."""
        return f"http://{self.host}:{self.port}"

    def open(self) -> None:
        """Serve the page.

        Raises:
            UserError: viser is not installed, or the host is none of this machine's.
        """
        self._server = open_server(self.host, self.port, "robolearn")
        self.port = self._server.get_port()
        if self.scene is not None:
            self.scene.attach(self._server)
        camera = self._server.initial_camera
        camera.position, camera.look_at = (self._page_from_base(np.array(point), np.eye(3))[0] for point in _CAMERA)
        camera.fov = 0.65
        self._handle = self._server.scene.add_transform_controls("/target", scale=110.0, fixed=True, line_width=4.0, depth_test=False)
        self._handle.on_update(self._dragged)
        self._panel = Panel(self._server, self._pressed, emergency=self._emergency)
        self._server.on_client_connect(self._pulse.watch)
        self._server.on_client_disconnect(self._left)
        if self._announce:
            where = "" if self.host in LOOPBACK else "; whoever reaches this address can move the robot"
            print(f"the operator's page is at {self.address}{where}", file=sys.stderr, flush=True)

    def poll(self, now_ns: int, tool: Pose) -> OperatorInput:
        """See :class:`robolearn.deploy.teleop.device.Device`; ``now_ns`` is :func:`time.monotonic_ns`."""
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        last = self._pulse.last()
        active = last > 0 and now_ns - last <= self._heartbeat_ns
        following = not active or bool(self._status.paused) or self._status.phase == "ended" or self._status.actor == "policy"
        wanted = self._gizmo.wanted(tool, following)
        wanted[9] = tool[9] if following else self._gripper
        target = self._follower.rest(now_ns, wanted) if following else self._follower.follow(wanted, now_ns, tool)
        self._place()
        return OperatorInput(target.copy(), active, tuple(events), last)

    def show(self, status: Status, pictures: Mapping[str, NDArray[np.uint8]]) -> None:
        """See :class:`robolearn.deploy.teleop.device.Device`."""
        assert self._panel is not None
        if status.jumps != self._status.jumps:
            self._gizmo.forget()
            self._gripper = status.gripper
        if status.actor == "policy":
            self._gripper = status.gripper
        self._status = status
        self._panel.show(status, closed=self._gripper > 0)
        now = time.monotonic()
        if pictures and now - self._shown_at >= self._picture_period:
            self._shown_at = now
            self._panel.draw(pictures)

    def close(self) -> None:
        """Stop serving."""
        self._pulse.close()
        if self._server is not None:
            with contextlib.redirect_stdout(io.StringIO()):  # viser says so; stdout is a machine's
                self._server.stop()
            self._server = None

    # -- what the page does, in viser's thread -----------------------------------------------------------------------

    async def _dragged(self, event: Any) -> None:
        """A drag's begin, way and end; a coroutine, since viser keeps the order of these only."""
        self._pulse.heard(event.client_id)
        if event.phase == "start":
            self._gizmo.grab()
            if self._status.actor == "policy" and self._status.phase == "recording":
                self._events.put("takeover")
        elif event.phase == "end":
            self._gizmo.drop()
        else:
            position, rotation = self._base_from_page(event.target.position, matrix_from_quaternion(event.target.wxyz))
            self._gizmo.drag(position, rotation)

    def _pressed(self, word: str, client: int) -> None:
        self._pulse.heard(client)
        if word == "gripper":
            if not (self._status.paused or self._status.phase == "ended" or self._status.actor == "policy"):
                self._gripper = -self._gripper
        elif word == "fine":
            self._gizmo.is_fine = not self._gizmo.is_fine
            assert self._panel is not None
            self._panel.show_fine(self._gizmo.is_fine)
        else:
            self._events.put(word)

    def _left(self, client: Any) -> None:
        self._pulse.gone(client.client_id)
        self._gizmo.forget()

    # -- frames ------------------------------------------------------------------------------------------------------

    def _place(self) -> None:
        """Put the handle where the gizmo is, unless it is dragged or there already."""
        shown = self._gizmo.shown()
        if shown is None:
            self._placed = None
            return
        position, rotation = self._page_from_base(*shown)
        pose = np.concatenate([position, quaternion_from_matrix(rotation)])
        if self._placed is None or np.abs(pose - self._placed).max() > 1e-4:
            self._handle.position, self._handle.wxyz = pose[:3], pose[3:]
            self._placed = pose

    def _page_from_base(self, position: NDArray[Any], rotation: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.scene is None:
            return position, rotation
        base, turn = self.scene.base[0], matrix_from_quaternion(np.asarray(self.scene.base[1], np.float64))
        return base + turn @ position, turn @ rotation

    def _base_from_page(self, position: NDArray[Any], rotation: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The inverse of :meth:`_page_from_base`."""
        if self.scene is None:
            return np.asarray(position), rotation
        base, turn = self.scene.base[0], matrix_from_quaternion(np.asarray(self.scene.base[1], np.float64))
        return turn.T @ (position - base), turn.T @ rotation
