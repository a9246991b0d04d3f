"""How the scene looks: colours, light, cameras, materials and picture quality; nothing here touches the physics."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from robolearn.errors import UserError, nearest
from robolearn.sim.panda import Arm

TABLE_COLOR = ".86 .87 .89 1"
PART_COLOR = ".36 .47 .60 1"
REQUIRED_COLOR = ".93 .42 .14 1"
PIN_COLOR = ".25 .27 .30 1"
FENCE_COLOR = ".22 .24 .28 1"
CAMERA = "overview"
LARGEST_PICTURE = (1280, 960)  # pixels drawn, before they are averaged
DISTRACTORS, HIDDEN = 6, 5  # things beside the parts, and the group of geoms that is not drawn


@dataclass(frozen=True)
class Quality:
    """What a picture is worth.

    Args:
        finer: each pixel is the mean of ``finer x finer`` drawn ones.
        shadows: whether things cast them.
        mesh_cell: [m] detail kept of the robot's meshes.
    """

    finer: int
    shadows: bool
    mesh_cell: float


# Without a GPU, time goes with triangles, shadows and drawn pixels: fast is for observations, fine for people.
QUALITIES = {"fast": Quality(1, False, 0.02), "fine": Quality(2, True, 0.008)}

# `overview` looks at the corner and the parts, past the hand, which comes from the robot's base. `front` and `wrist` stand where
# FurnitureBench's do, in the frames of base and hand; theirs see 69.4 degrees in width at 16:9.
_CAMERAS = {
    CAMERA: {"pos": "1.16 .40 .56", "xyaxes": "-.5145 .8575 0 -.4537 -.2722 .8486", "fovy": "38"},
    "front": {"pos": "1.20 0 .235", "xyaxes": "0 1 0 -.1812 0 .9834", "fovy": "42.5"},
}
_WRIST = {"pos": "-.04 0 .0534", "xyaxes": "0 -1 0 -.9397 0 .3420", "fovy": "42.5"}

_MATERIALS = {
    "matte": {"specular": "0", "shininess": "0"},
    "glossy": {"specular": "1", "shininess": ".8"},
    "checker": {"texture": "checker", "texrepeat": "6 6", "specular": ".2"},
    "speckled": {"texture": "speckled", "texrepeat": "3 3", "specular": ".2"},
    "striped": {"texture": "striped", "texrepeat": "4 4", "specular": ".2"},
}
MATERIALS = tuple(_MATERIALS)


def find_quality(name: str) -> Quality:
    """A quality by name.

    Raises:
        UserError: no such quality.
    """
    if name not in QUALITIES:
        raise UserError(f"no picture quality {name!r}; there are {', '.join(QUALITIES)}{nearest(name, QUALITIES)}")
    return QUALITIES[name]


def cameras_of(arms: Sequence[Arm]) -> tuple[str, ...]:
    """Names of a scene's cameras, the usual one first: those that stand, and one on each hand."""
    return (*_CAMERAS, *(f"{arm.prefix}wrist" for arm in arms))


def check_cameras(what: str, names: Iterable[str], known: Sequence[str] | None = None) -> None:
    """Raise ``UserError`` for a camera that is none of ``known``; without these, of any scene: each arm may have a prefix of its own."""
    for name in names:
        wrist = name == "wrist" or (known is None and name.endswith("_wrist"))  # those of several arms are of one kind
        if not wrist and name not in (known or _CAMERAS):
            there = dict.fromkeys((*(known or _CAMERAS), "wrist"))
            raise UserError(f"{what} has no camera {name!r}; there are {', '.join(there)}{nearest(name, there)}")


def add_looks(root: ET.Element, arms: Sequence[Arm]) -> None:
    """Light, cameras, background, materials and hidden distractors, for a scene that is drawn."""
    world = root.find("worldbody")
    assert world is not None
    ET.SubElement(world, "light", pos=".8 -.45 1.2", dir="-.25 .4 -1", directional="true", diffuse=".38 .38 .38", specular=".1 .1 .1")
    for name, pose in _CAMERAS.items():
        ET.SubElement(world, "camera", {"name": name, **pose})
    for arm in arms:
        hand = root.find(f".//body[@name='{arm.prefix}right_hand']")
        assert hand is not None
        ET.SubElement(hand, "camera", {"name": f"{arm.prefix}wrist", **_WRIST})
    for index in range(DISTRACTORS):
        kind = ("box", "cylinder", "ellipsoid")[index % 3]
        shape = {"type": kind, "size": ".02 .02 .02", "pos": f".5 {0.5 + 0.1 * index} .02", "quat": "1 0 0 .1"}
        ET.SubElement(world, "geom", {"name": f"distractor{index}", **shape, "contype": "0", "conaffinity": "0", "group": str(HIDDEN)})
    _add_assets(root)
    ET.SubElement(root, "statistic", center=".5 0 .1", extent=".8")  # [m] what the shadow map covers
    visual = ET.SubElement(root, "visual")
    ET.SubElement(visual, "headlight", ambient=".5 .5 .51", diffuse=".26 .26 .26", specular="0 0 0")
    ET.SubElement(visual, "global", offwidth=str(LARGEST_PICTURE[0]), offheight=str(LARGEST_PICTURE[1]))
    # Averaging a twice finer picture costs less without a GPU than sampling pixels four times.
    ET.SubElement(visual, "quality", shadowsize="1024", offsamples="0")
    ET.SubElement(visual, "map", shadowclip="1.5", znear=".05", zfar="30")


def _add_assets(root: ET.Element) -> None:
    """The sky, and materials that parts and table may be given by their number: textures are loaded once a context."""
    assets = root.find("asset")
    assets = ET.SubElement(root, "asset") if assets is None else assets
    ET.SubElement(assets, "texture", type="skybox", builtin="gradient", rgb1=".97 .98 1", rgb2=".82 .85 .90", width="32", height="192")
    flat = {"type": "2d", "width": "64", "height": "64", "rgb1": "1 1 1"}
    ET.SubElement(assets, "texture", {"name": "checker", "builtin": "checker", "rgb2": ".7 .7 .7", **flat})
    ET.SubElement(
        assets, "texture", {"name": "speckled", "builtin": "flat", "mark": "random", "markrgb": ".5 .5 .5", "random": ".2", **flat}
    )
    ET.SubElement(assets, "texture", {"name": "striped", "builtin": "gradient", "rgb2": ".6 .6 .6", **flat})
    for name, look in _MATERIALS.items():
        ET.SubElement(assets, "material", {"name": name, "rgba": "1 1 1 1", **look})
