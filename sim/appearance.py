"""Looks that differ between episodes: drawn from seeds, and put on a scene before its picture is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix
from robolearn.sim.headless import mujoco
from robolearn.sim.looks import DISTRACTORS, MATERIALS, check_cameras
from robolearn.sim.randomize import Draws, LooksRanges

Looks = dict[str, NDArray[Any]]  # values of model fields, those of the headlight as headlight_*; (n, ...), or of one episode
_BESIDE = ((-0.1, 0.2), (0.22, 0.45))  # [m] least and most x, and distance from the middle, of distractors
_SIZES = ((0.015, 0.015, 0.01), (0.045, 0.045, 0.04))  # [m] half
_DARKEST = 0.02
_OF_GEOMS = ("geom_rgba", "geom_matid", "geom_pos", "geom_quat", "geom_size", "geom_group")
_FIELDS = (*_OF_GEOMS, "light_diffuse", "light_dir", "cam_pos", "cam_quat", "cam_fovy")


class Appearance:
    """Draws looks for a scene.

    Args:
        model: a scene built with ``visual=True``.
        parts: bodies that are coloured as parts.
        ranges: what differs, and how much.

    Raises:
        UserError: ranges of a camera that the scene does not have.
    """

    def __init__(self, model: mujoco.MjModel, parts: Sequence[str], ranges: LooksRanges) -> None:
        self._ranges = ranges
        bodies = [model.body(name).id for name in parts]
        self._of_part = np.array([bodies.index(body) if body in bodies else -1 for body in model.geom_bodyid])  # (ngeom,)
        self._count, self._table = len(bodies), model.geom("table").id
        self._distractors = np.array([model.geom(f"distractor{index}").id for index in range(DISTRACTORS)])
        self._materials = np.array([model.mat(name).id for name in MATERIALS])
        self._cameras = [model.cam(index).name for index in range(model.ncam)]
        for entry in ("camera_position", "camera_rotation"):
            check_cameras(f"looks.{entry}", getattr(ranges, entry), self._cameras)
        self._usual: Looks = {name: np.array(getattr(model, name)) for name in _FIELDS}
        for name in ("ambient", "diffuse"):
            self._usual[f"headlight_{name}"] = np.array(getattr(model.vis.headlight, name))

    def draw(self, seeds: NDArray[np.int64]) -> Looks:
        """The looks that belong to each seed ``(n,)``, a model's fields with a leading axis: ``(n, ...)``."""
        looks = {name: np.repeat(value[None], len(seeds), 0) for name, value in self._usual.items()}
        draws = Draws(seeds)
        self._light(looks, draws)
        self._colors(looks, draws)
        self._wear(looks, draws)
        self._move_cameras(looks, draws)
        self._distract(looks, draws)
        return looks

    def _light(self, looks: Looks, draws: Draws) -> None:
        ranges = self._ranges
        light = draws.uniform("light_color", *ranges.light_color, (3,))
        light = light * draws.uniform("light_intensity", *ranges.light_intensity)[:, None]  # (n, 3)
        for name in ("headlight_ambient", "headlight_diffuse"):
            looks[name] *= light.astype(np.float32)
        looks["light_diffuse"] *= light[:, None].astype(np.float32)
        turn = np.radians(ranges.light_direction) * draws.normal("light_direction", (3,))
        looks["light_dir"] = (matrix_from_rotvec(turn)[:, None] @ looks["light_dir"][..., None])[..., 0]

    def _colors(self, looks: Looks, draws: Draws) -> None:
        ranges, rgba = self._ranges, looks["geom_rgba"]
        if ranges.part_colors:
            pairs = np.array(ranges.part_colors)  # (k, 2, 3)
            pair = pairs[draws.uniform("part_range", 0, len(pairs)).astype(int)]  # (n, 2, 3)
            colors = draws.uniform("part_color", pair[:, :1], pair[:, 1:], (self._count, 3))  # (n, P, 3)
            own = draws.uniform("own_colors", 0, 1) < ranges.own_colors
            colors = np.where(own[:, None, None], colors, colors[:, :1])
            of_part = self._of_part >= 0
            rgba[:, of_part, :3] = np.maximum(colors, _DARKEST)[:, self._of_part[of_part]]
        table = rgba[:, self._table, :3] + ranges.table_color * draws.normal("table_color", (3,))
        rgba[:, self._table, :3] = np.clip(table, _DARKEST, 1.0)

    def _wear(self, looks: Looks, draws: Draws) -> None:
        """Materials of the table, and of all parts alike."""
        chosen = self._materials[draws.uniform("material", 0, len(self._materials), (2,)).astype(int)]  # (n, 2)
        wears = draws.uniform("wears", 0, 1, (2,)) < self._ranges.materials
        material = looks["geom_matid"]
        material[:, self._table] = np.where(wears[:, 0], chosen[:, 0], material[:, self._table])
        parts = self._of_part >= 0
        material[:, parts] = np.where(wears[:, 1:], chosen[:, 1:], material[:, parts])

    def _move_cameras(self, looks: Looks, draws: Draws) -> None:
        ranges = self._ranges
        for index, name in enumerate(self._cameras):
            kind = name.rpartition("_")[2]  # the wrists of several arms are of one kind
            away = ranges.camera_position.get(name, ranges.camera_position.get(kind, 0.0))
            turned = np.radians(ranges.camera_rotation.get(name, ranges.camera_rotation.get(kind, 0.0)))
            looks["cam_pos"][:, index] += away * draws.normal(f"camera_position {name}", (3,))
            turn = matrix_from_rotvec(turned * draws.normal(f"camera_rotation {name}", (3,)))
            rotation = matrix_from_quaternion(looks["cam_quat"][:, index]) @ turn
            if turned:
                looks["cam_quat"][:, index] = quaternion_from_matrix(rotation)
        if ranges.camera_fovy:
            looks["cam_fovy"] += ranges.camera_fovy * draws.normal("camera_fovy", (len(self._cameras),))
            np.clip(looks["cam_fovy"], 1.0, 170.0, out=looks["cam_fovy"])

    def _distract(self, looks: Looks, draws: Draws) -> None:
        """Things on the table, to the left and the right of the parts."""
        things, most = self._distractors, min(self._ranges.distractors, DISTRACTORS)
        if not most:
            return
        shown = draws.uniform("distractors", 0, most + 1).astype(int)[:, None] > np.arange(len(things))  # (n, D)
        place = draws.uniform("distractor_place", *_BESIDE, (len(things), 2))
        side = np.where(draws.uniform("distractor_side", 0, 1, (len(things),)) < 0.5, -1.0, 1.0)
        size = draws.uniform("distractor_size", *_SIZES, (len(things), 3))
        yaw = draws.uniform("distractor_yaw", 0, np.pi, (len(things),)) / 2
        size[:, 1::3, 2] = size[:, 1::3, 1]  # a cylinder's second size is its half height
        looks["geom_group"][:, things] = np.where(shown, 0, looks["geom_group"][:, things])
        looks["geom_pos"][:, things] = np.stack([place[..., 0], side * place[..., 1], size[..., 2]], -1)
        looks["geom_quat"][:, things] = np.stack([np.cos(yaw), 0 * yaw, 0 * yaw, np.sin(yaw)], -1)
        looks["geom_size"][:, things] = size
        looks["geom_rgba"][:, things, :3] = draws.uniform("distractor_color", 0.05, 1.0, (len(things), 3))


def dress(model: mujoco.MjModel, looks: Mapping[str, NDArray[Any]]) -> None:
    """Put the looks of one episode on a scene that is drawn."""
    for name, value in looks.items():
        place, _, entry = name.partition("headlight_")
        target = getattr(model.vis.headlight, entry) if entry else getattr(model, place)
        target[:] = value
