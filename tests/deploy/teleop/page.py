"""Runs ``robolearn collect source=operator`` and opens its page in headless Chromium."""

import contextlib
import shutil
import threading
import time

import numpy as np

from robolearn import cli
from robolearn.deploy.teleop import browser as browser_module
from tests.deploy.teleop.hand import CHROMIUM_FLAGS, Eye, Hand
from tests.deploy.teleop.watched import WatchedAssembly

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
SIZE = (1160, 600)
CAMERA, FOV = ((0.72, 0.26, 0.36), (0.42, -0.03, 0.05)), 0.65
# Chromium draws without a GPU here, some pictures a second: silence of half a second is no death.
SLOW = ["devices.browser.heartbeat=10", "scene.quality=fast", "scene.shadows=false"]


class Command:
    """A collection that runs in a thread."""

    def __init__(self, words):
        self.code = None
        WatchedAssembly.there = None
        self.thread = threading.Thread(target=self._run, args=(words,), daemon=True)

    def _run(self, words):
        self.code = cli.main(words)

    def finished(self, seconds=30.0):
        self.thread.join(seconds)
        return self.code


@contextlib.contextmanager
def collecting(store, *words, task="peg_hole", port=0):
    """The command, and the browser device that serves its page."""
    made = []
    original = browser_module.BrowserDevice.open

    def opened(device):
        original(device)
        made.append(device)

    browser_module.BrowserDevice.open = opened
    watched = "task.env._target_=tests.deploy.teleop.watched.WatchedAssembly"
    command = Command(
        ["collect", "source=operator", f"task={task}", watched, f"store={store}", f"devices.browser.port={port}", *SLOW, *words]
    )
    try:
        command.thread.start()
        until = time.monotonic() + 240
        while not made and command.thread.is_alive() and time.monotonic() < until:
            time.sleep(0.05)
        assert made, f"the command ended with {command.code}"
        yield command, made[0]
    finally:
        browser_module.BrowserDevice.open = original
        if made and command.thread.is_alive():
            made[0]._events.put("quit")
            command.finished()


def look_back(device):
    """Turn the camera to where it was, if it was turned."""
    for client in device._server.get_clients().values():
        moved = np.abs(client.camera.position - CAMERA[0]).max() + np.abs(client.camera.look_at - CAMERA[1]).max()
        if moved > 1e-3:
            print(f"the camera was turned by {moved:.2f} m", flush=True)
            client.camera.position, client.camera.look_at = CAMERA
            time.sleep(1.5)


@contextlib.contextmanager
def at_the_page(play, device, size=SIZE):
    """A browser with the device's page, and a hand there."""
    browser = play.chromium.launch(executable_path=CHROMIUM, args=CHROMIUM_FLAGS)
    try:
        page = browser.new_page(viewport={"width": size[0], "height": size[1]}, device_scale_factor=0.6)  # coarse pixels are drawn faster
        page.goto(device.address)
        page.wait_for_selector("[data-look]", timeout=60_000)
        yield Hand(page, Eye(*CAMERA, FOV, *size), lambda: WatchedAssembly.there.last, lambda: look_back(device))
    finally:
        browser.close()
