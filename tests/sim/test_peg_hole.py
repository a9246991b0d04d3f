"""peg_hole: what fits and what does not, what counts, and that the expert solves it."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_rotvec
from robolearn.sim.experts.peg_hole import PegHoleExpert
from robolearn.sim.starts import draw_starts
from robolearn.sim.tasks.peg_hole import BLOCK, HOLE, PEG, PegHole
from tests.sim.insertions import penetration, play, put_in, start, stay

CLEARANCE = HOLE[1] - PEG[2]  # [m] the smaller one, both sides together
QUARTER = matrix_from_rotvec(np.array([0.0, np.pi / 2, 0.0]))


def turned(degrees):
    return matrix_from_rotvec(np.array([0.0, np.radians(degrees), 0.0]))


def dropped(places):
    """Where pegs end [m] above the seat that are let go at ``(offset [m], degrees about the way in)``, half a millimetre over the hole."""
    env = start("peg_hole", len(places))
    for row, ((x, z), degrees) in enumerate(places):
        put_in(env, row, "peg", "block", np.array([x, BLOCK[1] + 0.0005, z]), turned(degrees))
    for _ in range(8):
        env.step(stay(env))
    return env._view.relative("peg", "block").position[:, 1]


def pressed(down, sideways=0.0):
    """A peg that stands across the hole, pressed for a second with ``down`` [N], the block pushed ``sideways`` [N]; the environment."""
    env = start("peg_hole", 1)
    put_in(env, 0, "peg", "block", np.array([0.0, BLOCK[1], 0.0]), QUARTER)
    force, model = env._engine.view("xfrc_applied"), env._engine.model
    for step in range(12):
        env.step(stay(env))  # the first rests, in the second the press begins: a force out of nothing would throw the peg
        force[0, model.body("peg").id, 2] = -down
        force[0, model.body("block").id, 0] = sideways if step else 0.0
    return env


@pytest.mark.parametrize("level", PegHole.levels)
def test_parts_are_millimetres_apart_at_any_start(level):
    xy = draw_starts(PegHole(), np.arange(2000), level).xy
    reach = np.hypot(PEG[0], PEG[2]) / 2 + np.hypot(BLOCK[0], BLOCK[2]) / 2
    assert np.linalg.norm(xy[:, 0] - xy[:, 1], axis=1).min() > reach + 0.002


@pytest.mark.parametrize("level", PegHole.levels)
def test_nothing_touches_at_a_start_but_the_parts_the_table(level):
    env = start("peg_hole", 100, randomness=level)
    assert max(penetration(env, row) for row in range(100)) < 5e-5


def test_a_peg_over_the_hole_falls_in_and_one_that_is_off_by_more_than_the_clearance_does_not():
    straight, off_x, off_z, twisted = dropped([((0, 0), 0), ((0.0003, 0), 0), ((0, 0.0003), 0), ((0, 0), 2)])
    assert straight < 0.0005
    assert min(off_x, off_z, twisted) > BLOCK[1] - 0.0005


def test_the_seated_peg_stays_and_counts_once():
    env = start("peg_hole", 1)
    put_in(env, 0, "peg", "block", np.zeros(3))
    steps = [env.step(stay(env)) for _ in range(10)]
    assert [reward[0] for _, reward, *_ in steps] == [1.0] + [0.0] * 9
    assert steps[-1][-1]["success"].all()
    np.testing.assert_allclose(env._view.relative("peg", "block").position[0], 0.0, atol=2e-4)


@pytest.mark.parametrize(("height", "counts"), [(0.0045, True), (0.0055, False)])
def test_a_peg_counts_from_four_of_nine_millimetres_on(height, counts):
    env = start("peg_hole", 1)
    put_in(env, 0, "peg", "block", np.array([0.0, height, 0.0]))
    assert env.task.goals()[0].reached(env._view.relative("peg", "block"))[0] == counts


def test_a_peg_the_other_way_round_fits_and_does_not_count():
    env = start("peg_hole", 1)
    put_in(env, 0, "peg", "block", np.zeros(3), QUARTER @ QUARTER)
    *_, info = env.step(stay(env))
    assert abs(env._view.relative("peg", "block").position[0, 1]) < 5e-4
    assert not info["success"].any()


@pytest.mark.parametrize("newton", [10.0, 30.0])
def test_pressed_parts_give_way_by_less_than_a_third_of_the_clearance(newton):
    assert 0.0 < penetration(pressed(newton), 0, ("peg", "block")) < CLEARANCE / 3


def test_a_peg_that_presses_on_the_block_keeps_it_from_sliding():
    before = start("peg_hole", 1)._view.part("block")[0, :2].copy()
    loose, held, strained = (
        np.linalg.norm(pressed(down, sideways)._view.part("block")[0, :2] - before) for down, sideways in ((0, 0.2), (10, 0.2), (10, 1.4))
    )
    assert loose > 0.005  # off the table, which parks the row in the settled scene
    assert max(held, strained) < 1e-4


def test_the_expert_solves_low_starts_and_its_stages_come_in_order():
    solved, stages = play(start("peg_hole", 16), PegHoleExpert(16, variation=1.0), 150)
    assert solved.sum() >= 15
    assert (stages[:, :, 1:-1] <= stages[:, :, :-2]).all()
    assert (stages[1:, :, :-1] >= stages[:-1, :, :-1]).all()
    assert stages[:, :, 3].any(0).sum() >= 15
