"""Other grips and other places: parts are shifted, the hand goes accordingly, and the parts do what they did."""

from dataclasses import replace

import numpy as np
import pytest

from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.errors import UserError
from robolearn.learning.backward import ACCEPTED, Attempt, Backward, play
from robolearn.learning.bottlenecks import check_step, find_bottlenecks
from robolearn.learning.collect import main as collect
from robolearn.learning.grips import Grips, part_in_hand, share_after
from robolearn.learning.places import Places
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rotvec_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly

SEEDS = split_seeds("train", 32)
SHIFTED = Backward(distance=(0.02, 0.06), rotation_deg=10.0, up_steps=(0, 2), grip_m=0.006, grip_deg=5.0)
TOP, LEG, FENCE = 0, 4, 5  # places in one_leg's parts_poses: the leg that is wanted


@pytest.fixture(scope="module")
def demos(tmp_path_factory):
    path = tmp_path_factory.mktemp("demos") / "expert.zarr"
    assert collect(compose("collect", ["task=one_leg", "episodes=3", "num_envs=4", f"store={path}"])) == 0
    return list(DemoStore.open(path))


@pytest.fixture(scope="module")
def worlds():
    env = Assembly("one_leg", 32, threads=1)
    yield env
    env.close()


@pytest.fixture(scope="module")
def insertions(demos, worlds):
    """Steps of each demonstration from which its leg is inserted."""
    return find_bottlenecks(worlds, demos, ["inserted"], 8)


@pytest.fixture(scope="module")
def shifted(demos, worlds, insertions):
    """Where the leg's insertion begins; snippets that hold the leg elsewhere; what came of each attempt."""
    start = insertions[0][0]
    attempts = [Attempt(demos[0], start, check_step(demos[0], start, SHIFTED.settle), int(seed)) for seed in SEEDS]
    return start, *play(worlds, attempts, SHIFTED, {})


def in_hand(episode, step=0):
    """Where the leg is in the hand's frame, 3 [m]."""
    seen = {name: np.asarray(values[step], float) for name, values in episode.observations.items()}
    part = seen["parts_poses"].reshape(-1, 9)[LEG, :3]
    return matrix_from_rot6d(seen["tcp_rot6d"]).T @ (part - seen["tcp_pos"])


def test_the_hand_makes_up_for_the_shift_of_the_part_it_holds():
    rng = np.random.default_rng(0)
    turns = [matrix_from_rotvec(rng.normal(size=(32, 3))) for _ in range(3)]
    hand, later, part = ((rng.normal(size=(32, 3)), turn) for turn in turns)
    grips = Grips.draw(0.01, 10.0, SEEDS)
    moved = grips.shifted(*part, *hand)
    gone = grips.hand(*later, np.ones(32))

    def carried(pose, to):
        """Where a pose is once the hand it is held by has gone from `hand` to `to`."""
        turn = to[1] @ hand[1].transpose(0, 2, 1)
        return to[0] + (turn @ (pose[0] - hand[0])[..., None])[..., 0], turn @ pose[1]

    for shifted, unshifted in zip(carried(moved, gone), carried(part, later), strict=True):
        np.testing.assert_allclose(shifted, unshifted, atol=1e-12)
    assert np.linalg.norm(moved[0] - part[0], axis=1).max() > 0.005


def test_shifts_lie_along_the_pads_and_turns_about_their_normal():
    grips = Grips.draw(0.006, 5.0, split_seeds("train", 500))
    assert not grips.position[:, 1].any()
    assert not grips.rotvec[:, [0, 2]].any()
    assert 0.0055 < np.abs(grips.position).max() <= 0.006
    assert 4.5 < np.degrees(np.abs(grips.rotvec).max()) <= 5


def test_the_part_in_hand_is_the_one_that_goes_along(demos, worlds, insertions):
    for episode, insertion, grasp in zip(demos, insertions, find_bottlenecks(worlds, demos, ["grasped"], 8), strict=True):
        assert part_in_hand(episode, insertion[0]) == LEG
        assert part_in_hand(episode, grasp[0]) is None


def test_a_part_that_the_empty_closed_hand_pushes_is_not_in_it(demos):
    for episode in demos:
        empty = np.flatnonzero(episode.observations["gripper_width"][:, 0] < 0.0075)  # the push of the top
        assert len(empty) > 20
        assert {part_in_hand(episode, int(step)) for step in empty} == {None}


def test_the_shift_ends_once_the_gripper_has_opened():
    actions = np.zeros((20, 10))
    actions[:, -1] = np.where(np.arange(20) < 6, 1.0, -1.0)
    share = share_after(actions)
    assert (share[:9] == 1).all()
    assert (np.diff(share) <= 0).all()
    assert share[-1] == 0


def test_snippets_hold_the_leg_elsewhere_and_insert_it_all_the_same(demos, shifted):
    start, snippets, outcomes = shifted
    shifts = np.array([in_hand(snippet) for snippet in snippets]) - in_hand(demos[0], start)
    assert outcomes.count(ACCEPTED) >= 8
    assert np.abs(shifts[:, [0, 2]]).max(0).min() > 0.003  # both ways along the pads


def test_no_snippet_begins_by_standing_still(shifted):
    _, snippets, _ = shifted
    assert snippets
    for snippet in snippets:
        position, rotation = snippet.observations["tcp_pos"], matrix_from_rot6d(snippet.observations["tcp_rot6d"].astype(float))
        turn = np.linalg.norm(rotvec_from_matrix(rotation[1] @ rotation[0].T))
        assert np.linalg.norm(position[1] - position[0]) > SHIFTED.step / 2 or np.degrees(turn) > SHIFTED.rotation_step_deg / 2


def test_everything_moved_together_keeps_its_place_to_each_other():
    rng = np.random.default_rng(1)
    position, rotation = rng.normal(size=(32, 3, 3)), matrix_from_rotvec(rng.normal(size=(32, 3, 3)))
    places = Places.draw((-0.02, 0.0), (0.01, 0.06), 6.0, rng.normal(size=(32, 2)), SEEDS)
    moved, turned = places.moved(position, rotation)
    seen = [np.einsum("nji,nj->ni", turn[:, 0], at[:, 1] - at[:, 0]) for at, turn in ((position, rotation), (moved, turned))]
    np.testing.assert_allclose(seen[0], seen[1], atol=1e-12)
    np.testing.assert_allclose(moved[..., 2], position[..., 2], atol=1e-12)  # nothing rises
    pivot = np.concatenate([places.pivot, np.zeros((32, 1))], 1)
    gone = places.moved(pivot, np.tile(np.eye(3), (32, 1, 1)))[0] - pivot
    assert (gone[:, 0] >= -0.02).all()
    assert (gone[:, 0] <= 0).all()
    assert (gone[:, 1] >= 0.01).all()
    assert (gone[:, 1] <= 0.06).all()


def test_snippets_insert_where_the_top_was_nudged_to(demos, worlds, insertions):
    nudged = replace(SHIFTED, place_x=(-0.02, 0.0), place_y=(-0.06, -0.02), place_deg=6.0, part_m=0.01, part_deg=8.0)
    start = insertions[0][0]
    attempts = [Attempt(demos[0], start, check_step(demos[0], start, nudged.settle), int(seed)) for seed in SEEDS]
    snippets, outcomes = play(worlds, attempts, nudged, {})
    assert outcomes.count(ACCEPTED) >= 6

    def place(episode, part, step):
        return np.asarray(episode.observations["parts_poses"][step]).reshape(-1, 9)[part, :3]

    for snippet in snippets:
        assert -0.09 < place(snippet, TOP, 0)[1] - place(demos[0], TOP, start)[1] < -0.01
        np.testing.assert_allclose(place(snippet, FENCE, 0), place(demos[0], FENCE, start), atol=1e-6)
        # At its end the leg is as deep in the top as the demonstration's.
        check = attempts[0].check
        depth = [place(episode, LEG, step)[2] - place(episode, TOP, step)[2] for episode, step in ((snippet, -1), (demos[0], check))]
        assert abs(depth[0] - depth[1]) < 0.006


def test_a_shift_that_cannot_be_is_refused(demos, worlds):
    with pytest.raises(UserError, match="grip_m must be"):
        Backward(grip_m=-0.01)
    with pytest.raises(UserError, match=r"backward\.place_y takes the smallest and the largest, such as place_y=\[-1,0\]"):
        Backward(place_y=(0.01, -0.01))
    with pytest.raises(UserError, match="grip_deg must be from 0 to 180, got inf"):
        Backward(grip_deg=float("inf"))

    class Fixed:
        num_envs, env_spec = worlds.num_envs, worlds.env_spec
        reset, set_state, observation = worlds.reset, worlds.set_state, worlds.observation

    with pytest.raises(UserError, match="move parts, which task 'one_leg' cannot: set them to 0"):
        play(Fixed(), [Attempt(demos[0], 50, 60, 0)], SHIFTED, {})
