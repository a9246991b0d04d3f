"""The operator's page: who may connect, what a page that dies does, and, in a real browser, that a drag moves the tool."""

import http.client
import time

import numpy as np
import pytest

from robolearn.deploy.teleop import browser as browser_module
from robolearn.deploy.teleop.browser import BrowserDevice
from robolearn.deploy.teleop.browser_panel import abreast, banner, beep, counters, look_of
from robolearn.deploy.teleop.guarded import refuses
from robolearn.deploy.teleop.pulse import Pulse
from robolearn.errors import UserError
from robolearn.learning.session import STOPPED, Status
from tests.deploy.teleop.page import CAMERA, CHROMIUM, at_the_page, collecting

pytest.importorskip("viser", reason="viser is not installed (it comes with the extra `teleop`)")
TOOL = np.array([0.4, 0, 0.2, 1, 0, 0, 0, -1, 0, -1], np.float32)


@pytest.fixture
def device():
    device = BrowserDevice(port=0, announce=False)
    device.open()
    yield device
    device.close()


def handshake(device, **headers):
    """The status of a WebSocket request."""
    connection = http.client.HTTPConnection("127.0.0.1", device.port, timeout=10)
    asked = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    connection.request("GET", "/", headers={**asked, **headers})
    response = connection.getresponse()
    connection.close()
    return response.status


def test_a_page_of_another_site_is_refused_and_the_servers_own_is_not(device):
    assert handshake(device, Origin="http://evil.example") == 403
    assert handshake(device, Origin=f"http://127.0.0.1:{device.port + 1}") == 403
    assert handshake(device, Origin=f"http://127.0.0.1:{device.port}", **{"Sec-WebSocket-Protocol": "viser-v1.1.1"}) == 101


@pytest.mark.parametrize(
    ("headers", "host", "refused"),
    [
        ({"Origin": "http://localhost:80", "Host": "localhost:80"}, "127.0.0.1", False),
        ({"Host": "127.0.0.1:80"}, "127.0.0.1", False),  # a program, no page
        ({"Origin": "http://rebound.example:80", "Host": "rebound.example:80"}, "127.0.0.1", True),
        ({"Origin": "http://robot:80", "Host": "robot:80"}, "0.0.0.0", False),
        ({"Origin": "http://elsewhere", "Host": "robot:80"}, "0.0.0.0", True),
    ],
)
def test_who_is_refused(headers, host, refused):
    assert bool(refuses(headers, host)) == refused


def test_nothing_is_shared_through_a_public_relay(device):
    assert device._server.request_share_url() is None


def test_the_page_is_served_on_this_machine_only_unless_asked_otherwise():
    assert BrowserDevice().host == "127.0.0.1"


def test_a_port_that_is_taken_is_not_the_end(device):
    other = BrowserDevice(port=device.port, announce=False)
    other.open()
    try:
        assert other.port != device.port
    finally:
        other.close()


def test_without_a_page_nobody_is_there_and_the_target_is_the_tools_pose(device):
    heard = device.poll(time.monotonic_ns(), TOOL)
    assert (heard.active, heard.alive, heard.events) == (False, 0, ())
    np.testing.assert_array_equal(heard.target, TOOL)


@pytest.mark.parametrize("options", [{"port": 70_000}, {"heartbeat": 0.0}, {"limits": {"lead": 0.0}}, {"fine": 2.0}])
def test_what_makes_no_page_is_refused(options):
    with pytest.raises(UserError):
        BrowserDevice(**options)


class Client:
    """A page that answers until it dies."""

    def __init__(self, number):
        self.client_id, self.answers, self.local_storage = number, True, self

    def get_item(self, key, timeout):
        if not self.answers:
            time.sleep(0.01)
            raise TimeoutError
        time.sleep(0.01)


def heard_within(pulse, before, seconds=2.0):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if pulse.last() > before:
            return True
        time.sleep(0.01)
    return False


def test_the_page_that_drives_has_to_be_alive_not_another():
    pulse, driver, watcher = Pulse(0.5), Client(1), Client(2)
    try:
        pulse.watch(driver)
        pulse.watch(watcher)
        assert heard_within(pulse, 0)
        pulse.heard(1)
        driver.answers = False
        time.sleep(0.3)
        assert not heard_within(pulse, pulse.last(), 0.3)
        pulse.heard(2)  # the operator went to the other page
        assert heard_within(pulse, time.monotonic_ns())
    finally:
        pulse.close()


def test_a_page_that_was_closed_is_gone_at_once():
    pulse, page = Pulse(0.5), Client(1)
    try:
        pulse.watch(page)
        assert heard_within(pulse, 0)
        pulse.heard(1)
        pulse.gone(1)
        assert pulse.last() == 0
        pulse.heard(1)  # a late word of it
        assert pulse.last() == 0
    finally:
        pulse.close()


@pytest.mark.parametrize(
    ("status", "look", "words"),
    [
        (Status(), "ready", "Ready"),
        (Status(phase="recording"), "recording", "Recording"),
        (Status(phase="recording", has_policy=True, actor="policy"), "policy", "the policy acts"),
        (Status(phase="recording", has_policy=True), "takeover", "you act"),
        (Status(phase="recording", paused="a <b>reason</b>"), "paused", "a &lt;b&gt;reason"),
        (Status(phase="recording", paused=STOPPED), "stopped", "rearm"),
        (Status(phase="ended", solved=True), "solved", "save it?"),
        (Status(phase="ended", message="over: a part left the table"), "over", "left the table"),
    ],
)
def test_the_banner_says_what_goes_on_and_frames_the_window_while_it_is_recorded(status, look, words):
    shown = banner(status)
    assert look_of(status) == look
    assert words in shown
    assert ("position:fixed" in shown) == (status.phase == "recording" and not status.paused)


def test_the_counters_say_what_there_is():
    shown = counters(Status(task="<peg>", episodes=3, wanted=9, successes=2, steps=40, seconds=4.0, rate=31.4))
    for words in ("3 of 9", ">2<", ">31<", ">40<", "4.0", "&lt;peg&gt;"):
        assert words in shown


def test_two_cameras_are_shown_side_by_side_and_others_each_for_itself():
    front, wrist, wide = np.zeros((4, 6, 3), np.uint8), np.ones((4, 6, 3), np.uint8), np.ones((9, 6, 3), np.uint8)
    (both,) = abreast({"front": front, "wrist": wrist}).items()
    assert (both[0], both[1].shape, both[1][0, -1, 0]) == ("front, wrist", (4, 12, 3), 1)
    assert list(abreast({"front": front, "wide": wide})) == ["front", "wide"]


def test_a_beep_is_a_short_wave():
    assert len(beep(880.0)) < 2000


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
@pytest.mark.slow
@pytest.mark.timeout(180)
def test_in_a_browser_a_drag_moves_the_tool_and_a_tab_that_is_closed_pauses(tmp_path, monkeypatch):
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (it comes with the extra `dev`)")
    monkeypatch.setattr(browser_module, "_CAMERA", CAMERA)
    asked, said = [], []
    with collecting(tmp_path / "page.zarr", "episodes=1") as (command, device), api.sync_playwright() as play:
        with at_the_page(play, device) as hand:
            hand.page.on("request", lambda request: asked.append(request.url))
            hand.page.on("pageerror", lambda error: said.append(str(error)))
            hand.record()
            before, _ = hand.tool()
            hand.along(before - [0, 0, 0.04], 0.005)
            after, _ = hand.tool()
            np.testing.assert_allclose(after - before, [0, 0, -0.04], atol=0.006)
            hand.press("g", wait=1.0)
            assert hand.seen()["gripper_width"][0] < 0.03
        until = time.monotonic() + 15
        while not device._status.paused and time.monotonic() < until:
            time.sleep(0.05)
        assert "does not answer" in device._status.paused
        steps = device._status.steps
        time.sleep(0.5)
        assert device._status.steps == steps
    assert command.finished() == 0
    assert not said
    assert all(url.removeprefix("blob:").startswith((device.address, "data:")) for url in asked)
