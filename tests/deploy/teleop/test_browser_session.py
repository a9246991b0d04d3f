"""A scripted operator at the page, in headless Chromium: three pegs are inserted by dragging the handle, and a policy trains on them."""

import os

import pytest

from robolearn import cli
from robolearn.datasets.store import DemoStore
from robolearn.deploy.teleop import browser as browser_module
from tests.deploy.teleop.page import CAMERA, CHROMIUM, at_the_page, collecting
from tests.deploy.teleop.peg import insert_peg

api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (it comes with the extra `dev`)")
pytest.importorskip("viser", reason="viser is not installed (it comes with the extra `teleop`)")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
    pytest.mark.skipif(not os.environ.get("ROBOLEARN_BROWSER_SESSION"), reason="some minutes: set ROBOLEARN_BROWSER_SESSION=1"),
    pytest.mark.timeout(1800),
]


def test_three_pegs_are_inserted_by_dragging_the_handle_and_a_policy_trains_on_them(tmp_path, monkeypatch):
    monkeypatch.setattr(browser_module, "_CAMERA", CAMERA)
    store = tmp_path / "page.zarr"
    with collecting(store, "episodes=3") as (command, device), api.sync_playwright() as play, at_the_page(play, device) as hand:
        done = 0
        for _ in range(6):
            hand.record()
            inserted = insert_peg(hand)
            hand.press("s" if inserted else "d", wait=1.0)
            done += inserted
            if done == 3:
                break
        assert command.finished() == 0
    with DemoStore.open(store) as demos:
        assert demos.num_episodes == 3
        assert demos.column("success").all()
        assert set(demos.column("source")) == {"teleop"}
        assert max(len(demos.episode(index)) for index in range(3)) < 900
    assert cli.main(["data", "check", f"store={store}"]) == 0
    small = ["training.steps=20", "evaluation.every=0", "policy.hidden=32", "training.batch_size=16"]
    steps = os.environ.get("ROBOLEARN_BROWSER_STEPS")
    chosen = [f"training.steps={steps}", *small[1:]] if steps else small
    assert cli.main(["train", "task=peg_hole", f"store={store}", f"out={tmp_path / 'run'}", *chosen]) == 0
