"""The store gives back what it was given, to the bit, and says what is wrong otherwise."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr

from robolearn.datasets.store import DemoStore, StoreError
from robolearn.datasets.windows import WindowDataset
from robolearn.episode import Episode
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec, SpecError
from robolearn.tasks import one_leg_spec
from tests.datasets.episodes import SPEC, assert_same, make_episode

ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "demos.zarr"


def filled(path, count, **options):
    with DemoStore.create(path, SPEC, **options) as store:
        for number in range(count):
            store.append(make_episode(number))
    return DemoStore.open(path)


def test_episodes_come_back_to_the_bit_and_in_order(path):
    store = filled(path, 5)
    assert store.num_episodes == len(store) == 5
    for number, episode in enumerate(store):
        assert_same(episode, make_episode(number))
    assert store.num_steps == sum(len(make_episode(number)) for number in range(5)) == store.ends[-1]
    assert store.lengths.tolist() == [len(make_episode(number)) for number in range(5)]
    assert store.env_spec == SPEC


def test_appending_goes_on_where_it_stopped(path):
    filled(path, 2)
    with DemoStore.open(path, "a") as store:
        assert store.append(make_episode(2)) == 2
        assert store.extend([make_episode(3), make_episode(4)]) == 3
        assert_same(store.episode(4), make_episode(4))  # the writer reads what it wrote
    for number, episode in enumerate(DemoStore.open(path)):
        assert_same(episode, make_episode(number))


def test_episodes_longer_than_a_chunk_come_back(path):
    lengths = [1500, 3, 1021, 1024, 1]
    with DemoStore.create(path, SPEC) as store:
        store.extend([make_episode(number, steps=steps) for number, steps in enumerate(lengths)])
    store = DemoStore.open(path)
    assert store.lengths.tolist() == lengths
    for number, steps in enumerate(lengths):
        assert_same(store.episode(number), make_episode(number, steps=steps))


def test_images_and_integers_come_back(path):
    spec = EnvSpec(
        "toy",
        {"camera": ArraySpec((8, 6, 3), "uint8"), "count": ArraySpec((), "int64"), "wide": ArraySpec((2, 2), "float64")},
        SPEC.action,
        10.0,
    )
    with DemoStore.create(path, spec) as store:
        for number in range(3):
            store.append(make_episode(number, spec=spec, steps=50))  # 150 frames: more than two shards of 64
    for number, episode in enumerate(DemoStore.open(path)):
        assert_same(episode, make_episode(number, spec=spec, steps=50))
    assert DemoStore.open(path).check() == []


def test_wider_numbers_and_arrays_that_no_policy_sees_come_back(path):
    action = replace(SPEC.action, dtype="float64")
    extras = {"labels.grasped": ArraySpec((), "bool"), "depth": ArraySpec((4, 5, 1), "float16")}
    spec = replace(SPEC, action=action, reward_dtype="float64", extras=extras)
    episodes = [make_episode(number, spec=spec) for number in range(3)]
    with DemoStore.create(path, spec) as store:
        store.extend(episodes)
    store = DemoStore.open(path)
    assert store.env_spec == spec
    for episode, expected in zip(store, episodes, strict=True):
        assert_same(episode, expected)
    assert WindowDataset(store, prediction_horizon=2).observation_keys == ("joints",)
    assert store.check() == []
    with pytest.raises(SpecError, match=r"extra array 'depth': expected shape .*, is missing"):
        replace(episodes[0], extras={"labels.grasped": episodes[0].extras["labels.grasped"]}).check(spec)
    with pytest.raises(StoreError, match="names are unique"):
        DemoStore.create(path.with_name("twice.zarr"), replace(SPEC, extras={"joints": ArraySpec((3,))}))


def test_a_spec_without_the_later_fields_says_what_it_always_said():
    assert set(SPEC.to_dict()) == {"task", "observation", "action", "control_hz", "stages"}
    assert set(SPEC.to_dict()["action"]) == {"names", "low", "high", "units", "frame"}


def test_simulator_states_may_begin_and_pause_in_mid_store(path):
    sizes = [0, 4, 0, 4]
    with DemoStore.create(path, SPEC) as store:
        for number, size in enumerate(sizes):
            store.append(make_episode(number, state_size=size))
        with pytest.raises(StoreError, match="sim_state"):
            store.append(make_episode(9, state_size=5))
        store.append(make_episode(4))
    store = DemoStore.open(path)
    for number, size in enumerate([*sizes, 0]):
        assert_same(store.episode(number), make_episode(number, state_size=size))
    assert store.check() == []


def test_a_reader_sees_neither_later_nor_half_written_episodes(path):
    writer = DemoStore.create(path, SPEC)
    writer.append(make_episode(0))
    reader = DemoStore.open(path)
    writer.append(make_episode(1))
    writer.close()
    assert reader.num_episodes == 1
    assert len(reader.array("action")) == reader.num_steps == len(make_episode(0))
    assert_same(reader.episode(0), make_episode(0))


def test_columns_say_how_episodes_ended_and_whence_they_came(path):
    store = filled(path, 6)
    expected = ["success" if make_episode(number).success else "timeout" for number in range(6)]
    assert store.outcomes() == expected
    assert set(expected) == {"success", "timeout"}
    assert store.column("seed").tolist() == list(range(6))
    assert store.column("parent").tolist() == [-1] * 6
    assert store.provenance(3)["note"] == "épisode 3"


def test_other_zarr_readers_understand_it(path):
    store = filled(path, 3)
    group = zarr.open_group(path, mode="r")
    assert sorted(name for name, _ in group.members()) == ["data", "episodes"]
    assert group["episodes/end"][:].tolist() == store.ends.tolist()
    assert "crc32c" in json.dumps(group["data/action"].metadata.to_dict())


def test_the_fingerprint_follows_the_content(path, tmp_path):
    first = filled(path, 3).fingerprint()
    same = filled(tmp_path / "same.zarr", 3).fingerprint()
    assert first == same
    with DemoStore.open(path, "a") as store:
        store.append(make_episode(3))
        assert store.fingerprint() != first


def test_a_label_leaves_the_fingerprint_that_lineage_names_and_changes_the_one_with_outcomes(path, tmp_path):
    store = filled(path, 3)
    with DemoStore.create(tmp_path / "labelled.zarr", SPEC) as other:
        other.extend([replace(make_episode(number), success=number == 1, terminated=True, truncated=False) for number in range(3)])
    assert other.fingerprint() == store.fingerprint()
    assert other.fingerprint(outcomes=True) != store.fingerprint(outcomes=True)
    assert filled(tmp_path / "same.zarr", 3).fingerprint(outcomes=True) == store.fingerprint(outcomes=True)


@pytest.mark.parametrize("spec", [SPEC, one_leg_spec()], ids=lambda spec: spec.task)
def test_an_empty_store_opens(path, spec):
    DemoStore.create(path, spec).close()
    store = DemoStore.open(path)
    assert (store.num_episodes, store.num_steps, store.check()) == (0, 0, [])
    assert store.env_spec == spec


def test_episodes_that_do_not_fit_are_refused_and_nothing_is_written(path):
    good = make_episode(0)
    with DemoStore.create(path, SPEC) as store:
        store.append(good)
        before = sorted(path.rglob("*"))
        bad = np.array(good.actions)
        bad[2, 0] = np.nan
        with pytest.raises(SpecError, match="step 2"):
            store.append(type(good)(good.observations, bad, good.rewards, True, False, True))
        with pytest.raises(SpecError, match="joints"):
            store.append(type(good)({}, good.actions, good.rewards, True, False, True))
        assert sorted(path.rglob("*")) == before
    assert DemoStore.open(path).num_episodes == 1


@pytest.mark.parametrize(
    ("array", "values", "says"),
    [
        ("front", np.full((2, 4, 4, 3), 0.5), "uint8 does not hold it: it goes from 0.5 to 0.5"),
        ("front", np.full((2, 4, 4, 3), 300, np.uint16), "front is uint16, and uint8 does not hold it: it goes from 300 to 300"),
        ("front", np.full((2, 4, 4, 3), -1), "from -1 to -1"),
        ("grasped", np.array([0, 2]), "bool does not hold it"),
        ("action", np.full((2, 1), 1e300), "action is float64, and float32 does not hold it"),
        ("reward", np.full(2, -1e300), "reward is float64, and float32 does not hold it"),
    ],
)
def test_numbers_that_the_stores_types_do_not_hold_are_refused(path, array, values, says):
    spec = EnvSpec(
        "toy",
        {"front": ArraySpec((4, 4, 3), "uint8")},
        ActionSpec(("x",), (-1.0,), (1.0,)),
        10.0,
        extras={"grasped": ArraySpec((), "bool")},
    )
    good = {"front": np.zeros((2, 4, 4, 3), np.int64), "grasped": np.array([0, 1]), "action": np.zeros((2, 1)), "reward": np.ones(2)}

    def episode(arrays):
        return Episode(
            {"front": arrays["front"]}, arrays["action"], arrays["reward"], True, False, True, extras={"grasped": arrays["grasped"]}
        )

    with DemoStore.create(path, spec) as store:
        store.append(episode(good))
        with pytest.raises(SpecError, match=says):
            store.append(episode({**good, array: values}))
        assert (store.num_episodes, store.check()) == (1, [])


def test_unknown_entries_of_an_extra_array_are_kept_and_seeds_beyond_64_bits_are_in_the_provenance(path):
    spec = replace(SPEC, extras={"label": ArraySpec((), "float32")})
    episode = replace(make_episode(0, spec=spec), provenance={"source": "teleop", "seed": 2**70})
    episode.extras["label"][1] = np.nan
    with DemoStore.create(path, spec) as store:
        store.append(episode)
        assert store.check() == []
        assert (store.column("seed").tolist(), store.provenance(0)["seed"]) == ([-1], 2**70)
        np.testing.assert_array_equal(store.episode(0).extras["label"], episode.extras["label"])


def test_a_missing_store_names_the_nearest(path):
    filled(path, 1)
    with pytest.raises(StoreError, match=r"did you mean 'demos\.zarr'"):
        DemoStore.open(path.with_name("demo.zarr"))
    with pytest.raises(StoreError, match=r"no array 'acton'.*did you mean 'action'"):
        DemoStore.open(path).array("acton")
    with pytest.raises(StoreError, match="no episode 1; it has 1"):
        DemoStore.open(path).episode(1)


@pytest.mark.parametrize("content", ["file", "zarr2", "directory", "foreign"])
def test_what_is_no_store_is_said_to_be_none(path, content):
    if content == "file":
        path.write_text("hello")
    else:
        path.mkdir()
    if content == "zarr2":
        (path / ".zgroup").write_text('{"zarr_format": 2}')
    if content == "foreign":
        zarr.open_group(path, mode="w")
    with pytest.raises(StoreError, match="no robolearn store" if content != "directory" else "lacks zarr.json"):
        DemoStore.open(path)


def test_a_newer_schema_is_refused(path):
    filled(path, 1)
    zarr.open_group(path, mode="r+").attrs["schema_version"] = 99
    with pytest.raises(StoreError, match=r"schema version 99.*update robolearn"):
        DemoStore.open(path)


def test_nothing_is_overwritten_unasked_and_never_what_is_no_store(path, tmp_path):
    filled(path, 2)
    with pytest.raises(StoreError, match="overwrite=true"):
        DemoStore.create(path, SPEC)
    assert filled(path, 1, overwrite=True).num_episodes == 1
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="is no store"):
        DemoStore.create(precious, SPEC, overwrite=True)
    assert (precious / "thesis.tex").exists()


@pytest.mark.parametrize("name", ["action", "sim_state", "../up", "a/b", ""])
def test_names_that_would_collide_or_climb_are_refused(path, name):
    spec = EnvSpec("toy", {name: ArraySpec((1,))}, SPEC.action, 10.0)
    with pytest.raises(StoreError, match="cannot be stored"):
        DemoStore.create(path, spec)
    assert not path.exists()


def test_reading_imports_neither_torch_nor_a_simulator(path):
    filled(path, 1)
    code = (
        "import sys; from robolearn.datasets.store import DemoStore; from robolearn.datasets.windows import WindowDataset;"
        f"store = DemoStore.open({str(path)!r}); store.episode(0); WindowDataset(store).batch([0]);"
        "print([name for name in ('torch', 'mujoco', 'gymnasium', 'scipy') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_nothing_is_added_where_the_last_file_is_lost_or_damaged(path):
    filled(path, 2)
    file = path / "data" / "action" / "c" / "0" / "0"
    whole = file.read_bytes()
    for broken in (None, whole[:-5] + b"12345"):
        file.unlink() if broken is None else file.write_bytes(broken)
        with DemoStore.open(path, "a") as store, pytest.raises(StoreError, match=r"lacks the file|is damaged"):
            store.append(make_episode(2))
        assert not file.exists() if broken is None else file.read_bytes() == broken
        file.write_bytes(whole)
    store = DemoStore.open(path)
    assert [store.num_episodes, store.check()] == [2, []]


def test_a_store_without_one_of_its_columns_is_damaged(path):
    filled(path, 1)
    shutil.rmtree(path / "episodes" / "digest")
    with pytest.raises(StoreError, match=r"damaged.*episodes/digest"):
        DemoStore.open(path)


def test_a_store_that_takes_the_place_of_one_being_read_is_not_mixed_with_it(tmp_path):
    first, second = (make_episode(number) for number in range(2))
    with DemoStore.create(tmp_path / "demos.zarr", SPEC) as store:
        store.append(first)
    reader = DemoStore.open(tmp_path / "demos.zarr")
    with DemoStore.create(tmp_path / "demos.zarr", SPEC, overwrite=True) as other:
        other.append(second)
    with pytest.raises(StoreError, match=r"demos\.zarr was replaced while it was being read; open it again"):
        reader.array("action")
    with DemoStore.open(tmp_path / "demos.zarr", "a") as same:
        same.append(first)  # appending is no replacement
    assert len(other.array("action")) == len(second)
