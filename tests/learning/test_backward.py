"""Backward augmentation: paths as the paper draws them, actions that reach the next pose, snippets verified against their demonstration."""

import json

import numpy as np
import pytest

from robolearn import cli
from robolearn.datasets.store import DemoStore
from robolearn.episode import Episode
from robolearn.errors import UserError
from robolearn.learning.augment_backward import Balance
from robolearn.learning.backward import ACCEPTED, REASONS, Attempt, Backward, play
from robolearn.learning.bottlenecks import MARKED, check_step, find_bottlenecks
from robolearn.learning.paths import action_towards, draw_paths, turned_round
from robolearn.learning.replay import replay
from robolearn.rotation import matrix_from_rotvec, rotvec_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly

SEEDS = split_seeds("train", 200)
NEAR = Backward(distance=(0.05, 0.1), rotation_deg=20.0)


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    """Three demonstrations of the expert."""
    path = tmp_path_factory.mktemp("demos") / "expert.zarr"
    assert cli.main(["collect", "task=one_leg", "episodes=3", "num_envs=4", f"store={path}"]) == 0
    return path


@pytest.fixture(scope="module")
def worlds():
    env = Assembly("one_leg", 16, threads=1)
    yield env
    env.close()


@pytest.fixture(scope="module")
def bottlenecks(demos, worlds):
    episodes = list(DemoStore.open(demos))
    return episodes, find_bottlenecks(worlds, episodes, ["inserted"], before=8)


def test_a_path_goes_up_then_straight_within_the_cone_then_turns():
    settings = Backward()
    path = draw_paths(settings, np.zeros((200, 3)), np.tile(np.eye(3), (200, 1, 1)), SEEDS)
    steps = np.diff(path.position, axis=1, prepend=np.zeros((200, 1, 3)))  # (N, L, 3)
    assert np.linalg.norm(steps, axis=2).max() <= settings.step + 1e-9
    for row in range(200):
        end = path.position[row, path.length[row] - 1]
        up = int(np.sum((np.abs(steps[row, :, :2]).max(1) < 1e-12) & (steps[row, :, 2] > 0)))
        way = end - [0, 0, up * settings.step]
        assert up <= 9
        assert 0.2 - 1e-9 <= np.linalg.norm(way) <= 0.5 + 1e-9
        assert 5 - 1e-6 <= np.degrees(np.arccos(way[2] / np.linalg.norm(way))) <= 80 + 1e-6
    turns = rotvec_from_matrix(path.rotation[:, 1:] @ path.rotation[:, :-1].transpose(0, 1, 3, 2))
    assert np.degrees(np.linalg.norm(turns, axis=2)).max() <= settings.rotation_step_deg + 1e-6
    assert np.degrees(np.linalg.norm(turns.sum(1), axis=1)).max() > 90  # a roll, pitch and yaw of up to half a turn


def test_the_same_seed_draws_the_same_path_beside_any_others():
    pose = np.zeros((5, 3)), np.tile(np.eye(3), (5, 1, 1))
    together = draw_paths(Backward(), *pose, SEEDS[:5])
    alone = draw_paths(Backward(), pose[0][:1], pose[1][:1], SEEDS[3:4])
    length = int(alone.length[0])
    assert length == together.length[3]
    np.testing.assert_array_equal(alone.position[0, :length], together.position[3, :length])


def test_a_way_back_begins_where_the_tool_moves_however_slow_the_whole_way_is():
    still = np.tile(np.eye(3), (6, 1, 1))

    def begins(*paces):
        return turned_round(Backward(), np.cumsum([0.0, *paces])[:, None] * np.array([Backward().step, 0, 0]), still)

    assert begins(0.1, 0.4, 0.6, 1, 1) == 2
    assert begins(0, 0.1, 0.2, 0.3, 0.3) == 2  # a way that is never at half the pace of the settings is kept, too
    assert begins(0, 0, 0, 0, 0) == 0
    turning = matrix_from_rotvec(np.radians([0.0, 1, 7, 14, 21, 28])[:, None] * np.array([0, 0, 1]))
    assert turned_round(Backward(), np.zeros((6, 3)), turning) == 1


def test_a_recomputed_action_takes_the_tool_to_the_next_pose(worlds):
    observation, _ = worlds.reset(seed=SEEDS[:16].tolist())
    goal = observation["tcp_pos"] + np.array([0.01, -0.005, 0.01])
    from robolearn.rotation import matrix_from_rot6d

    hand = matrix_from_rot6d(observation["tcp_rot6d"].astype(float))
    facing = matrix_from_rotvec(np.tile([0.0, 0.0, np.radians(7.5)], (16, 1))) @ hand
    for _ in range(4):  # from rest, the servo gets up to speed first
        action = action_towards(observation, goal, facing, np.full(16, -1.0), Backward().response)
        observation, *_ = worlds.step(action)
    np.testing.assert_allclose(observation["tcp_pos"], goal, atol=0.002)


def test_bottlenecks_lie_before_the_stage_and_hand_marks_come_first(demos, worlds, bottlenecks):
    episodes, found = bottlenecks
    reached = replay(worlds, episodes, hold=0).reached[:, worlds.env_spec.stages.index("inserted")]
    assert found == [[int(step) - 9] for step in reached]
    from dataclasses import replace

    marked = replace(episodes[0], provenance={**episodes[0].provenance, MARKED: [7, 3]})
    assert find_bottlenecks(worlds, [marked], ["inserted"], before=8) == [[3, 7]]
    wrong = replace(episodes[0], provenance={MARKED: [10_000]})
    with pytest.raises(UserError, match="expected a list of steps from 0 to"):
        find_bottlenecks(worlds, [wrong], ["inserted"], before=8)
    with pytest.raises(UserError, match="did you mean 'inserted'"):
        find_bottlenecks(worlds, episodes, ["insertet"], before=8)


def test_a_snippet_is_judged_some_steps_after_the_next_toggle_or_at_the_end():
    grip = np.array([1, 1, 1, 1, -1, -1, 1], np.float32)
    actions = np.concatenate([np.zeros((7, 9), np.float32), grip[:, None]], 1)
    episode = Episode({}, actions, np.zeros(7, np.float32), True, False, True)
    assert check_step(episode, 1, settle=1) == 5  # toggles at 4
    assert check_step(episode, 1, settle=30) == 6
    assert check_step(episode, 6, settle=1) == 6


def test_accepted_snippets_arrive_where_the_demonstration_was(worlds, bottlenecks):
    episodes, found = bottlenecks
    start = found[0][0]
    check = check_step(episodes[0], start, NEAR.settle)
    attempts = [Attempt(episodes[0], start, check, int(seed)) for seed in SEEDS[:16]]
    snippets, outcomes = play(worlds, attempts, NEAR, {"source": "augmentation"})
    assert len(outcomes) == 16
    assert set(outcomes) <= set(REASONS)
    assert len(snippets) == outcomes.count(ACCEPTED) >= 4
    begins = [np.linalg.norm(snippet.observations["tcp_pos"][0] - episodes[0].observations["tcp_pos"][start]) for snippet in snippets]
    assert min(begins) > 0.03
    for snippet in snippets:
        snippet.check(worlds.env_spec)
        back = np.linalg.norm(snippet.observations["tcp_pos"] - episodes[0].observations["tcp_pos"][start], axis=1)
        assert back.min() < 0.01
    # Played again from its first state, a snippet does the same, and ends where the demonstration was.
    again = Assembly("one_leg", 1, threads=1)
    again.reset(seed=[0])
    again.set_state(snippets[0].sim_state[:1])
    for step, action in enumerate(snippets[0].actions):
        np.testing.assert_allclose(again.observation()["tcp_pos"][0], snippets[0].observations["tcp_pos"][step], atol=1e-3)
        again.step(action[None])
    parts = again.observation()["parts_poses"][0].reshape(-1, 9)[:, :3]
    there = episodes[0].observations["parts_poses"][check].reshape(-1, 9)[:, :3]
    assert np.linalg.norm(parts - there, axis=1).max() <= NEAR.part_m


def test_a_snippet_whose_parts_end_elsewhere_is_rejected(worlds, bottlenecks):
    episodes, found = bottlenecks
    start = found[0][0]
    attempts = [Attempt(episodes[0], start, start + 3, int(seed)) for seed in SEEDS[:16]]
    strict = Backward(distance=(0.05, 0.1), rotation_deg=20.0, part_m=1e-7)
    snippets, outcomes = play(worlds, attempts, strict, {})
    assert snippets == []
    assert ACCEPTED not in outcomes


def test_states_that_were_augmented_less_are_chosen_more_often():
    balance = Balance([(0, 5), (1, 6)])
    balance.counts[:] = (9, 0)
    chosen = balance.choose(split_seeds("train", 4000))
    assert 0.05 < np.mean(chosen == 0) < 0.14  # 1 / 11


def test_the_command_fills_a_store_and_goes_on_with_it(demos, tmp_path, capsys):
    out = tmp_path / "snippets.zarr"
    words = [
        "augment",
        "backward",
        f"store={demos}",
        f"out={out}",
        "num_envs=4",
        "backward.distance=[0.05,0.1]",
        "backward.rotation_deg=20",
    ]
    assert cli.main([*words, "snippets=3", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["attempts"] == sum(facts["outcomes"].values())
    store = DemoStore.open(out)
    assert store.num_episodes == 3
    assert store.provenance(0)["parent_store"] == DemoStore.open(demos).fingerprint()
    assert {"parent", "parent_step", "seed", "judged_at"} <= set(store.provenance(0))
    assert cli.main([*words, "snippets=5"]) == 1
    assert "resume=true" in capsys.readouterr().err
    assert cli.main([*words, "snippets=5", "resume=true", "backward.rotation_deg=30", "backward.grip_m=0.004"]) == 1
    assert "made without backward.grip_m, with backward.rotation_deg=20; go on with the same" in capsys.readouterr().err
    assert cli.main([*words, "snippets=5", "resume=true"]) == 0
    seeds = [DemoStore.open(out).provenance(index)["seed"] for index in range(5)]
    assert sorted(set(seeds)) == seeds


def test_parts_that_cannot_be_moved_are_said_before_a_store_is_made(demos, tmp_path, capsys, monkeypatch):
    monkeypatch.delattr(Assembly, "mover")
    out = tmp_path / "out.zarr"
    assert cli.main(["augment", "backward", f"store={demos}", f"out={out}", "num_envs=4", "backward.grip_m=0.006"]) == 1
    assert "move parts, which task 'one_leg' cannot" in capsys.readouterr().err
    assert not out.exists()


def test_demonstrations_without_simulator_states_are_refused(tmp_path, demos, capsys):
    store = DemoStore.open(demos)
    from dataclasses import replace

    with DemoStore.create(tmp_path / "bare.zarr", store.env_spec) as bare:
        bare.append(replace(store.episode(0), sim_state=None))
    assert cli.main(["augment", "backward", f"store={tmp_path / 'bare.zarr'}", f"out={tmp_path / 'out.zarr'}"]) == 1
    assert "no simulator states" in capsys.readouterr().err
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"distance": [0.2]}, "backward.distance takes the smallest and the largest"),
        ({"distance": [0.2, 0.05]}, "backward.distance takes the smallest and the largest"),
        ({"rotation_deg": -5}, "rotation_deg must be from 0 to 180"),
        ({"step": 0}, "step must be above 0"),
    ],
)
def test_a_way_that_cannot_be_is_refused(settings, says):
    with pytest.raises(UserError, match=says):
        Backward(**settings)
