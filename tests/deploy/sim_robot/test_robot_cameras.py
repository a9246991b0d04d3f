"""Pictures of the simulated robot's cameras: drawn on a thread of their own, for those who listen."""

import threading

import numpy as np

from robolearn.deploy.sim_robot.cameras import Cameras, camera_topic
from robolearn.deploy.transport.base import QoS
from robolearn.deploy.transport.in_process import Bus, InProcess, ManualClock
from robolearn.errors import UserError
from tests.deploy.sim_robot.sim_fakes import MS, World
from tests.deploy.transport.conftest import until

IMAGE = "sensor_msgs/msg/Image"


def drawn(world, stamps, listen=True):
    """What is heard when a scene is offered at each stamp [ms], each drawn before the next."""
    came = []
    with InProcess(Bus(ManualClock(), threaded=False)) as transport:
        if listen:
            transport.subscribe(camera_topic("front"), IMAGE, lambda received: came.append(received.message), QoS(depth=100))
        cameras = Cameras(transport, world)
        try:
            for stamp in stamps:
                world.steps = stamp
                cameras.offer(stamp * MS)
                until(lambda: cameras._scene is None)
        finally:
            cameras.close()
    assert not any(thread.name == "cameras" for thread in threading.enumerate())
    return came, cameras


def test_pictures_come_fifteen_times_a_second_with_their_scenes_stamps():
    came, _ = drawn(World(), range(1010, 1510, 5))
    stamps = [message.header.stamp.sec * 1000 + message.header.stamp.nanosec // MS for message in came]
    assert len(stamps) == 8
    np.testing.assert_allclose(np.diff(stamps), 1000 / 15, atol=7.5)
    picture = came[-1]
    assert (picture.height, picture.width, picture.step, picture.encoding) == (4, 6, 18, "rgb8")
    assert picture.header.frame_id == "front_color_optical_frame"
    np.testing.assert_array_equal(picture.data, np.full(72, stamps[-1] % 256))


def test_nothing_is_drawn_for_nobody():
    _, cameras = drawn(World(), range(1000, 1500, 5), listen=False)
    assert cameras.drawn == 0


def test_a_picture_that_takes_long_holds_nobody_up():
    world, may = World(), threading.Event()
    world.draw = lambda scene, camera: may.wait(10) and np.zeros((4, 6, 3), np.uint8)
    with InProcess(Bus(ManualClock(), threaded=False)) as transport:
        transport.subscribe(camera_topic("front"), IMAGE, lambda _: None)
        cameras = Cameras(transport, world)
        for stamp in range(1000, 2000, 5):
            cameras.offer(stamp * MS)  # returns though nothing is drawn
        may.set()
        cameras.close()
    assert cameras.drawn <= 1


def test_a_machine_that_draws_nothing_says_so_and_the_robot_goes_on():
    def draw(scene, camera):
        raise UserError("no display")

    world = World()
    world.draw = draw
    came, cameras = drawn(world, range(1000, 1200, 5))
    assert (came, cameras.trouble) == ([], "no display")


def test_a_world_without_cameras_has_no_thread():
    world = World()
    world.cameras = ()
    with InProcess(Bus(ManualClock(), threaded=False)) as transport:
        cameras = Cameras(transport, world)
        cameras.offer(MS)
        assert cameras._thread is None
        cameras.close()
