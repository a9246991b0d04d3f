"""Figures and facts are those of the data, read in blocks; what needs no full read makes none."""

import dataclasses
import json

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets.figures import Moments, array_figures, episode_rows
from robolearn.datasets.size import size_on_disk
from robolearn.datasets.store import DemoStore
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode

CAMERA = dataclasses.replace(SPEC, observation={**SPEC.observation, "camera": ArraySpec((4, 5, 3), "uint8")})


@pytest.fixture
def store(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", CAMERA) as store:
        store.extend([make_episode(number, spec=CAMERA) for number in range(5)])
    return DemoStore.open(tmp_path / "demos.zarr")


def test_moments_of_blocks_are_those_of_the_whole():
    rng = np.random.default_rng(0)
    values = rng.normal(1e6, 1.0, (1000, 3))  # a large mean, which naive sums of squares do not survive
    values[17, 1] = np.nan
    moments = Moments(3)
    for rows in np.split(values, [1, 10, 500]):
        moments.add(rows)
    figures = moments.to_dict()
    for kind in ("min", "max", "mean", "std"):
        np.testing.assert_allclose(figures[kind], getattr(np, f"nan{kind}")(values, axis=0), rtol=1e-9)
    assert Moments(1).to_dict()["mean"] == [None]


def test_figures_are_the_datas_and_a_colours_for_images(store, monkeypatch):
    monkeypatch.setattr("robolearn.datasets.blocks.rows_a_block.__defaults__", (None, 7 * 60))
    figures = array_figures(store)
    np.testing.assert_allclose(figures["joints"]["mean"], store.array("joints").astype(float).mean(0), rtol=1e-6)
    np.testing.assert_allclose(figures["action"]["max"], store.array("action").max(0))
    np.testing.assert_allclose(figures["camera"]["std"], store.array("camera").reshape(-1, 3).std(0))
    chosen = array_figures(store, [1, 3])
    expected = np.concatenate([make_episode(number, spec=CAMERA).actions for number in (1, 3)])
    np.testing.assert_allclose(chosen["action"]["mean"], expected.astype(float).mean(0), rtol=1e-6)


def test_a_row_per_episode_says_how_it_ended_and_where_it_came_from(store):
    rows = episode_rows(store)
    for number, row in enumerate(rows):
        episode = make_episode(number, spec=CAMERA)
        assert (row["steps"], row["success"], row["truncated"]) == (len(episode), episode.success, episode.truncated)
        assert row["reward"] == pytest.approx(episode.rewards.sum(), rel=1e-5)
        assert row["provenance"] == dict(episode.provenance)
        assert row["seconds"] == pytest.approx(len(episode) / 10.0)
        assert row["digest"] == store.column("digest")[number]


def test_stats_are_of_the_chosen_episodes(store, capsys):
    assert main(["data", "stats", f"store={store.path}", "episodes=[1,3-]", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    lengths = [len(make_episode(number, spec=CAMERA)) for number in (1, 3, 4)]
    assert (facts["episodes"], facts["steps"]) == (3, sum(lengths))
    assert facts["by_source"] == {
        "expert": {"episodes": 3, "steps": sum(lengths), "success": np.mean([make_episode(n, spec=CAMERA).success for n in (1, 3, 4)])}
    }
    assert main(["data", "stats", f"store={store.path}"]) == 0
    assert "5 episodes" in capsys.readouterr().out
    assert main(["data", "stats", f"store={store.path}", "where=[steps>999]"]) == 1
    assert "no episode" in capsys.readouterr().err


def test_stats_of_an_empty_store_work(tmp_path, capsys):
    DemoStore.create(tmp_path / "empty.zarr", SPEC).close()
    assert main(["data", "stats", f"store={tmp_path / 'empty.zarr'}"]) == 0
    assert "0 episodes" in capsys.readouterr().out


def test_a_stores_size_is_that_of_its_files_and_reckoned_where_they_are_many(store, monkeypatch):
    files = [file for file in store.path.rglob("*") if file.is_file()]
    size = size_on_disk(store)
    assert (size.bytes, size.files, size.exact) == (sum(file.stat().st_size for file in files), len(files), True)
    monkeypatch.setattr("robolearn.datasets.size._SAMPLE", 1)
    with DemoStore.open(store.path, "a") as more:
        more.extend([make_episode(number, spec=CAMERA, steps=64) for number in range(5, 25)])
    size = size_on_disk(DemoStore.open(store.path))
    files = [file for file in store.path.rglob("*") if file.is_file()]
    assert not size.exact
    assert size.files == len(files)
    assert size.bytes == pytest.approx(sum(file.stat().st_size for file in files), rel=0.1)


def test_info_of_a_large_store_reads_no_step(store, monkeypatch, capsys):
    monkeypatch.setattr("robolearn.datasets.tools._QUICK_BYTES", 0)
    monkeypatch.setattr("robolearn.datasets.tools._QUICK_STEPS", 0)
    monkeypatch.setattr(DemoStore, "array", lambda *call: pytest.fail("a step was read"))
    assert main(["data", "info", f"store={store.path}", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["arrays"]["camera"] == {"dtype": "uint8", "shape": [4, 5, 3]}
    assert facts["per_episode"][0]["reward"] is None
    assert facts["per_episode"][0]["provenance"]["source"] == "expert"
    monkeypatch.setattr("robolearn.datasets.tools._QUICK_EPISODES", 0)
    assert main(["data", "info", f"store={store.path}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["per_episode"] is None


def test_long_texts_in_the_provenance_are_cut_for_people(tmp_path, capsys):
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.append(dataclasses.replace(make_episode(0), provenance={"source": "import", "model_file": "<mujoco>" * 10_000}))
    assert main(["data", "info", f"store={tmp_path / 'demos.zarr'}", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)["per_episode"][0]["provenance"]
    assert known["model_file"].endswith("(80000 characters)")
    assert len(known["model_file"]) < 300
