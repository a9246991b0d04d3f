"""A person's hand at the page: presses its keys, and drags the handle's arrows, planes and rings with the mouse, in a real browser."""

import time

import numpy as np

from robolearn.deploy.teleop.gizmo import UPRIGHT
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rotvec_from_matrix

CHROMIUM_FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]
ARROW, PLANE, RING = 0.8, 1 / 7 + 0.225 / 2, 0.65  # where viser's handle is grabbed, in shares of its size
SIZE = 110.0  # [pixels] of the handle


class Eye:
    """Where the page's camera stands and looks; projects points onto the page, of which the scene takes all."""

    def __init__(self, position, look_at, fov, width, height):
        self.position = np.asarray(position, float)
        forward = np.asarray(look_at, float) - self.position
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0.0, 0.0, 1.0])
        right /= np.linalg.norm(right)
        self.axes = np.stack([right, np.cross(forward, right), forward])  # rows: right, down, forward
        self.focal = height / 2 / np.tan(fov / 2)
        self.middle = np.array([width / 2, height / 2])

    def project(self, point):
        """``(3,)`` in the base frame -> pixel ``(2,)``."""
        seen = self.axes @ (np.asarray(point) - self.position)
        return self.middle + self.focal * seen[:2] / seen[2]

    def pixel(self, point):
        """Size [m] of a pixel where ``point`` is."""
        return float(self.axes[2] @ (np.asarray(point) - self.position)) / self.focal


class Hand:
    """Drags the handle so that the tool gets where it should.

    Args:
        page: playwright's.
        eye: of the page.
        seen: called for what the world shows now, ``{name: (1, ...)}``.
        recenter: called before every drag: where one missed the handle, it turned the camera instead.
    """

    def __init__(self, page, eye, seen, recenter=lambda: None):
        self.page, self.eye, self.seen, self.recenter = page, eye, seen, recenter
        self.is_fine = False
        self.drags = 0

    def tool(self):
        """Position and rotation of the tool."""
        seen = self.seen()
        return seen["tcp_pos"][0].astype(float), matrix_from_rot6d(seen["tcp_rot6d"][0].astype(float))

    def press(self, key, wait=0.0):
        self.page.keyboard.press(key)
        time.sleep(wait)

    def fine(self, on):
        if on != self.is_fine:
            self.press("v")
            self.is_fine = on

    def look(self):
        """Of the banner: what is going on."""
        return self.page.get_attribute("[data-look]", "data-look")

    def record(self, seconds=40.0):
        """Press Record until the page records: the first pictures may keep it from answering."""
        until = time.monotonic() + seconds
        while self.look() != "recording" and time.monotonic() < until:
            self.press("r", wait=1.5)
        self.until("recording")

    def until(self, look, seconds=20.0):
        self.page.wait_for_selector(f"[data-look={look}]", timeout=1000 * seconds)

    def reach(self, position, rotation, within=0.002, turned=0.01, rounds=6, press=0.0):
        """Bring the tool to a pose: turn it, then across, then up or down; again, finely, until it is there."""
        for _ in range(rounds):
            at, hand = self.tool()
            left, turn = position - at, rotvec_from_matrix(rotation @ hand.T)
            if np.linalg.norm(left) < within and np.linalg.norm(turn) < turned:
                return True
            for axis in np.argsort(-np.abs(hand.T @ turn)):
                self.turn_towards(rotation, int(axis), turned / 2)
            self.across(position, within / 2)
            self.along(position, within / 2)
        at, hand = self.tool()
        return bool(np.linalg.norm(position - at) < within)

    def across(self, position, within):
        """Within the handle's plane of x and y."""
        at, hand = self.tool()
        axes = hand @ UPRIGHT
        if np.linalg.norm((axes.T @ (position - at))[:2]) < within:
            return
        self.fine(bool(np.linalg.norm(position - at) < 0.008))
        flat = axes[:, :2] @ axes[:, :2].T
        self._drag(axes[:, 0] * PLANE + axes[:, 1] * PLANE, lambda grip, start: grip + self._share(flat @ (position - start)))

    def along(self, position, within, axis=2, fine=None):
        """Along an arrow."""
        at, hand = self.tool()
        way = (hand @ UPRIGHT)[:, axis]
        if abs(way @ (position - at)) < within:
            return
        self.fine(bool(np.linalg.norm(position - at) < 0.008) if fine is None else fine)
        self._drag(way * ARROW, lambda grip, start: grip + self._share(way * (way @ (position - start))))

    def trace(self, ways, until):
        """Drag the plane of x and y, finely, to each of ``ways (3,)`` [m] from where the tool is, until ``until()``."""
        self.fine(True)
        at, hand = self.tool()
        axes = hand @ UPRIGHT
        point = at + (axes[:, 0] + axes[:, 1]) * PLANE * SIZE * self.eye.pixel(at)
        mouse = self.page.mouse
        self._get_ready()
        mouse.move(*self.eye.project(point))
        time.sleep(0.1)
        mouse.down()
        for way in ways:
            mouse.move(*self.eye.project(point + self._share(np.asarray(way))))
            time.sleep(0.1)
            if until():
                break
        mouse.up()
        self.drags += 1

    def turn_towards(self, rotation, axis, within):
        """About one of the handle's axes, by its ring."""
        at, hand = self.tool()
        axes = hand @ UPRIGHT
        angle = float((axes.T @ rotvec_from_matrix(rotation @ hand.T))[axis])
        if abs(angle) < within:
            return
        self.fine(bool(abs(angle) < 0.06))
        first, second = axes[:, (axis + 1) % 3], axes[:, (axis + 2) % 3]
        grip = RING * (first + second) / np.sqrt(2)
        scale = 5.0 if self.is_fine else 1.0
        turned = matrix_from_rotvec(axes[:, axis] * angle * scale)
        self._drag(grip, lambda point, start: at + turned @ (point - at), settles=lambda: self._turned(rotation, axis) < within)

    def _turned(self, rotation, axis):
        _, hand = self.tool()
        return abs(float(((hand @ UPRIGHT).T @ rotvec_from_matrix(rotation @ hand.T))[axis]))

    def _share(self, way):
        return way * (5.0 if self.is_fine else 1.0)

    def _drag(self, grip, goal, settles=None):
        """Grab the handle at ``grip`` (in shares of its size, from its middle), pull it to ``goal(point, start)``, and hold it there."""
        self._get_ready()
        at, _ = self.tool()
        point = at + grip * SIZE * self.eye.pixel(at)
        mouse = self.page.mouse
        begin, end = self.eye.project(point), self.eye.project(goal(point, at))
        mouse.move(*begin)
        time.sleep(0.1)
        mouse.down()
        for share in np.linspace(0, 1, 4)[1:]:
            mouse.move(*(begin + share * (end - begin)))
        self._rest(settles)
        mouse.up()
        time.sleep(0.2)
        self.drags += 1

    def _get_ready(self):
        """As a person looks before they grab: the camera is where it was, the session is not paused, the handle is where the tool is."""
        self.recenter()
        if self.look() == "paused":
            self.press("p", wait=1.0)
        time.sleep(0.25)

    def _rest(self, settles=None, seconds=8.0):
        """Until the tool stands still."""
        last, still = self.tool(), 0
        until = time.monotonic() + seconds
        while time.monotonic() < until and still < 3:
            time.sleep(0.15)
            now = self.tool()
            moved = np.abs(now[0] - last[0]).max() > 2e-4 or np.abs(now[1] - last[1]).max() > 1e-3
            still, last = (0 if moved else still + 1), now
