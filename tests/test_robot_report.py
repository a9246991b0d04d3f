"""The page of a run on a robot tells what its folder holds, whole or of a run that was killed."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf

from robolearn import report
from robolearn.errors import UserError
from robolearn.robot_report import build_robot_report, verdict
from robolearn.robot_run import CADENCE, EVENTS, RUN, TRACE, read_events, read_run
from tests.robot_runs import BEGAN, JOINTS, make_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("robot") / "run")


@pytest.fixture(scope="module")
def page(folder: Path) -> str:
    return build_robot_report(folder / "report.html", folder).read_text()


def table(page: str, name: str) -> list[list[str]]:
    """Rows of a table, each cell as its words."""
    body = page[page.index(f'<table id="{name}">') :].split("<tbody>", 1)[1].split("</tbody>", 1)[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.S) for row in body.split("<tr>")[1:]]
    return [[" ".join(re.sub(r"<[^>]+>", "", cell).split()) for cell in row] for row in cells]


def test_the_page_tells_episodes_punctuality_and_what_happened_and_needs_nothing_else(page: str, folder: Path) -> None:
    assert "<h1>one_leg on sim_franka</h1>" in page
    assert "2 of 3 recorded episodes succeeded; 1 discarded. 1 fault." in page
    assert table(page, "episodes") == [
        ["0 rollout", "success", "160", "16.0 s", "0 %", "1000", "0", ""],
        ["1 rollout", "failure", "120", "12.0 s", "0 %", "1001", "1", "fault: tracking"],
        ["2 rollout", "discarded", "30", "3.0 s", "", "1002", "", ""],
        ["3 rollout", "success", "130", "13.0 s", "23 %", "1003", "2", "the table &lt;moved&gt;"],
    ]
    told = json.loads((folder / CADENCE).read_text())["series_ms"]
    rows = {row[0]: row[1:] for row in table(page, "cadence")}
    assert rows.keys() == told.keys() and len(rows) == 6
    assert rows["tick lateness"] == ["6,000", *(f"{told['tick lateness'][key]:.2f}" for key in ("mean", "p50", "p95", "p99", "max"))]
    happened = table(page, "events")
    assert [row[2] for row in happened] == ["hold", "running", "stopping", "fault", "idle", "takeover", "release"]
    assert happened[3] == ["34.00 s", "1", "fault", "a joint is 0.31 rad from where it should be (at most 0.2) joint=panda_joint4"]
    for words in (
        "real-time chunking",
        "cyclonedds (ROS 2)",
        "critic late",
        "12 of /camera were not recorded",
        "secret_word: rosebud",
        *JOINTS,
    ):
        assert words in page
    assert page.count("<svg") == 4  # timeline, lateness, tool, joints
    links = re.findall(r'href="(?!#)([^"]+)"', page)
    assert links == ["run.mcap", "episodes.zarr"] and not re.findall(r'src="(?!data:)', page) and "@import" not in page


def test_links_lead_from_the_page_to_the_log_wherever_the_page_is(folder: Path, tmp_path: Path) -> None:
    killed = killed_run(folder, tmp_path / "a run")
    page = build_robot_report(tmp_path / "pages" / "page.html", killed).read_text()
    assert 'href="../a%20run/run.mcap"' in page


def killed_run(folder: Path, copy: Path) -> Path:
    """The folder as a run leaves it that is killed in its last episode."""
    shutil.copytree(folder, copy)
    (copy / CADENCE).unlink()
    (copy / TRACE).unlink()
    lines = (copy / EVENTS).read_text().splitlines()
    (copy / EVENTS).write_text("\n".join(lines[:-1]) + '\n{"stamp": 17')  # the last line torn
    return copy


def test_a_killed_run_has_a_page_of_what_it_wrote(folder: Path, tmp_path: Path) -> None:
    killed = killed_run(folder, tmp_path / "run")
    page = build_robot_report(tmp_path / "page.html", killed).read_text()
    assert "it was killed" in page and 'id="cadence"' not in page and page.count("<svg") == 1
    assert [row[1] for row in table(page, "episodes")] == ["success", "failure", "discarded", "unfinished"]
    assert "2 of 3" not in page and "1 of 2 recorded episodes succeeded; 1 discarded, 1 unfinished." in page


def test_what_is_read_is_what_was_written(folder: Path) -> None:
    run = read_run(folder)
    assert run.began == BEGAN and len(run.events) == 15
    assert [(episode.number, episode.outcome) for episode in run.episodes] == list(
        enumerate(["committed"] * 2 + ["discarded", "committed"])
    )
    assert list(run.trace["joints"]) == list(JOINTS) and run.trace["measured"].shape == (6000, 7)
    times, late = run.series["tick lateness"]
    assert len(times) == len(late) == 6000
    assert np.percentile(late, 99) == pytest.approx(run.cadence["series_ms"]["tick lateness"]["p99"], rel=1e-4)
    assert verdict(run).endswith("ms late.")


def test_the_verb_makes_the_page_of_one_robots_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    killed = killed_run(folder, tmp_path / "run")
    options = {"runs": [str(killed)], "out": str(tmp_path / "page.html"), "title": "Tuesday", "overwrite": False}
    assert report.main(OmegaConf.create(options)) == 0
    assert "<h1>Tuesday</h1>" in (tmp_path / "page.html").read_text() and "page.html" in capsys.readouterr().out
    with pytest.raises(UserError, match="give it alone in runs="):
        report.main(OmegaConf.create({**options, "runs": [str(killed), str(folder)], "overwrite": True}))


@pytest.mark.parametrize("name", [RUN, CADENCE, TRACE])
def test_a_torn_file_is_one_line_that_names_it(folder: Path, tmp_path: Path, name: str) -> None:
    copy = shutil.copytree(folder, tmp_path / "run")
    (copy / name).write_bytes((copy / name).read_bytes()[:-40])
    with pytest.raises(UserError, match=rf"{name} is damaged"):
        build_robot_report(tmp_path / "page.html", copy)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("line", ["[]", "{}", '{"stamp": "now", "event": "fault"}', '{"stamp": 1}', "not json"])
def test_a_line_that_is_no_event_ends_the_list(tmp_path: Path, line: str) -> None:
    (tmp_path / EVENTS).write_text('{"stamp": 1, "event": "hold"}\n' + line + '\n{"stamp": 2, "event": "fault"}\n')
    assert read_events(tmp_path / EVENTS) == [{"words": "", "stamp": 1, "event": "hold"}]


def test_another_folder_is_no_run_on_a_robot(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run on a robot: it has no run.json"):
        read_run(tmp_path)
