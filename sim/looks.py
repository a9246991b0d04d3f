"""How the scene looks: colours, light, camera and picture quality; nothing here touches the physics."""

from __future__ import annotations

import xml.etree.ElementTree as ET

TABLE_COLOR = ".86 .87 .89 1"
PART_COLOR = ".36 .47 .60 1"
REQUIRED_COLOR = ".93 .42 .14 1"
PIN_COLOR = ".25 .27 .30 1"
FENCE_COLOR = ".22 .24 .28 1"
CAMERA = "front"
LARGEST_PICTURE = (1280, 960)  # pixels drawn, before they are averaged

# The camera looks at the corner and the parts, past the hand, which comes from the robot's base.
_CAMERA_POSE = {"pos": "1.16 .40 .56", "xyaxes": "-.5145 .8575 0 -.4537 -.2722 .8486", "fovy": "38"}


def add_looks(root: ET.Element) -> None:
    """Light, camera, background and quality, for a scene that is drawn."""
    world = root.find("worldbody")
    assert world is not None
    ET.SubElement(world, "light", pos=".8 -.45 1.2", dir="-.25 .4 -1", directional="true", diffuse=".38 .38 .38", specular=".1 .1 .1")
    ET.SubElement(world, "camera", {"name": CAMERA, **_CAMERA_POSE})
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
