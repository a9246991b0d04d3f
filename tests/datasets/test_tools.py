"""The tools print what they found and exit with 1 when something is wrong."""

import json
from dataclasses import replace

import pytest

from robolearn.cli import main
from robolearn.datasets.store import DemoStore
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "demos.zarr"
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(number) for number in range(6)])
    return path


def test_info_tells_a_machine_what_there_is(path, capsys):
    assert main(["data", "info", f"store={path}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["episodes"] == 6
    assert facts["steps"] == sum(len(make_episode(number)) for number in range(6))
    assert sum(facts["outcomes"].values()) == 6
    assert facts["sources"] == {"expert": 6}
    assert facts["arrays"]["action"]["shape"] == [2]
    assert [row["steps"] for row in facts["per_episode"]] == [len(make_episode(number)) for number in range(6)]
    assert facts["fingerprint"] == DemoStore.open(path).fingerprint()


def test_info_tells_a_person_too(path, capsys):
    assert main(["data", "info", f"store={path}"]) == 0
    text = capsys.readouterr().out
    assert "toy, 6 episodes" in text
    assert "expert 6" in text
    assert "joints" in text


def test_columns_of_info_stay_apart_whatever_their_width(tmp_path, capsys):
    long = {"a_name_of_twenty_four_ch": ArraySpec((3,)), "camera": ArraySpec((1200, 1600, 3), "uint8")}
    spec = replace(SPEC, observation={**SPEC.observation, **long})
    DemoStore.create(tmp_path / "wide.zarr", spec).close()
    assert main(["data", "info", f"store={tmp_path / 'wide.zarr'}"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert len(lines) == 5
    assert len({line.index(kind) for line in lines for kind in ("float32", "uint8") if kind in line}) == 1
    assert [line.split()[:2] for line in lines][1] == ["a_name_of_twenty_four_ch", "float32"]
    assert "uint8    (1200, 1600, 3)" in lines[2]


@pytest.mark.parametrize("statistics", ["true", "false", "null"])
def test_info_of_an_empty_store_works(tmp_path, capsys, statistics):
    DemoStore.create(tmp_path / "empty.zarr", SPEC).close()
    assert main(["data", "info", f"store={tmp_path / 'empty.zarr'}", f"statistics={statistics}"]) == 0
    assert "0 episodes" in capsys.readouterr().out


def test_check_is_silent_success_or_a_line_per_problem_and_exit_code_1(path, capsys):
    assert main(["data", "check", f"store={path}"]) == 0
    assert "all as written" in capsys.readouterr().out
    file = next(file for file in (path / "data" / "action").rglob("*") if file.is_file() and file.name != "zarr.json")
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    assert main(["data", "check", f"store={path}"]) == 1
    assert "data/action/c/0/0 is damaged" in capsys.readouterr().out
    assert main(["data", "check", f"store={path}", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["ok"] is False
    assert "episodes 0-5" in facts["problems"][0]


@pytest.mark.parametrize("tool", ["info", "check", "replay", "stats", "repair"])
def test_a_missing_store_is_one_line_and_exit_code_1(tmp_path, capsys, tool):
    assert main(["data", tool, f"store={tmp_path / 'nowhere.zarr'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no store at")
    assert error.count("\n") == 1
