"""Reads the message definitions that rosbags lacks: text files of field lists, a folder a ROS distribution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rosbags.typesys import get_types_from_msg

# A folder's definitions hold from its distribution on, until a later one replaces them; ROS 1's replace ROS 2's oldest.
LAYERS = {
    "humble": ("humble",),
    "iron": ("humble", "iron"),
    "jazzy": ("humble", "iron", "jazzy"),
    "kilted": ("humble", "iron", "jazzy", "kilted"),
    "lyrical": ("humble", "iron", "jazzy", "kilted", "lyrical"),
    "noetic": ("humble", "noetic"),
}
PARTS = {".msg": ("",), ".srv": ("Request", "Response"), ".action": ("Goal", "Result", "Feedback")}
_FOLDER = Path(__file__).parent / "definitions"
_ROS2_ONLY = ("action_msgs",)
_UUID = "unique_identifier_msgs/UUID goal_id"

Types = dict[str, Any]  # rosbags' field lists by type name


def read_field_lists(distro: str) -> Types:
    """Field lists of the messages, services and actions that a distribution has beyond rosbags'.

    Services and actions are in parts: ``pkg/srv/Y_Request``, ``pkg/action/Z_Goal``, and an action's own services and topics as in
    ROS 2 (``pkg/action/Z_SendGoal_Request``) and ROS 1 (``pkg/msg/ZActionGoal``). ``noetic`` names parts as ROS 1 does:
    ``pkg/msg/YRequest``.
    """
    found: Types = {}
    for layer in LAYERS[distro]:
        for file in sorted((_FOLDER / layer).rglob("*.*")):
            if file.suffix in PARTS:
                package, name = file.parts[-3], file.stem
                if distro == "noetic" and package in _ROS2_ONLY:
                    continue
                found |= _parse(package, name, file.suffix, file.read_text(), ros1=distro == "noetic")
    return found


def part_name(package: str, name: str, suffix: str, part: str, ros1: bool) -> str:
    """The type of one part of a definition, such as ``pkg/srv/Y_Request`` or in ROS 1 ``pkg/msg/YRequest``."""
    if suffix == ".msg" or ros1:
        return f"{package}/msg/{name}{part}"
    return f"{package}/{suffix[1:]}/{name}_{part}"


def _parse(package: str, name: str, suffix: str, text: str, ros1: bool) -> Types:
    """The types of one file."""
    found: Types = {}
    for part, fields in zip(PARTS[suffix], _sections(text), strict=True):
        found |= _types(part_name(package, name, suffix, part, ros1), fields)
    if suffix == ".action":
        found |= _action_ros1(package, name, ros1)
        found |= {} if ros1 else _action_ros2(package, name)
    return found


def _sections(text: str) -> list[str]:
    """A definition's parts: what stands between lines of three dashes."""
    sections = [""]
    for line in text.splitlines():
        if line.strip() == "---":
            sections.append("")
        else:
            sections[-1] += line + "\n"
    return sections


def _types(name: str, fields: str) -> Types:
    # rosbags knows no srv folder: the text is parsed under another name, which none of our files refers to.
    (fields_of,) = get_types_from_msg(fields, "parsed/msg/Parsed").values()
    return {name: fields_of}


def _action_ros2(package: str, name: str) -> Types:
    """The services and the topic that ROS 2 carries an action with."""
    action = f"{package}/action/{name}"
    return {
        **_types(f"{action}_SendGoal_Request", f"{_UUID}\n{action}_Goal goal\n"),
        **_types(f"{action}_SendGoal_Response", "bool accepted\nbuiltin_interfaces/Time stamp\n"),
        **_types(f"{action}_GetResult_Request", f"{_UUID}\n"),
        **_types(f"{action}_GetResult_Response", f"int8 status\n{action}_Result result\n"),
        **_types(f"{action}_FeedbackMessage", f"{_UUID}\n{action}_Feedback feedback\n"),
    }


def _action_ros1(package: str, name: str, ros1: bool) -> Types:
    """The topics that ROS 1 carries an action with."""
    found: Types = {}
    for part in PARTS[".action"]:
        payload = part_name(package, name, ".action", part, ros1)
        head = "std_msgs/Header header\n" + ("actionlib_msgs/GoalID goal_id\n" if part == "Goal" else "actionlib_msgs/GoalStatus status\n")
        found |= _types(f"{package}/msg/{name}Action{part}", f"{head}{payload} {part.lower()}\n")
    return found
