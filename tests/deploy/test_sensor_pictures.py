"""A camera's pictures are cut, shrunk and turned to the colours a policy knows, and a camera that stands still is told."""

import io

import numpy as np
import pytest

from robolearn.deploy.sensors.feeds import SensorError
from robolearn.deploy.sensors.pictures import same_bytes, shrink
from robolearn.deploy.sensors.sources import COMPRESSED, CameraSource
from robolearn.spec import ArraySpec
from tests.deploy.sensor_fakes import NANO, World, planar_robot


def world_of(shape=(4, 6, 3), **options):
    robot = planar_robot(cameras={"front": CameraSource("/camera", shape, **options)})
    return World(robot, {"front": ArraySpec(tuple(shape), "uint8")})


def noise(height, width, channels=3, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(
    ("encoding", "order"), [("rgb8", (0, 1, 2)), ("bgr8", (2, 1, 0)), ("rgba8", (0, 1, 2)), ("bgra8", (2, 1, 0)), ("mono8", (0, 0, 0))]
)
def test_colours_come_in_the_order_that_policies_know(encoding, order):
    pixels = noise(4, 6, {"mono8": 1, "rgba8": 4, "bgra8": 4}.get(encoding, 3))
    with world_of() as world:
        world.picture(pixels, encoding=encoding)
        np.testing.assert_array_equal(world.observe()["front"], pixels[:, :, list(order)])


def test_a_policy_that_sees_grey_gets_the_brightness_of_colours():
    with world_of((4, 6, 1)) as world:
        pixels = noise(4, 6)
        world.picture(pixels)
        np.testing.assert_allclose(world.observe()["front"][:, :, 0], pixels @ (0.299, 0.587, 0.114), atol=0.51)


def test_rows_with_padding_are_read_without_it():
    with world_of() as world:
        pixels = noise(4, 6)
        padded = np.concatenate([pixels.reshape(4, 18), np.full((4, 5), 255, np.uint8)], 1)
        world.say("/camera", "sensor_msgs/msg/Image", height=4, width=6, encoding="rgb8", step=23, data=padded.ravel())
        assert world.sensors.settle()
        np.testing.assert_array_equal(world.observe()["front"], pixels)


def test_the_middle_with_the_policys_proportions_is_kept():
    pixels = noise(8, 20)
    with world_of((4, 6, 3)) as world:  # 8 x 12 of 8 x 20
        world.picture(pixels)
        means = pixels[:, 4:16].reshape(4, 2, 6, 2, 3).mean((1, 3))
        np.testing.assert_allclose(world.observe()["front"], means, atol=0.51)


def test_a_crop_is_kept_where_one_is_given():
    pixels = noise(20, 30)
    with world_of((4, 6, 3), crop=(5, 2, 6, 4)) as world:
        world.picture(pixels)
        np.testing.assert_array_equal(world.observe()["front"], pixels[2:6, 5:11])


def test_a_picture_too_small_for_its_crop_is_dropped_and_said():
    with world_of((4, 6, 3), crop=(5, 2, 6, 4)) as world:
        world.picture(noise(5, 30))
        assert world.sensors.counts()["front"]["malformed"] == 1
        assert "30 x 5 pixels, from which 6 x 4 at 5, 2 are to be cut" in world.words()


def test_shrinking_is_the_mean_of_areas_also_of_parts_of_pixels():
    pixels = noise(5, 7)
    tall = np.kron(pixels, np.ones((3, 4, 1)))  # (15, 28): a picture of whole pixels of both sizes
    expected = tall.reshape(3, 5, 4, 7, 3).mean((1, 3))
    np.testing.assert_allclose(shrink(pixels, 3, 4), expected, atol=0.51)


def test_enlarging_is_linear_and_the_same_size_is_the_same():
    ramp = np.arange(0, 100, 10, dtype=np.uint8).reshape(1, 10, 1)
    wide = shrink(ramp, 1, 20)[0, :, 0]
    np.testing.assert_allclose(wide[1:-1], np.interp((np.arange(20) + 0.5) / 2 - 0.5, np.arange(10), ramp.ravel())[1:-1], atol=0.51)
    np.testing.assert_array_equal(shrink(ramp, 1, 10), ramp)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
@pytest.mark.parametrize("decoder", ["pillow", "av"])
def test_compressed_pictures_are_decoded_by_what_there_is(kind, decoder, monkeypatch):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("av")
    smooth = np.stack([*np.meshgrid(np.arange(0, 128, 2), np.arange(0, 96, 2)), np.full((48, 64), 77)], 2).astype(np.uint8)
    data = io.BytesIO()
    image.fromarray(smooth).save(data, kind, **({"quality": 98} if kind == "jpeg" else {}))
    if decoder == "av":
        monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    with world_of((48, 64, 3), type=COMPRESSED) as world:
        world.say("/camera", COMPRESSED, format=f"rgb8; {kind} compressed bgr8", data=np.frombuffer(data.getvalue(), np.uint8))
        assert world.sensors.settle()
        np.testing.assert_allclose(world.observe()["front"], smooth, atol=0 if kind == "png" else 6)


def test_the_picture_is_the_newest_not_after_the_instant_and_is_not_copied():
    with world_of() as world:
        with pytest.raises(SensorError, match="'front' has not given a picture yet on /camera"):
            world.observe()
        start = world.now
        for number in range(4):
            world.picture(np.full((4, 6, 3), number, np.uint8))
            world.clock.advance(0.1)
        assert [world.observe(start + at * NANO // 100)["front"][0, 0, 0] for at in (-5, 0, 9, 10, 25, 99)] == [0, 0, 0, 1, 2, 3]
        seen = world.observe()["front"]
        assert seen is world.observe()["front"]
        with pytest.raises(ValueError, match="read-only"):
            seen[0, 0, 0] = 1


def test_a_camera_that_repeats_itself_to_the_byte_is_frozen_though_its_stamps_go_on():
    with world_of(frozen_after=0.5) as world:
        for tick in range(20):
            world.picture(noise(4, 6, seed=min(tick, 3)))
            frozen = ("front", "frozen") in world.kinds()
            assert frozen == (tick * 0.1 - 0.3 > 0.5 + 1e-6)
            world.clock.advance(0.1)
        assert "the same to the byte for 1.6 s; 0.5 s are allowed" in world.words()
        world.picture(noise(4, 6, seed=99))
        assert world.kinds() == [("joint states", "missing")]


def test_a_still_scene_without_noise_can_be_allowed():
    with world_of(frozen_after=None) as world:
        for _ in range(30):
            world.picture(noise(4, 6))
            world.clock.advance(0.3)
        assert ("front", "frozen") not in world.kinds()


def test_a_camera_whose_stamps_stand_still_is_frozen_too():
    with world_of() as world:
        at = world.now
        for tick in range(8):
            world.picture(noise(4, 6, seed=tick), stamp=at)
            world.clock.advance(0.1)
        assert ("front", "frozen") in world.kinds()


def spoiled(what):
    pixels = noise(4, 6).ravel()
    fields = {"height": 4, "width": 6, "encoding": "rgb8", "step": 18, "data": pixels}
    changes = {
        "too few bytes": {"data": pixels[:-1]},
        "no pixels": {"height": 0, "data": pixels[:0]},
        "rows too short": {"step": 17},
        "more pixels than there are": {"height": 2**31, "width": 2**31, "step": 0},
        "depth": {"encoding": "16UC1"},
        "no encoding": {"encoding": ""},
    }
    return {**fields, **changes[what]}


@pytest.mark.parametrize("what", ["too few bytes", "no pixels", "rows too short", "more pixels than there are", "depth", "no encoding"])
def test_what_is_no_picture_is_dropped_and_the_next_one_is_seen(what):
    with world_of() as world:
        world.say("/camera", "sensor_msgs/msg/Image", **spoiled(what))
        assert world.sensors.settle()
        assert world.sensors.counts()["front"]["malformed"] == 1
        assert ("front", "missing") in world.kinds()
        assert "the last message was dropped: malformed" in world.words()
        world.clock.advance(0.1)
        world.picture(noise(4, 6))
        np.testing.assert_array_equal(world.observe()["front"], noise(4, 6))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n" + b"\0" * 50, b"GIF89a" + b"\0" * 50])
def test_hostile_compressed_bytes_end_no_thread(data):
    pytest.importorskip("PIL")
    with world_of(type=COMPRESSED) as world:
        for _ in range(3):
            world.say("/camera", COMPRESSED, format="jpeg", data=np.frombuffer(data, np.uint8))
            assert world.sensors.settle()
            world.clock.advance(0.1)
        assert world.sensors.counts()["front"]["malformed"] == 3
        assert "are no JPEG or PNG" in world.words()


def test_a_camera_whose_pictures_cannot_be_decoded_grows_stale():
    with world_of() as world:
        world.picture(noise(4, 6))
        for _ in range(8):
            world.clock.advance(0.1)
            world.say("/camera", "sensor_msgs/msg/Image", **spoiled("too few bytes"))
            assert world.sensors.settle()
        assert ("front", "stale") in world.kinds()


def test_pictures_of_the_future_are_forgotten_when_our_clock_goes_back():
    with world_of() as world:
        world.picture(noise(4, 6, seed=1))
        world.clock.advance(-100)
        world.picture(noise(4, 6, seed=2))
        np.testing.assert_array_equal(world.observe()["front"], noise(4, 6, seed=2))


def test_different_pictures_differ_wherever_it_is():
    one = noise(300, 400).ravel()
    assert same_bytes(one, one.copy())
    assert not same_bytes(one, one[:-1])
    for place in (0, 70_000, one.size - 1):
        other = one.copy()
        other[place] ^= 1
        assert not same_bytes(one, other)
