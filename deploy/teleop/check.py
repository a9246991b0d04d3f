"""Which of the operator's devices can be used here, and how to mend what is missing; for ``robolearn doctor``."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator

from robolearn.doctor import Check

_INSTALL = "pip install -c constraints.txt -e '.[teleop]'"


def check_devices() -> Iterator[Check]:
    """A finding for each device; none of them is required, so that none fails."""
    yield _browser()
    yield _keyboard()
    yield _spacemouse()
    yield _gamepad()


def _browser() -> Check:
    lacking = [name for name in ("viser", "mjviser") if importlib.util.find_spec(name) is None]
    if lacking:
        return Check("device browser", "warn", f"{' and '.join(lacking)} not installed (extra teleop)", _INSTALL)
    return Check("device browser", "ok", "viser and mjviser")


def _keyboard() -> Check:
    if importlib.util.find_spec("pynput") is None:
        return Check("device keyboard", "warn", "pynput not installed (extra teleop)", f"{_INSTALL}; device=terminal needs nothing")
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        return Check("device keyboard", "warn", "pynput is there, a display (DISPLAY) is not", "device=terminal works without one")
    return Check("device keyboard", "ok", "pynput and a display")


def _spacemouse() -> Check:
    name = "device spacemouse"
    try:
        import pyspacemouse

        found = pyspacemouse.get_connected_devices()
    except ImportError as error:
        return Check(name, "warn", f"pyspacemouse not usable ({error})", _INSTALL)
    except Exception as error:  # its binding to hidapi raises whatever it likes
        return Check(name, "warn", f"hidapi not usable ({' '.join(str(error).split())[:80]})", "apt-get install libhidapi-hidraw0")
    if not found:
        return Check(name, "warn", "no SpaceMouse found", "plug it in; a udev rule lets users read hidraw of vendor 256f")
    return Check(name, "ok", ", ".join(found))


def _gamepad() -> Check:
    name = "device gamepad"
    if importlib.util.find_spec("evdev") is None:
        return Check(name, "warn", "evdev not installed (extra teleop)", _INSTALL)
    from robolearn.deploy.teleop.gamepad import GamepadDevice
    from robolearn.errors import UserError

    pad = GamepadDevice(stream=None)
    try:
        pad.open()
    except UserError as error:
        return Check(name, "warn", "no gamepad found", str(error).rpartition("; ")[2])
    pad.close()
    return Check(name, "ok", "found one")
