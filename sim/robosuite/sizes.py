"""Sizes of the objects in a recording's world: robosuite draws them when it makes one."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from robolearn.errors import UserError


def with_sizes_of(document: str, recorded: str) -> str:
    """The document of a world with the sizes that free objects have in a recording's, of whichever version of robosuite.

    Robots and tables are named and drawn differently from version to version; objects come in the same order.

    Args:
        document: what robosuite makes now.
        recorded: the document beside the recording.

    Raises:
        UserError: it has other objects, or is no document.
    """
    now, sizes = ET.fromstring(document), object_sizes(recorded)
    ours = _free_bodies(now)
    if len(ours) != len(sizes):
        raise UserError(f"the recording's world has {len(sizes)} free objects, the task {len(ours)}")
    for body, size in zip(ours, sizes, strict=True):
        if size is not None:
            for geom in body.iter("geom"):
                if geom.get("size"):
                    geom.set("size", size)
    return ET.tostring(now, encoding="unicode")


def object_sizes(recorded: str) -> tuple[str | None, ...]:
    """The size of each free object, where its solids have all one: what may differ between recordings of a task.

    Raises:
        UserError: no document.
    """
    try:
        bodies = _free_bodies(ET.fromstring(recorded))
    except ET.ParseError as error:
        raise UserError(f"the recording's model is no XML: {error}") from error
    solid = [{geom.get("size") for geom in body.iter("geom") if geom.get("contype") != "0" and geom.get("size")} for body in bodies]
    return tuple(sizes.pop() if len(sizes) == 1 else None for sizes in solid)


def _free_bodies(root: ET.Element) -> list[ET.Element]:
    def is_free(body: ET.Element) -> bool:
        return body.find("freejoint") is not None or any(joint.get("type") == "free" for joint in body.findall("joint"))

    return [body for body in root.iter("body") if is_free(body)]
