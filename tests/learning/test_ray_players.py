"""Ray actors play what this process would have played, to the bit; a killed one costs only what it had not finished."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robolearn import cli
from robolearn.checkpoint import save_checkpoint
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning import evaluation
from robolearn.learning.players import Here, Job, Played, Players
from robolearn.seeding import split_seeds
from tests.fakes import POINT_REACH_SPEC, PointReach, point_reach_normalizer
from tests.learning.two_modes import save_two_modes, verb_config
from tests.policies.small import HORIZON, KEYS, small_mlp

pytest.importorskip("ray", reason="needs the extra ray")
CASTS = "tests.learning.ray_casts"
WORLD = {"_target_": "tests.fakes.PointReach", "max_episode_steps": 25}
EXPERT = {"_target_": "tests.fakes.MoodyExpert"}
POLICY = "robolearn.policies.loading.load_policy"
ROWS, SEEDS = 4, split_seeds("train", 30)


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    """A Ray that the tests share; RayPlayers take the one that runs."""
    from robolearn.learning.ray_players import import_ray

    ray = import_ray("local")
    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level="critical", log_to_driver=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def actors(ray: Any) -> Iterator[Players]:
    from robolearn.learning.ray_players import RayPlayers

    players = RayPlayers(actors=2)
    yield players
    players.close()


def played(players: Players, job: Job, rows: int = ROWS) -> tuple[Played, list[Episode]]:
    episodes: list[Episode] = []
    result = players.play(PointReach(rows, max_episode_steps=25), job, SEEDS, record=episodes.append)
    return result, sorted(episodes, key=lambda episode: int(episode.provenance["seed"]))


def assert_same(one: tuple[Played, list[Episode]], other: tuple[Played, list[Episode]]) -> None:
    for name in ("seeds", "success", "steps", "stages", "rewards"):
        np.testing.assert_array_equal(getattr(one[0].episodes, name), getattr(other[0].episodes, name))
    assert [episode.provenance for episode in one[1]] == [episode.provenance for episode in other[1]]
    for this, that in zip(one[1], other[1], strict=True):
        np.testing.assert_array_equal(this.actions, that.actions)
        np.testing.assert_array_equal(this.sim_state, that.sim_state)


def test_an_experts_episodes_are_those_of_this_process_to_the_bit(actors: Players) -> None:
    job = Job(WORLD, EXPERT, recording=True, record_state=True, provenance={"note": "of a job"}, hold=2)
    one, other = played(Here(), job), played(actors, job)
    assert 5 < one[0].episodes.success.sum() < 25
    assert_same(one, other)


def test_a_networks_episodes_are_those_of_the_same_blocks_in_this_process_to_the_bit(ray: Any, tmp_path: Path) -> None:
    from robolearn.learning.ray_players import RayPlayers

    job = Job(WORLD, {"_target_": POLICY, "checkpoint": str(save_network(tmp_path / "network"))}, recording=True, record_state=True)
    several = RayPlayers(actors=2, block=2 * ROWS)  # rows fall out of step within a block
    assert_same(played(Here(2 * ROWS), job), played(several, job))
    several.close()


def test_a_killed_actor_costs_only_its_unfinished_episodes(actors: Players, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mortal = {"_target_": f"{CASTS}.MortalExpert", "graves": str(tmp_path), "deaths": 1}
    result, episodes = played(actors, Job(WORLD, mortal, recording=True, record_state=True))
    assert len(list(tmp_path.iterdir())) == 1
    assert "an actor died" in capsys.readouterr().err
    assert set(Counter(episode.provenance["seed"] for episode in episodes).values()) == {1}  # none is handed over twice
    assert_same((result, episodes), played(Here(), Job(WORLD, EXPERT, recording=True, record_state=True)))


@pytest.mark.long
def test_an_actor_killed_within_a_block_has_only_its_unfinished_episodes_played_again(ray: Any, tmp_path: Path) -> None:
    """A network's, too, are the same to the bit: whatever is not played again keeps its place beside those that are."""
    from robolearn.learning.ray_players import RayPlayers
    from tests.learning.ray_casts import UnevenReach

    network = {"_target_": POLICY, "checkpoint": str(save_network(tmp_path / "network"))}
    notes, seeds = tmp_path / "notes", SEEDS[: 3 * ROWS]
    notes.mkdir()
    world = {"_target_": f"{CASTS}.MortalReach", "notes": str(notes), "step": 31}
    players, got = RayPlayers(actors=1, block=3 * ROWS), list[Episode]()

    def take(episode: Episode) -> None:
        got.append(episode)
        (notes / f"{episode.provenance['seed']}.got").touch()

    job = Job(world, network, recording=True, record_state=True)
    result = players.play(UnevenReach(ROWS), job, seeds, record=take)
    players.close()
    over = set(json.loads((notes / "over.json").read_text()))
    dead, heir = sorted(notes.glob("*.steps"), key=lambda path: path.stat().st_mtime)
    assert ROWS < len(over) < 2 * ROWS  # its rows were in their first, second and third episodes
    assert over < seeds_of(dead)
    assert seeds_of(heir) == set(seeds.tolist()) - over
    whole: list[Episode] = []
    expected = Here().play(UnevenReach(ROWS), job, seeds, record=whole.append)
    by_seed = [sorted(episodes, key=lambda episode: int(episode.provenance["seed"])) for episodes in (got, whole)]
    assert_same((result, by_seed[0]), (expected, by_seed[1]))


def save_network(folder: Path) -> Path:
    """A checkpoint of a small network, whose last bits depend on which rows it serves together."""
    model = small_mlp(sizes=(64, 64))
    config: dict[str, Any] = {
        "_target_": "robolearn.policies.mlp.MlpPolicy",
        "observation_keys": list(KEYS),
        "prediction_horizon": HORIZON,
        "sizes": [64, 64],
        "precision": "float32",
    }
    tensors = {"model": model.state_dict()}
    save_checkpoint(folder, 1, config=config, env_spec=POINT_REACH_SPEC, normalizer=point_reach_normalizer(), tensors=tensors)
    return folder


def seeds_of(steps: Path) -> set[int]:
    return {int(line) for line in steps.read_text().split()}


@pytest.mark.long
def test_what_kills_every_actor_is_given_up(actors: Players, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("robolearn.learning.ray_players.DEATHS", 2)
    deadly = {"_target_": f"{CASTS}.MortalExpert", "graves": str(tmp_path), "deaths": 100}
    with pytest.raises(UserError, match="2 actors died of the same episodes"):
        played(actors, Job(WORLD, deadly))


def test_a_users_mistake_is_the_same_line_as_in_this_process(actors: Players) -> None:
    with pytest.raises(UserError, match="NaN or infinite in the episode of seed"):
        played(actors, Job(WORLD, {"_target_": f"{CASTS}.LostExpert"}))
    assert played(actors, Job(WORLD, EXPERT))[0].episodes.success.any()  # actors are there for the next job


def test_evaluate_counts_the_same_on_actors(ray: Any, tmp_path: Path) -> None:
    save_two_modes(tmp_path / "base")
    arms = [{"name": "base", "checkpoint": f"{tmp_path}/base"}]
    scales: dict[str, dict[str, Any]] = {
        "none": {"_target_": "robolearn.learning.players.Here", "block": 8},
        "ray": {"_target_": "robolearn.learning.ray_players.RayPlayers"},
    }
    for name, scale in scales.items():
        config = verb_config("evaluate", arms=arms, out=str(tmp_path / name), n=37, num_envs=8, videos=0, runs=[], scale=scale)
        assert evaluation.main(config) == 0
    assert (tmp_path / "none" / "episodes.csv").read_text() == (tmp_path / "ray" / "episodes.csv").read_text()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ray") / "expert.zarr"
    assert cli.main(["collect", "episodes=2", "num_envs=2", f"store={path}"]) == 0
    return path


@pytest.mark.long
def test_snippets_are_those_of_this_process_to_the_bit(ray: Any, demos: Path, tmp_path: Path) -> None:
    words = [f"store={demos}", "snippets=6", "num_envs=8", "max_attempts=16", "backward.distance=[0.05,0.1]", "backward.rotation_deg=20"]
    for name in ("none", "ray"):
        assert cli.main(["augment", "backward", *words, f"out={tmp_path / name}.zarr", f"scale={name}"]) == 0
    with DemoStore.open(tmp_path / "none.zarr") as one, DemoStore.open(tmp_path / "ray.zarr") as other:
        assert one.fingerprint() == other.fingerprint()
        for name in ("action", "sim_state"):
            np.testing.assert_array_equal(one.array(name), other.array(name))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["scale=rai"], "no scale 'rai'; there are none, ray; did you mean 'ray'?"),
        (["scale=ray", "scale.actros=2"], "did you mean 'actors'?"),
        (["scale=ray", "scale.actors=0"], "scale.actors must be at least 1, got 0"),
        (["scale=ray", "scale.actors=9"], "scale.actors wants 9 CPUs in all"),
        (["scale=ray", "scale.block=0"], "at least 1; got 0"),
    ],
)
def test_a_bad_scale_is_one_line(ray: Any, words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["collect", f"store={tmp_path}/never.zarr", *words]) in (1, 2)
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


def test_without_ray_the_extra_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["collect", f"store={tmp_path}/never.zarr", "scale=ray"]) == 1
    assert "pip install 'robolearn[ray]'" in capsys.readouterr().err


@pytest.mark.long
def test_collect_starts_a_ray_of_its_own_and_stores_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["collect", "episodes=3", "num_envs=2", "json=true"]
    assert cli.main([*words, f"store={tmp_path}/here.zarr"]) == 0
    command = [sys.executable, "-c", "import sys; from robolearn.cli import main; sys.exit(main(sys.argv[1:]))", *words]
    done = subprocess.run([*command, f"store={tmp_path}/there.zarr", "scale=ray"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    outcomes = [json.loads(text) for text in (capsys.readouterr().out, done.stdout)]  # and nothing else is on stdout
    assert [{**outcome, "store": ""} for outcome in outcomes] == 2 * [{**outcomes[0], "store": ""}]
    with DemoStore.open(tmp_path / "here.zarr") as one, DemoStore.open(tmp_path / "there.zarr") as other:
        assert one.fingerprint() == other.fingerprint()
        np.testing.assert_array_equal(one.array("sim_state"), other.array("sim_state"))
