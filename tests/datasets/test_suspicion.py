"""`check` warns of what is allowed and looks like a mistake; warnings fail only where asked."""

import dataclasses
import json

import numpy as np
import pytest

from robolearn.cli import main
from robolearn.datasets import verify
from robolearn.datasets.store import DemoStore
from robolearn.spec import ArraySpec
from tests.datasets.episodes import SPEC, make_episode

STEPS = 40
RICH = dataclasses.replace(
    SPEC,
    observation={
        **SPEC.observation,
        "timestamp": ArraySpec((), "float64", "s"),
        "camera": ArraySpec((4, 4, 3), "uint8"),
    },
)


def healthy(number, steps=STEPS):
    episode = make_episode(number, spec=RICH, steps=steps)
    return dataclasses.replace(episode, observations={**episode.observations, "timestamp": 100.0 * number + np.arange(steps) / 10.0})


def spoil(number, name, change):
    """An episode whose array ``name`` was changed in place."""
    episode = healthy(number)
    arrays = {**episode.observations, "action": episode.actions}
    values = arrays[name].copy()
    change(values)
    if name == "action":
        return dataclasses.replace(episode, actions=values)
    return dataclasses.replace(episode, observations={**episode.observations, name: values})


def check(tmp_path, *episodes, block=None, monkeypatch=None):
    with DemoStore.create(tmp_path / "demos.zarr", RICH) as store:
        store.extend([*episodes, *(healthy(number) for number in range(10, 16))])
    if block:
        monkeypatch.setattr("robolearn.datasets.blocks.rows_a_block.__defaults__", (None, block))
    return verify.check(DemoStore.open(tmp_path / "demos.zarr"))


def put(index, value):
    def change(values):
        values[index] = value

    return change


def test_healthy_episodes_raise_no_suspicion(tmp_path):
    found = check(tmp_path, healthy(0))
    assert (found.errors, found.warnings) == ([], [])


@pytest.mark.parametrize(
    ("episode", "warning"),
    [
        (spoil(0, "action", put((3, 1), 7.0)), "episode 0: action 'y' leaves its limits -1..1 at 1 steps, reaching "),
        (spoil(0, "camera", put(slice(20, 30), 9)), "episode 0: camera shows one picture for 10 steps (1.0 s), from step 20 on"),
        (spoil(0, "joints", put(slice(None), 0.5)), "episode 0: joints never changes"),
        (healthy(12), "is episode 0 once more (the same digest)"),
        (spoil(0, "timestamp", lambda values: put(5, values[4])(values)), "episode 0: timestamp stands still at 1 steps, first at step 5"),
        (spoil(0, "timestamp", lambda values: np.add(values[20:], 3.0, values[20:])), "has gaps, the largest of 3.1 s before step 20"),
        (spoil(0, "timestamp", lambda values: np.multiply(values, 2.0, values)), "timestamp advances by 0.2 s a step, 0.1 s expected"),
        (dataclasses.replace(healthy(0), terminated=True, truncated=True), "episode 0: both terminated and truncated"),
        (dataclasses.replace(healthy(0), provenance={"failure_step": STEPS}), "episode 0: its failure_step is 40, it has 40 steps"),
    ],
)
def test_what_looks_like_a_mistake_is_a_warning(tmp_path, episode, warning):
    found = check(tmp_path, episode)
    assert found.errors == []
    (line,) = found.warnings
    assert warning in line


def test_a_picture_that_freezes_across_blocks_is_one_run(tmp_path, monkeypatch):
    found = check(tmp_path, spoil(0, "camera", put(slice(3, 33), 9)), block=4 * 48, monkeypatch=monkeypatch)
    assert found.warnings == ["episode 0: camera shows one picture for 30 steps (3.0 s), from step 3 on"]


def test_the_same_picture_at_an_end_and_the_next_start_is_no_frozen_camera(tmp_path):
    found = check(tmp_path, spoil(0, "camera", put(slice(-4, None), 9)), spoil(1, "camera", put(slice(None, 4), 9)))
    assert found.warnings == []


def test_a_clock_that_goes_back_is_an_error(tmp_path):
    found = check(tmp_path, spoil(0, "timestamp", lambda values: put(5, values[2])(values)))
    assert found.errors == ["episode 0: timestamp goes back at 1 steps, first at step 5"]


def test_a_sensor_that_never_moves_in_any_episode_is_said_once(tmp_path):
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        for number in range(4):
            episode = make_episode(number, steps=STEPS)
            store.append(dataclasses.replace(episode, observations={"joints": np.zeros((STEPS, 3), np.float32)}))
    assert verify.check(store).warnings == ["joints is the same at every step of every episode"]


def test_warnings_fail_only_where_asked(tmp_path, capsys):
    check(tmp_path, spoil(0, "action", put((3, 1), 7.0)))
    store = f"store={tmp_path / 'demos.zarr'}"
    assert main(["data", "check", store]) == 0
    text = capsys.readouterr().out
    assert "warning: episode 0: action 'y' leaves its limits" in text
    assert "all as written" in text
    assert main(["data", "check", store, "strict=true", "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert (facts["ok"], facts["problems"], len(facts["warnings"])) == (False, [], 1)
