"""robosuite's ToolHang: stand the frame in its base, and hang the wrench on its hook."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from robolearn.sim.robosuite.scene import Contacts
from robolearn.sim.robosuite.task import Judgement, Mask, Task, stack_stages
from robolearn.sim.robosuite.view import Array, View, xyzw

_UPRIGHT = np.pi / 18  # [rad] of the base's shaft from the vertical
_INSERTED = 0.05  # [m] from the frame's tip to the base's middle
_HOLE_GEOMS = 8
_FINGERS = ("gripper0_right_leftfinger", "gripper0_right_rightfinger")


class ToolHang(Task):
    """Both halves of the task are checked by geometry, the second by contacts too."""

    parts: ClassVar[Mapping[str, str]] = {"stand": "stand_root", "frame": "frame_root", "tool": "tool_root"}
    contacts: ClassVar[Contacts] = {
        "held": [(finger, "tool_root") for finger in _FINGERS],
        "hook": [("tool_hole1_root", "frame_horizontal_frame")],
    }
    sites = ("stand_mount_site", "frame_mount_site", "frame_intersection_site", "frame_tip_site", "frame_hang_site", "tool_hole1_center")

    def __init__(self, view: View, host: Any) -> None:
        super().__init__(view, host)
        self._tip = "frame_tip_site" if "frame_tip_site" in host.obj_site_id else "frame_mount_site"
        self._slack = host.tool_args["inner_radius_1"] - host.frame_args["frame_thickness"] / 2.0

    def judge(self) -> Judgement:
        """Reward: 1 when assembled and hung; robosuite has no shaping."""
        assembled, hung = self.assembled(), self.hung()
        success = assembled & hung
        reward = success.astype(float)
        return Judgement(success, reward, reward, stack_stages(assembled, hung))

    def assembled(self) -> Mask:
        """The base stands, the frame's end is near it, and between its walls, ``(N,)``."""
        base, mount, corner = self.view.geom("stand_base"), self.view.site("frame_mount_site"), self.view.site("frame_intersection_site")
        shaft = _unit(self.view.site("stand_mount_site") - base)
        upright = np.abs(np.arccos(np.clip(shaft[:, 2], -1.0, 1.0))) < _UPRIGHT
        close = np.linalg.norm(self.view.site(self._tip) - base, axis=1) < _INSERTED
        along = _unit(corner - mount)
        walls = [self.view.geom(f"stand_wall{index}") - mount for index in range(4)]
        between = _astride(walls[0], walls[2], along) & _astride(walls[1], walls[3], along)
        result: Mask = upright & close & between
        return result

    def hung(self) -> Mask:
        """The wrench's hole is around the hook and touches it, and the fingers do not touch the wrench, ``(N,)``."""
        end, corner = self.view.site("frame_hang_site"), self.view.site("frame_intersection_site")
        length = np.linalg.norm(corner - end, axis=1)
        along = (corner - end) / length[:, None]
        hole = self.view.site("tool_hole1_center") - end
        progress = (hole * along).sum(1)
        close = np.linalg.norm(hole - progress[:, None] * along, axis=1) < self._slack
        rims = [self.view.geom(f"tool_hole1_hc_{index}") - end for index in (0, _HOLE_GEOMS // 2)]
        far = (progress / length > 0.05) & (progress / length < 1.0)
        result: Mask = ~self.view.touching("held") & self.view.touching("hook") & close & _astride(rims[0], rims[1], along) & far
        return result

    def objects(self) -> Array:
        """Base, frame and tool, each as the hand sees it 7 and in the world 7; whether assembled, whether hung."""
        view = self.view
        poses = [
            (view.geom("stand_base"), view.geom_quaternion("stand_base")),
            (view.site("frame_intersection_site"), view.site_quaternion("frame_intersection_site")),
            view.body("tool_root"),
        ]
        shown = [part for pose in poses for part in (*self.relative(*pose), pose[0], xyzw(pose[1]))]
        return np.concatenate([*shown, self.assembled()[:, None], self.hung()[:, None]], 1)


def _unit(vectors: Array) -> Array:
    unit: Array = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return unit


def _astride(one: Array, other: Array, along: Array) -> Mask:
    """Whether two points ``(N, 3)`` lie on opposite sides of a line through the origin, ``(N,)``."""
    astride: Mask = (np.cross(one, along) * np.cross(other, along)).sum(1) < 0
    return astride
