"""The page of ``data view`` in a real browser: it lists, it shows, and what is marked in it becomes a new store."""

import contextlib
import dataclasses
import shutil

import numpy as np
import pytest

from robolearn.datasets.marking import MOST_TEXT
from robolearn.datasets.store import DemoStore
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode
from tests.datasets.view.shown import COUNT, FAKE, bytes_of, make_store, served, shade

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (it comes with the extra `dev`)")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return make_store(tmp_path_factory.mktemp("demos") / "demos.zarr")


@pytest.fixture
def shown(browser, store, tmp_path):
    """Serves the store and opens its page, and sees to it that the page reported no error and asked no other machine for anything."""

    @contextlib.contextmanager
    def opened(pictures=FAKE):
        with served(store, tmp_path, pictures) as viewer:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            said, asked = [], []
            page.on("pageerror", lambda error: said.append(str(error)))
            page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
            page.on("request", lambda request: asked.append(request.url))
            page.goto(viewer.address)
            page.wait_for_selector("body[data-ready]", timeout=20_000)
            yield page
            page.close()
            assert not said
            assert asked
            assert all(
                url.removeprefix("blob:").startswith((viewer.address.rpartition("/")[0].rpartition("/")[0], "data:")) for url in asked
            )

    return opened


def seek(page, step):
    page.evaluate(
        "step => { const slider = document.getElementById('slider'); slider.value = step; slider.dispatchEvent(new Event('input')); }", step
    )


SHOWN = "([image, at]) => { const found = document.querySelector(image); return found?.dataset.at === at && found.complete; }"
MIDDLE = """image => {
  const found = document.querySelector(image), width = found.naturalWidth, height = found.naturalHeight;
  const ink = new OffscreenCanvas(width, height).getContext('2d');
  ink.drawImage(found, 0, 0);
  return ink.getImageData(width / 2, height / 2, 1, 1).data[0];
}"""


INKED = """name => {
  const canvas = document.querySelector(name), { width, height } = canvas;
  const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
  const found = [];
  for (let x = 60; x < width - 20; x++) for (let y = 0; y < height; y++) {
    const [red, , blue, alpha] = data.slice(4 * (y * width + x), 4 * (y * width + x) + 4);
    if (alpha > 200 && blue - red > 120) { found.push(y); break; }
  }
  return found;
}"""  # the highest blue pixel of each column: the first curve


def grey(page, episode, step, camera="front", kind="stored"):
    """The middle pixel of a camera's picture, once that of the step is shown."""
    image = f"figure[data-camera={camera}][data-kind={kind}] img"
    page.wait_for_function(SHOWN, arg=[image, f"{episode}/{step}"])
    return page.evaluate(MIDDLE, image)


def listed(page):
    return [int(row.get_attribute("data-episode")) for row in page.query_selector_all(".row")]


def choose(page, episode):
    page.click(f".row[data-episode='{episode}']")
    page.wait_for_function("text => document.getElementById('episode').textContent === text", arg=f"Episode {episode}")


def save_as(page, name):
    page.keyboard.press("Control+s")
    page.fill("#newname", name)
    page.click("#confirm")
    page.wait_for_function("() => document.getElementById('outcome').textContent !== ''")
    return page.text_content("#outcome")


def test_it_lists_every_episode_and_filters_them(store, tmp_path, shown):
    with shown() as page:
        assert listed(page) == list(range(COUNT))
        page.fill("#filter", "seed=3")
        assert listed(page) == [3]
        page.fill("#filter", "")
        page.click("#outcomes button:has(.dot.success)")
        assert listed(page) == [index for index in range(COUNT) if not store.column("success")[index]]
        assert "of 12 episodes" in page.text_content("#counted")


def test_scrubbing_shows_the_picture_of_the_step(store, tmp_path, shown):
    with shown() as page:
        assert abs(grey(page, 0, 0) - shade(0, 0)) <= 2
        seek(page, 7)
        assert abs(grey(page, 0, 7) - shade(0, 7)) <= 2
        assert abs(grey(page, 0, 7, "beside", "drawn") - 107) <= 2
        choose(page, 4)
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowRight")
        assert abs(grey(page, 4, 11) - shade(4, 11)) <= 2


def test_plots_follow_the_cursor_with_values_of_the_store(store, tmp_path, shown):
    with shown() as page:
        seek(page, 5)
        value = page.text_content("[data-plot=joints] .legend button:nth-child(2) b")
        assert float(value) == pytest.approx(float(store.array("joints", 5, 6)[0, 1]), abs=6e-4)
        assert "[rad]" in page.text_content("[data-plot=joints] h3")
        painted = (
            "[...document.querySelector('[data-plot=joints] canvas').getContext('2d').getImageData(0, 0, 300, 100).data].some(Boolean)"
        )
        assert page.evaluate(painted)
        width = page.evaluate("document.querySelector('[data-plot=joints] canvas').clientWidth")
        page.click("[data-plot=joints] canvas", position={"x": width - 8, "y": 40})
        assert page.text_content("#clock b") == "9"


def test_playing_moves_on_and_stops_at_the_end(store, tmp_path, shown):
    with shown() as page:
        page.select_option("#speed", "10")
        page.keyboard.press("Home")
        page.evaluate("document.activeElement.blur()")
        page.keyboard.press(" ")
        page.wait_for_function("() => document.querySelector('#clock b').textContent === '9'")
        page.wait_for_function("() => document.getElementById('play').textContent === '▶'")


def test_marks_are_saved_as_a_new_store_and_the_one_shown_stays_the_same_to_the_bit(store, tmp_path, shown):
    before = bytes_of(store.path)
    success = next(index for index in range(COUNT) if store.column("success")[index])
    failure = next(index for index in range(COUNT) if not store.column("success")[index])
    with shown() as page:
        choose(page, success)
        seek(page, 6)
        page.keyboard.press("b")
        seek(page, 2)
        page.click("#bottleneck")
        seek(page, 4)
        page.keyboard.press("x")
        assert page.text_content("#badge").startswith("failure")
        choose(page, failure)
        page.keyboard.press("s")
        page.fill("#note", "it did work")
        page.keyboard.press("Enter")
        choose(page, COUNT - 1)
        page.keyboard.press("d")
        said = save_as(page, "judged")
        assert said == f"Saved {COUNT - 1} episodes to {tmp_path / 'judged.zarr'}"
        assert "saved" in page.text_content("#changes")
    made = DemoStore.open(tmp_path / "judged.zarr")
    assert made.check() == []
    assert made.num_episodes == COUNT - 1
    assert made.provenance(success)["bottlenecks"] == [2, 6]
    assert made.provenance(success)["failure_step"] == 4
    assert not made.column("success")[success]
    assert made.column("success")[failure]
    assert made.provenance(failure)["note"] == "it did work"
    assert made.column("digest").tolist() == store.column("digest").tolist()[: COUNT - 1]
    assert bytes_of(store.path) == before


@pytest.mark.parametrize("target", [".row[data-episode='2']", ".tick", "#save"])
def test_a_click_that_ends_a_note_also_does_what_it_was_meant_to(store, tmp_path, shown, target):
    with shown() as page:
        if target == ".tick":
            seek(page, 7)
            page.keyboard.press("b")
            seek(page, 0)
        page.click("#note")
        page.keyboard.press("Control+a")
        page.keyboard.type("hello")
        box = page.locator(target).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)  # at once: page.click would wait for a button's turn
        assert page.inner_text(".row[data-episode='0'] .glyphs").strip() == ("◆1" if target == ".tick" else "")
        assert page.get_attribute(".row[data-episode='0']", "title") == "hello"
        assert page.text_content("#episode") == ("Episode 2" if "row" in target else "Episode 0")
        assert page.text_content("#clock b") == ("7" if target == ".tick" else "0")
        assert page.evaluate("document.getElementById('saving').open") is (target == "#save")


def test_a_note_may_have_lines_and_escape_takes_back_what_was_typed(store, tmp_path, shown):
    with shown() as page:
        page.keyboard.press("n")
        page.keyboard.press("Control+a")
        page.keyboard.type("two")
        page.keyboard.press("Shift+Enter")
        page.keyboard.type("lines")
        page.keyboard.press("Enter")
        assert page.get_attribute(".row[data-episode='0']", "title") == "two\nlines"
        page.keyboard.press("n")
        page.keyboard.type(" more")
        page.keyboard.press("Escape")
        assert page.input_value("#note") == "two\nlines"
        assert page.evaluate("document.activeElement.id") != "note"
        assert page.get_attribute(".row[data-episode='0']", "title") == "two\nlines"
        page.fill("#note", "n" * 3000)
        page.keyboard.press("Enter")
        assert len(page.get_attribute(".row[data-episode='0']", "title")) == 3000
        assert int(page.get_attribute("#note", "maxlength")) == MOST_TEXT


def test_failure_is_offered_only_where_it_changes_something_and_says_why_not(store, tmp_path, shown):
    other = next(index for index in range(COUNT) if store.column("outcome")[index] in ("timeout", "unfinished"))
    with shown() as page:
        choose(page, other)
        assert page.is_disabled("#failure")
        assert f"ended as {store.column('outcome')[other]}" in page.get_attribute("#failure", "title")
        page.click("#success")
        assert page.is_enabled("#failure")
        page.click("#failure")
        assert page.text_content("#badge") == store.column("outcome")[other]
        assert page.is_disabled("#failure")


def test_a_plot_tells_time_stamps_of_float64_apart(tmp_path, browser):
    """Seconds since 1970 are 128 apart in float32, and twelve seconds are nothing beside them."""
    spec = dataclasses.replace(SPEC, observation={**SPEC.observation, "clock": ArraySpec((1,), "float64", "s")})
    episode = make_episode(0, spec=spec, steps=120)
    stamps = 1.7e9 + 0.1 * np.arange(120)
    with DemoStore.create(tmp_path / "clock.zarr", spec) as made:
        made.append(dataclasses.replace(episode, observations={**episode.observations, "clock": stamps[:, None]}))
    page = browser.new_page()
    with served(DemoStore.open(tmp_path / "clock.zarr"), tmp_path) as viewer:
        page.goto(viewer.address)
        page.wait_for_selector("body[data-ready]")
        said = []
        for step in (0, 119):
            seek(page, step)
            said.append(page.text_content("[data-plot=clock] .legend b"))
        heights = page.evaluate(INKED, "[data-plot=clock] canvas")
        page.close()
    assert said == ["1700000000", "1700000012"]
    assert len(set(heights)) > 40  # a slope, not a line or a staircase


def test_undo_takes_back_the_last_mark(store, tmp_path, shown):
    with shown() as page:
        assert page.is_disabled("#save")
        page.keyboard.press("d")
        seek(page, 3)
        page.keyboard.press("b")
        assert len(page.query_selector_all(".tick")) == 1
        page.keyboard.press("u")
        assert not page.query_selector_all(".tick")
        assert page.text_content("#drop") == "Dropped"
        page.click("#undo")
        assert page.text_content("#drop") == "Drop"
        assert page.is_disabled("#save")


def test_a_name_that_is_taken_is_told_in_the_page_and_another_can_be_given(store, tmp_path, browser):
    (tmp_path / "taken.zarr").mkdir()
    page = browser.new_page()
    with served(store, tmp_path) as viewer:
        page.goto(viewer.address)
        page.wait_for_selector("body[data-ready]")
        page.keyboard.press("d")
        assert save_as(page, "taken") == f"{tmp_path / 'taken.zarr'} exists; give another name"
        page.fill("#newname", "free.zarr")
        page.click("#confirm")
        page.wait_for_selector("#outcome.good")
        page.close()
    assert DemoStore.open(tmp_path / "free.zarr").num_episodes == COUNT - 1
    assert not list((tmp_path / "taken.zarr").iterdir())


def test_a_machine_that_draws_nothing_says_which_package_is_lacking(store, tmp_path, shown):
    with shown({**FAKE, "broken": True}) as page:
        page.wait_for_selector("#pictures .nothing:has-text('libegl1')")
        assert "install libegl1" in page.text_content("#pictures")
        assert abs(grey(page, 0, 0) - shade(0, 0)) <= 2


def test_leaving_with_unsaved_marks_asks_and_a_stopped_server_is_told(store, tmp_path, browser):
    page = browser.new_page()
    with served(store, tmp_path) as viewer:
        page.goto(viewer.address)
        page.wait_for_selector("body[data-ready]")
        page.keyboard.press("d")
        asked = []
        page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.evaluate("dispatchEvent(new Event('focus'))")  # it also looks every few seconds
    page.wait_for_selector("#banner:not([hidden])", timeout=15_000)
    assert "has stopped" in page.text_content("#banner")
    page.goto("about:blank")
    page.close()
    assert asked == ["beforeunload"]
