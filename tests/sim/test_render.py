"""Pictures: they show the scene, they show its changes, and drawing adds nothing to the state."""

import mujoco
import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.meshes import read_mesh, thin
from robolearn.sim.scene import build_model
from robolearn.sim.tasks.one_leg import OneLeg
from tests.sim.worlds import expert_steps, start


@pytest.fixture(scope="module")
def renderer():
    from robolearn.sim.render import SceneRenderer

    try:
        renderer = SceneRenderer(build_model(OneLeg(), visual=True))
    except Exception as error:  # OpenGL bindings raise whatever they like
        pytest.skip(f"this machine draws no pictures: {error}")
    yield renderer
    renderer.close()


def test_the_visual_scene_has_the_same_state_and_the_same_physics():
    plain, visual = (build_model(OneLeg(), visual=visual) for visual in (False, True))
    assert (visual.nq, visual.nv, visual.nu) == (plain.nq, plain.nv, plain.nu)
    assert visual.ngeom > plain.ngeom
    data = [mujoco.MjData(model) for model in (plain, visual)]
    for model, each in zip((plain, visual), data, strict=True):
        each.ctrl[:7] = (0.5, 0.0, 0.2, 0.0, 1.0, 0.0, 0.0)
        mujoco.mj_step(model, each, 40)
    np.testing.assert_array_equal(data[0].qpos, data[1].qpos)


def test_a_picture_shows_the_scene_and_follows_it(renderer):
    env, observation = start(1)
    env._renderer = renderer  # one OpenGL context for this file
    first = env.render(0)
    assert (first.shape, first.dtype) == ((240, 320, 3), np.uint8)
    assert first.std() > 20
    assert first.mean() > 120  # a light picture
    orange = (first[..., 0] > 150) & (first[..., 1] < 120) & (first[..., 2] < 80)
    assert orange.sum() > 50  # the leg that is to be screwed in
    np.testing.assert_array_equal(env.render(0), first)
    for _ in expert_steps(env, observation, 15):
        pass
    changed = np.abs(env.render(0).astype(int) - first).max(2) > 20
    assert changed.mean() > 0.02


def test_drawing_does_not_touch_the_state(renderer):
    env, observation = start(2)
    env._renderer = renderer
    for _ in expert_steps(env, observation, 5):
        pass
    before = env.get_state()
    env.render(1)
    np.testing.assert_array_equal(env.get_state(), before)


def test_a_picture_beyond_the_frame_buffer_is_an_error():
    from robolearn.sim.render import SceneRenderer

    with pytest.raises(UserError, match="the largest is 640 x 480"):
        SceneRenderer(build_model(OneLeg(), visual=True), 1920, 1080)


def test_thinning_merges_what_is_near_and_keeps_the_shape():
    theta, z = np.meshgrid(np.linspace(0, 2 * np.pi, 60, endpoint=False), np.linspace(0, 0.2, 40), indexing="ij")
    vertices = np.stack([0.05 * np.cos(theta), 0.05 * np.sin(theta), z], -1).reshape(-1, 3)
    i, j = (grid.ravel() for grid in np.meshgrid(np.arange(60), np.arange(39), indexing="ij"))
    a, b = i * 40 + j, (i + 1) % 60 * 40 + j
    triangles = np.concatenate([np.stack([a, b, a + 1], 1), np.stack([b, b + 1, a + 1], 1)])
    fewer, faces = thin(vertices, triangles, 0.01)
    assert len(faces) < len(triangles) / 2
    assert faces.max() == len(fewer) - 1
    radius = np.linalg.norm(fewer[:, :2], axis=1)
    np.testing.assert_allclose(radius, 0.05, atol=0.001)
    sides = fewer[faces[:, 1:]] - fewer[faces[:, :1]]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1).sum() / 2
    assert area == pytest.approx(2 * np.pi * 0.05 * 0.2, rel=0.1)


def test_obj_and_stl_are_read(tmp_path):
    obj = tmp_path / "square.obj"
    obj.write_text("# a square\nv 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvn 0 0 1\nf 1//1 2//1 3//1 4//1\n")
    vertices, triangles = read_mesh(obj)
    assert vertices.shape == (4, 3)
    np.testing.assert_array_equal(triangles, [[0, 1, 2], [0, 2, 3]])
    record = np.zeros(2, np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")]))
    record["corners"] = vertices[triangles]
    stl = tmp_path / "square.stl"
    stl.write_bytes(bytes(80) + np.uint32(2).tobytes() + record.tobytes())
    corners, faces = read_mesh(stl)
    np.testing.assert_allclose(corners[faces], vertices[triangles])
