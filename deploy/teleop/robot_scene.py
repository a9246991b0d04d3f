"""What an operator's page draws of a robot: the arm as its joints say, where the tool may be, and the parts that are tracked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_rot6d, quaternion_from_matrix

PERIOD = 5  # of what is shown, one is drawn: pages need no more
PARTS = "parts_poses"  # observation of the parts, 9 numbers each
_COLORS = ((245, 159, 0), (64, 192, 87), (190, 75, 219), (21, 170, 191), (250, 82, 82), (130, 201, 30))
_ARM, _BOX = (73, 80, 87), (34, 139, 230)
_EDGES = ((0, 1), (0, 2), (0, 4), (1, 3), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 6), (5, 7), (6, 7))  # of a box's corners


class RobotScene:
    """A robot in a ``viser.ViserServer``, of plain lines and balls: nothing but its kinematics is needed.

    Args:
        robot: has ``chain`` and ``workspace``.

    Attributes:
        base: its base frame in what is drawn: the same.
    """

    base: tuple[NDArray[np.float64], NDArray[np.float64]] = (np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0]))

    def __init__(self, robot: Any) -> None:
        self._chain, self._workspace = robot.chain, robot.workspace
        self._server: Any = None
        self._links: Any = None
        self._balls: list[Any] = []
        self._fingers: Any = None
        self._parts: list[Any] = []
        self._shown, self._last = 0, np.zeros(0)

    def attach(self, server: Any) -> None:
        """Draw into a server."""
        self._server, scene = server, server.scene
        scene.configure_default_lights(cast_shadow=False)  # a browser that draws without a GPU is too slow for them
        height = min(self._workspace.table_height, 0.0)
        lines: dict[str, Any] = {"cell_size": 0.1, "section_size": 0.5, "cell_color": (196, 203, 212), "section_color": (164, 174, 188)}
        scene.add_grid(
            "/table", width=2.0, height=2.0, position=(0.4, 0.0, height), plane_color=(222, 227, 234), plane_opacity=1.0, **lines
        )
        low, high = np.array(self._workspace.low), np.array(self._workspace.high)
        corners = np.array([[(low, high)[bit >> axis & 1][axis] for axis in range(3)] for bit in range(8)])
        edges = np.array([[corners[first], corners[second]] for first, second in _EDGES], np.float32)
        scene.add_line_segments("/workspace", edges, colors=_BOX, line_width=1.0)

    def show(self, seen: Mapping[str, NDArray[Any]]) -> None:
        """Bring the drawing up to what is observed, ``{name: (...)}`` with ``joint_pos (J,)`` [rad]."""
        self._shown += 1
        if self._server is None or "joint_pos" not in seen or self._shown % PERIOD:
            return
        width = seen["gripper_width"] if "gripper_width" in seen else np.zeros(1)
        parts = seen.get(PARTS, np.zeros(0))
        now = np.concatenate([seen["joint_pos"], width, parts]).astype(np.float64)
        if now.shape == self._last.shape and np.abs(now - self._last).max() < 2e-4:
            return
        self._last = now
        with self._server.atomic():
            self._draw_arm(seen["joint_pos"].astype(np.float64), float(width[0]))
            self._draw_parts(parts.astype(np.float64).reshape(-1, 9))

    def _draw_arm(self, joints: NDArray[np.float64], width: float) -> None:
        points, tool = self.points(joints)
        side, back = tool[:3, 1] * width / 2, tool[:3, 2] * 0.045
        end = tool[:3, 3]
        grip = np.stack([end + side, end + side - back, end - side - back, end - side])
        scene = self._server.scene
        segments = np.stack([points[:-1], points[1:]], 1).astype(np.float32)  # (J + 1, 2, 3)
        fingers = np.stack([grip[:-1], grip[1:]], 1).astype(np.float32)
        if self._links is None:
            self._links = scene.add_line_segments("/arm/links", segments, colors=_ARM, line_width=9.0)
            self._fingers = scene.add_line_segments("/arm/fingers", fingers, colors=_ARM, line_width=5.0)
            self._balls = [scene.add_icosphere(f"/arm/joint{place}", radius=0.035, color=_ARM) for place in range(len(points) - 1)]
        self._links.points, self._fingers.points = segments, fingers
        for ball, point in zip(self._balls, points, strict=False):
            ball.position = point

    def _draw_parts(self, poses: NDArray[np.float64]) -> None:
        scene = self._server.scene
        while len(self._parts) < len(poses):
            place = len(self._parts)
            frame = scene.add_frame(f"/parts/{place}", axes_length=0.035, axes_radius=0.0015)
            scene.add_box(f"/parts/{place}/body", dimensions=(0.02, 0.02, 0.02), color=_COLORS[place % len(_COLORS)])
            self._parts.append(frame)
        for frame, pose in zip(self._parts, poses, strict=True):
            frame.position = pose[:3]
            frame.wxyz = quaternion_from_matrix(matrix_from_rot6d(pose[3:]))

    def points(self, joints: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The base, each joint and where the hand begins, ``(J + 2, 3)`` [m], and the tool ``(4, 4)``, of ``joints (J,)`` [rad]."""
        frames = self._chain.frames(joints)
        tool = frames[-1] @ self._chain.tool
        hand = tool[:3, 3] - 0.045 * tool[:3, 2]
        return np.concatenate([np.zeros((1, 3)), frames[:, :3, 3], hand[None]]), tool
