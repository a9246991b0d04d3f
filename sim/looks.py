"""How the scene looks: colours, light, cameras and picture quality; nothing here touches the physics."""

from __future__ import annotations

import copy
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np

TABLE_COLOR = ".86 .87 .89 1"
PART_COLOR = ".36 .47 .60 1"
REQUIRED_COLOR = ".93 .42 .14 1"
PIN_COLOR = ".25 .27 .30 1"
FENCE_COLOR = ".22 .24 .28 1"
CAMERA = "overview"
LARGEST_PICTURE = (1280, 960)  # pixels drawn, before they are averaged

# `overview` looks at the corner and the parts, past the hand, which comes from the robot's base. `front` and `wrist` stand where
# FurnitureBench's do, in the frames of base and hand; theirs see 69.4 degrees in width at 16:9.
_CAMERAS = {
    CAMERA: ("worldbody", {"pos": "1.16 .40 .56", "xyaxes": "-.5145 .8575 0 -.4537 -.2722 .8486", "fovy": "38"}),
    "front": ("worldbody", {"pos": "1.20 0 .235", "xyaxes": "0 1 0 -.1812 0 .9834", "fovy": "42.5"}),
    "wrist": (".//body[@name='right_hand']", {"pos": "-.04 0 .0534", "xyaxes": "0 -1 0 -.9397 0 .3420", "fovy": "42.5"}),
}
CAMERAS = tuple(_CAMERAS)


def add_looks(root: ET.Element) -> None:
    """Light, camera, background and quality, for a scene that is drawn."""
    world = root.find("worldbody")
    assert world is not None
    ET.SubElement(world, "light", pos=".8 -.45 1.2", dir="-.25 .4 -1", directional="true", diffuse=".38 .38 .38", specular=".1 .1 .1")
    for name, (place, pose) in _CAMERAS.items():
        body = root.find(place)
        assert body is not None
        ET.SubElement(body, "camera", {"name": name, **pose})
    assets = root.find("asset")
    assets = ET.SubElement(root, "asset") if assets is None else assets
    ET.SubElement(assets, "texture", type="skybox", builtin="gradient", rgb1=".97 .98 1", rgb2=".82 .85 .90", width="32", height="192")
    ET.SubElement(root, "statistic", center=".5 0 .1", extent=".8")  # [m] what the shadow map covers
    visual = ET.SubElement(root, "visual")
    ET.SubElement(visual, "headlight", ambient=".5 .5 .51", diffuse=".26 .26 .26", specular="0 0 0")
    ET.SubElement(visual, "global", offwidth=str(LARGEST_PICTURE[0]), offheight=str(LARGEST_PICTURE[1]))
    # Averaging a twice finer picture costs less without a GPU than sampling pixels four times.
    ET.SubElement(visual, "quality", shadowsize="1024", offsamples="0")
    ET.SubElement(visual, "map", shadowclip="1.5", znear=".05", zfar="30")


def vary(model: Any, seed: int) -> Any:
    """A copy of a compiled scene with other colours of its bodies and another light, drawn from ``seed``."""
    rng = np.random.default_rng(seed)
    other = copy.copy(model)
    tint = rng.uniform(0.6, 1.4, (other.nbody, 3)) * rng.uniform(0.75, 1.15)  # one a body, so that a part keeps one colour
    other.geom_rgba[:, :3] = np.clip(other.geom_rgba[:, :3] * tint[other.geom_bodyid], 0.02, 1.0)
    other.mat_rgba[:, :3] = np.clip(other.mat_rgba[:, :3] * rng.uniform(0.7, 1.2, (other.nmat, 1)), 0.02, 1.0)
    direction = other.light_dir + rng.normal(0.0, 0.2, other.light_dir.shape)
    other.light_dir[:] = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    other.light_diffuse[:] *= rng.uniform(0.5, 1.6)
    other.vis.headlight.diffuse[:] *= rng.uniform(0.6, 1.4)
    other.vis.headlight.ambient[:] *= rng.uniform(0.7, 1.2)
    return other
