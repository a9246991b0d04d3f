"""Keyboards, terminals, SpaceMice and gamepads: what their raw events mean, and what is said where one is missing."""

import io
import os
import pty
import sys
import types

import numpy as np
import pytest

from robolearn.deploy.teleop import check
from robolearn.deploy.teleop.gamepad import ABS, KEY, RIGHT, GamepadDevice, Pad
from robolearn.deploy.teleop.keyboard import KeyboardDevice, name_of
from robolearn.deploy.teleop.keys import MOTIONS, WORDS, Keys, keys_of
from robolearn.deploy.teleop.spacemouse import SpaceMouseDevice
from robolearn.deploy.teleop.steering import Limits
from robolearn.deploy.teleop.terminal import TerminalDevice
from robolearn.deploy.teleop.velocity import FINE, GRIPPER, NEXT, PAUSE, STOP, TAKE, VelocityDevice
from robolearn.errors import UserError
from robolearn.learning.session import Status

MS = 1_000_000
TOOL = np.array([0.4, 0, 0.2, 1, 0, 0, 0, -1, 0, -1], np.float32)


class Played(VelocityDevice):
    """A device that reads what a test says."""

    deflection, words, alive = np.zeros(6), (), 1

    def read(self, now_ns):
        return np.array(self.deflection, float), list(self.words), self.alive and now_ns


def polled(device, *words, status=None, now=100 * MS):
    device.words = words
    if status is not None:
        device.show(status, {})
    return device.poll(now, TOOL)


def test_a_deflection_moves_the_target_at_its_speed():
    device = Played(limits={"speed": 0.2}, deadband=0.0, stream=None)
    polled(device, now=1 * MS)
    device.deflection = [1, 0, 0, 0, 0, 0]
    np.testing.assert_allclose(polled(device, now=101 * MS).target[:3], [0.42, 0, 0.2], atol=1e-6)
    polled(device, FINE, now=101 * MS)
    np.testing.assert_allclose(polled(device, now=201 * MS).target[:3], [0.424, 0, 0.2], atol=1e-6)


def test_the_gripper_is_toggled_and_follows_a_reset():
    device = Played(stream=None)
    assert polled(device, GRIPPER).target[9] == 1.0
    assert polled(device).target[9] == 1.0
    assert polled(device, status=Status(jumps=1, gripper=-1.0)).target[9] == -1.0


@pytest.mark.parametrize(
    ("word", "status", "event"),
    [
        (NEXT, Status(phase="ready"), "record"),
        (NEXT, Status(phase="recording"), "success"),
        (NEXT, Status(phase="ended"), "success"),
        (PAUSE, Status(), "pause"),
        (PAUSE, Status(paused="paused"), "resume"),
        (TAKE, Status(actor="policy"), "takeover"),
        (TAKE, Status(actor="operator"), "release"),
        (STOP, Status(), "estop"),
        (STOP, Status(paused="emergency stop; rearm, then resume"), "rearm"),
        ("undo", Status(), "undo"),
    ],
)
def test_what_a_button_means_depends_on_how_things_stand(word, status, event):
    assert polled(Played(stream=None), word, status=status).events == (event,)


@pytest.mark.parametrize("status", [Status(paused="paused"), Status(phase="ended"), Status(actor="policy", phase="recording")])
def test_nothing_moves_while_nobody_steers_and_the_target_begins_at_the_tool_again(status):
    device = Played(stream=None)
    device.deflection = [1] * 6
    np.testing.assert_array_equal(polled(device, status=status).target, TOOL)


def test_a_device_that_is_gone_is_not_active_and_its_target_is_the_tools_pose():
    device = Played(stream=None)
    device.deflection, device.alive = [1] * 6, 0
    heard = polled(device)
    assert not heard.active
    np.testing.assert_array_equal(heard.target, TOOL)


def test_how_things_stand_is_said_once_with_a_bell_when_a_recording_begins():
    stream = io.StringIO()
    device = Played(stream=stream)
    for steps in range(3):
        device.show(Status(phase="recording", steps=steps, wanted=5), {})
    device.show(Status(phase="ended", message="solved", wanted=5), {})
    assert stream.getvalue() == (
        "\arecording; 0 of 5 episodes saved\nsolved: save it as a success or failure, undo, or discard it; 0 of 5 episodes saved\n"
    )


def test_keys_that_are_down_add_up_until_they_are_released():
    keys = Keys()
    keys.press("up", 0)
    keys.press("l", 0)
    np.testing.assert_array_equal(keys.deflection(10**12), [1, 0, 0, 0, 0, -1])
    keys.press("down", 0)
    keys.release("l")
    np.testing.assert_array_equal(keys.deflection(0), np.zeros(6))


def test_a_key_that_repeats_while_it_is_held_is_one_press():
    keys = Keys()
    for _ in range(4):
        keys.press("space", 0)
    assert keys.words() == [GRIPPER]
    keys.release("space")
    keys.press("space", 0)
    assert keys.words() == [GRIPPER]
    assert keys.words() == []


def test_a_terminals_key_counts_as_held_for_a_moment():
    keys = Keys(hold=0.15)
    keys.press("left", 1000 * MS)
    assert keys.deflection(1149 * MS)[1] == 1
    assert keys.deflection(1151 * MS)[1] == 0


@pytest.mark.parametrize(
    ("typed", "keys"),
    [
        (b"\x1b[A\x1b[B\x1bOC", ["up", "down", "right"]),
        (b"\x1b[5~e\x1b[6~", ["page_up", "e", "page_down"]),
        (b" \r\x7fS", ["space", "enter", "backspace", "s"]),
        (b"\x1b", ["esc"]),
        (b"\x1b[1;5Dx\xff\xfe#", ["x"]),
        (b"", []),
    ],
)
def test_a_terminals_bytes_become_keys(typed, keys):
    assert keys_of(typed) == keys


def test_no_key_has_two_meanings_and_all_six_directions_have_two():
    assert not set(MOTIONS) & set(WORDS)
    assert {(axis, sign) for axis, sign in MOTIONS.values()} == {(axis, sign) for axis in range(6) for sign in (1.0, -1.0)}


def test_a_terminal_is_read_key_by_key_and_given_back(monkeypatch):
    leader, follower = pty.openpty()
    stdin = os.fdopen(follower, "r")
    monkeypatch.setattr(sys, "stdin", stdin)
    device = TerminalDevice(stream=None)
    device.open()
    try:
        os.write(leader, b"\x1b[Az")
        first = device.poll(1000 * MS, TOOL)
        assert (first.active, first.events) == (True, ("undo",))
        moved = device.poll(1100 * MS, TOOL).target
        assert moved[0] == pytest.approx(0.4 + 0.1 * Limits().speed, abs=1e-5)
    finally:
        device.close()
        stdin.close()
        os.close(leader)


def test_a_terminal_that_is_none_is_refused(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(UserError, match="device=browser"):
        TerminalDevice().open()


def test_a_keyboard_without_a_display_names_the_terminal(monkeypatch):
    monkeypatch.setitem(sys.modules, "pynput", None)
    with pytest.raises(UserError, match="device=terminal"):
        KeyboardDevice().open()


def test_pynputs_keys_have_our_names():
    assert name_of(types.SimpleNamespace(char="S")) == "s"

    class Up:
        char = None

        def __str__(self):
            return "Key.page_up"

    assert name_of(Up()) == "page_up"


class FakeMouse:
    """pyspacemouse's device: packets come one a read."""

    def __init__(self, packets):
        self.packets = list(packets)
        self.state = types.SimpleNamespace(t=0.0, x=0.0, y=0.0, z=0.0, roll=0.0, pitch=0.0, yaw=0.0, buttons=[0, 0])

    def read(self):
        if not self.packets:
            return types.SimpleNamespace(**vars(self.state))
        packet = self.packets.pop(0)
        if packet is None:
            raise OSError("unplugged")
        vars(self.state).update(packet, t=self.state.t + 1)
        return types.SimpleNamespace(**vars(self.state))

    def close(self):
        pass


@pytest.fixture
def mouse(monkeypatch):
    def plugged(*packets):
        fake = FakeMouse(packets)

        def find(axis_convention):
            print("SpaceMouse found")
            return fake

        module = types.SimpleNamespace(open=find, AxisConvention=types.SimpleNamespace(ROS="ros"))
        monkeypatch.setitem(sys.modules, "pyspacemouse", module)
        device = SpaceMouseDevice(stream=None, deadband=0.0, expo=1.0, limits={"speed": 0.1})
        device.open()
        return device, fake

    return plugged


def test_a_spacemouse_is_read_to_its_last_packet_and_its_buttons_are_heard_once(mouse, capsys):
    device, fake = mouse({"x": 0.2}, {"x": 0.5, "buttons": [1, 0]}, {"x": 1.0})
    device.poll(1000 * MS, TOOL)
    heard = device.poll(1100 * MS, TOOL)
    np.testing.assert_allclose(heard.target[[0, 9]], [0.41, 1.0], atol=1e-6)
    fake.packets = [{"buttons": [1, 1]}]
    assert device.poll(1200 * MS, TOOL).events == ("record",)
    assert device.poll(1300 * MS, TOOL).events == ()
    assert not capsys.readouterr().out


def test_a_spacemouse_that_is_unplugged_is_nobody(mouse):
    device, fake = mouse({"x": 1.0})
    assert device.poll(1000 * MS, TOOL).active
    fake.packets = [None]
    heard = device.poll(1100 * MS, TOOL)
    assert not heard.active
    np.testing.assert_array_equal(heard.target, TOOL)
    assert not device.poll(1200 * MS, TOOL).active
    device.close()


@pytest.mark.parametrize("reason", [RuntimeError("No connected or supported devices found."), AttributeError("hid_enumerate")])
def test_a_spacemouse_that_is_missing_says_how_to_mend_that(monkeypatch, reason):
    def find(axis_convention):
        raise reason

    module = types.SimpleNamespace(open=find, AxisConvention=types.SimpleNamespace(ROS="ros"))
    monkeypatch.setitem(sys.modules, "pyspacemouse", module)
    with pytest.raises(UserError, match="udev"):
        SpaceMouseDevice().open()
    monkeypatch.setitem(sys.modules, "pyspacemouse", None)
    with pytest.raises(UserError, match="libhidapi"):
        SpaceMouseDevice().open()


def test_a_pads_sticks_are_scaled_by_their_ranges_and_point_along_the_base_frame():
    pad = Pad({0: (-32768, 32767), 1: (0, 255), 16: (-1, 1)})
    for code, value in ((0, -32768), (1, 0), (16, 1), (3, 1)):
        pad.hear(ABS, code, value)
    np.testing.assert_allclose(pad.deflection(), [1.0, 1.0, 0.0, 1.0, 0.0, -1.0], atol=1e-4)


def test_a_pads_buttons_are_heard_when_they_go_down():
    pad = Pad({})
    for code in (304, 315, 305, 999):
        pad.hear(KEY, code, 1)
        pad.hear(KEY, code, 2)
        pad.hear(KEY, code, 0)
    assert pad.words() == [GRIPPER, NEXT, "discard"]
    assert pad.words() == []


class FakePad:
    path = "/dev/input/event7"

    def __init__(self, path):
        self.events = []

    def capabilities(self):
        return {KEY: [304], ABS: [(0, types.SimpleNamespace(min=-1, max=1))]}

    def read(self):
        if self.events is None:
            raise OSError("unplugged")
        if not self.events:
            raise BlockingIOError
        events, self.events = self.events, []
        return [types.SimpleNamespace(type=kind, code=code, value=value) for kind, code, value in events]

    def close(self):
        pass


@pytest.fixture
def pad(monkeypatch):
    made = []

    def opened(path):
        made.append(FakePad(path))
        return made[-1]

    module = types.SimpleNamespace(list_devices=lambda: ["/dev/input/event7"], InputDevice=opened)
    monkeypatch.setitem(sys.modules, "evdev", module)

    def plugged(**options):
        device = GamepadDevice(stream=None, **options)
        device.open()
        return device, made[-1]

    return plugged


def test_a_gamepad_moves_the_tool_until_it_is_unplugged(pad):
    device, fake = pad(limits={"speed": 0.1})
    fake.events = [(ABS, 0, -1), (KEY, 315, 1)]
    assert device.poll(1000 * MS, TOOL).events == ("record",)
    assert device.poll(1100 * MS, TOOL).target[1] == pytest.approx(0.01, abs=1e-5)
    fake.events = None
    assert not device.poll(1200 * MS, TOOL).active


def test_a_deadman_that_is_not_held_is_nobody(pad):
    device, fake = pad(deadman=True)
    fake.events = [(ABS, 0, -1)]
    assert not device.poll(1000 * MS, TOOL).active
    fake.events = [(KEY, RIGHT, 1)]
    assert device.poll(1100 * MS, TOOL).active
    fake.events = [(KEY, RIGHT, 0)]
    assert not device.poll(1200 * MS, TOOL).active


def test_a_gamepad_that_is_missing_says_how_to_mend_that(monkeypatch):
    monkeypatch.setitem(sys.modules, "evdev", types.SimpleNamespace(list_devices=list))
    with pytest.raises(UserError, match="group `input`"):
        GamepadDevice().open()
    monkeypatch.setitem(sys.modules, "evdev", None)
    with pytest.raises(UserError, match="device=browser"):
        GamepadDevice().open()


def test_the_doctor_has_a_finding_for_every_device_and_a_mend_for_what_is_missing(monkeypatch):
    for name in ("pyspacemouse", "evdev"):
        monkeypatch.setitem(sys.modules, name, None)
    found = {finding.name: (finding.status, finding.mend) for finding in check.check_devices()}
    assert set(found) == {"device browser", "device keyboard", "device spacemouse", "device gamepad"}
    assert all(status in ("ok", "warn") and (mend or status == "ok") for status, mend in found.values())
    assert "[teleop]" in found["device spacemouse"][1]
