"""Looks that are drawn: within ResiP's ranges, of a seed whatever else is drawn, and nothing where nothing is asked for."""

import numpy as np
import pytest

from robolearn.rotation import matrix_from_quaternion, rotvec_from_matrix
from robolearn.sim.appearance import Appearance
from robolearn.sim.catalog import find_task
from robolearn.sim.randomize import LooksRanges, find_ranges
from robolearn.sim.scene import build_model

SEEDS = np.arange(400)


@pytest.fixture(scope="module")
def scene():
    return build_model(find_task("one_leg"), visual=True, quality="fast")


def draw(scene, ranges, seeds=SEEDS):
    return Appearance(scene, find_task("one_leg").parts, ranges).draw(seeds)


def test_no_ranges_leave_the_scene_as_it_is(scene):
    for name, values in draw(scene, LooksRanges(), SEEDS[:2]).items():
        if not name.startswith("headlight"):
            np.testing.assert_allclose(values[1], getattr(scene, name), atol=1e-7, err_msg=name)


def test_cameras_are_off_by_resips_deviations(scene):
    looks = draw(scene, find_ranges("resip").looks)
    for name, metres, degrees in (("front", 0.0025, 0.5), ("wrist", 0.00075, 0.25)):
        camera = scene.cam(name).id
        away = looks["cam_pos"][:, camera] - scene.cam_pos[camera]
        turned = matrix_from_quaternion(scene.cam_quat[camera]).T @ matrix_from_quaternion(looks["cam_quat"][:, camera])
        np.testing.assert_allclose(away.std(0), metres, rtol=0.15)
        np.testing.assert_allclose(np.degrees(rotvec_from_matrix(turned)).std(0), degrees, rtol=0.15)
    np.testing.assert_array_equal(looks["cam_pos"][0, scene.cam("overview").id], scene.cam_pos[scene.cam("overview").id])


def test_parts_are_white_or_black_alike_or_each_its_own(scene):
    colors = draw(scene, find_ranges("resip").looks)["geom_rgba"][:, [scene.geom("leg1_bar").id, scene.geom("leg4_bar").id], :3]
    white = (colors >= np.array([0.984, 0.889, 0.843]) - 1e-6).all((1, 2))
    black = (colors <= 0.02 + 1e-6).all((1, 2))
    assert (white ^ black).all()
    assert white.mean() == pytest.approx(0.5, abs=0.1)
    alike = (colors[white, 0] == colors[white, 1]).all(1)
    assert alike.mean() == pytest.approx(0.5, abs=0.12)


def test_the_light_is_within_its_range_and_the_table_near_its_colour(scene):
    looks = draw(scene, find_ranges("resip").looks)
    factor = looks["headlight_diffuse"] / scene.vis.headlight.diffuse
    low, high = 0.55 * np.array([0.789, 0.715, 0.622]), 1.45
    assert (factor >= low - 1e-6).all() and (factor <= high + 1e-6).all()
    assert np.ptp(factor[:, 0]) > 0.7
    table = looks["geom_rgba"][:, scene.geom("table").id, :3] - scene.geom_rgba[scene.geom("table").id, :3]
    np.testing.assert_allclose(table.std(0), 0.01, rtol=0.15)


def test_what_one_range_draws_does_not_depend_on_another(scene):
    both = draw(scene, LooksRanges(camera_position={"front": 0.01}, table_color=0.1), SEEDS[:3])
    one = draw(scene, LooksRanges(camera_position={"front": 0.01}), SEEDS[:3])
    np.testing.assert_array_equal(both["cam_pos"], one["cam_pos"])
    np.testing.assert_array_equal(draw(scene, LooksRanges(table_color=0.1), SEEDS[2:3])["geom_rgba"][0], both["geom_rgba"][2])


def test_distractors_lie_on_the_table_beside_the_parts(scene):
    looks = draw(scene, LooksRanges(distractors=6))
    things = [scene.geom(f"distractor{index}").id for index in range(6)]
    shown = looks["geom_group"][:, things] == 0
    assert set(shown.sum(1)) == set(range(7))
    position = looks["geom_pos"][:, things]
    assert (np.abs(position[..., 1]) > 0.2).all() and (position[..., 0] < 0.23).all() and (position[..., 2] > 0).all()
