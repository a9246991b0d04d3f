"""Sensors that die, lie, repeat themselves or lose their clock are told from those that do not."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.deploy.sensors.ring import Ring, slerp
from robolearn.deploy.sensors.sensors import Sensors
from robolearn.deploy.sensors.sources import ArraySource, CameraSource, JointSource, PoseSource
from robolearn.deploy.sensors.timeline import Timeline
from robolearn.deploy.transport.faults import Faults, FaultyTransport
from robolearn.deploy.transport.in_process import Bus, InProcess
from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix, rotvec_from_matrix
from robolearn.spec import ArraySpec, EnvSpec, tool_pose_action
from tests.deploy.sensor_fakes import JOINT_STATE, NANO, OWN, World, planar_robot, pose
from tests.deploy.transport.conftest import until

JOINTS = {"joint_pos": OWN["joint_pos"]}
START = 1_000 * NANO


def test_a_sensor_is_missing_until_it_speaks_and_stale_when_it_has_stopped():
    with World(planar_robot(), JOINTS) as world:
        assert world.kinds() == [("joint states", "missing")]
        assert world.sensors.problems(world.now)[0].age == float("inf")
        world.joints((0, 0))
        world.clock.advance(0.2)
        assert world.kinds() == []
        world.clock.advance(0.05)
        (problem,) = world.sensors.problems(world.now)
        assert (problem.kind, problem.age) == ("stale", pytest.approx(0.25))
        assert "0.25 s old, 0.2 s are allowed" in problem.words
        world.joints((0, 0))
        assert world.kinds() == []


def test_a_sensor_that_is_missing_says_what_the_transport_knows_of_its_topic():
    with World(planar_robot(), JOINTS) as world:
        world.drivers.publisher("/joint_states", "std_msgs/msg/String")
        until(lambda: "this subscription has" in world.words())
        theirs = "this subscription has sensor_msgs/msg/JointState, another participant std_msgs/msg/String"
        assert world.words() == f"joint states: nothing came yet on /joint_states; {theirs}"
        world.joints((0, 0))
        assert world.words() == ""


def test_old_messages_that_come_all_at_once_after_a_stall_are_old():
    with World(planar_robot(), JOINTS) as world:
        world.joints((0, 0))
        stalled = [world.now + tick * 10_000_000 for tick in range(1, 50)]
        world.clock.advance(1.5)
        for stamp in stalled:
            world.joints((1, 1), stamp=stamp)
        assert world.kinds() == [("joint states", "stale")]
        assert world.sensors.problems(world.now)[0].age == pytest.approx(1.5 - 0.49)


def test_duplicates_and_reordered_messages_are_dropped_and_counted():
    with World(planar_robot(), JOINTS) as world:
        at = world.now
        for place, moment in enumerate((0, 2, 1, 2, 3)):
            world.joints((moment, place), stamp=at + moment * 1_000_000)
        assert world.sensors.counts()["joint states"] == {"heard": 5, "taken": 3, "duplicate": 1, "reordered": 1}
        np.testing.assert_allclose(
            world.observe(at + 1_000_000)["joint_pos"], (1.0, 0.5)
        )  # between the first two: what came late is not there
        assert world.kinds() == []


def test_stamps_that_stand_still_are_a_frozen_sensor():
    with World(planar_robot(), JOINTS) as world:
        stamp = world.now
        for _ in range(30):
            world.joints((0, 0), stamp=stamp)
            world.clock.advance(0.01)
        (problem,) = world.sensors.problems(world.now)
        assert problem.kind == "frozen"
        assert "stamps stand still" in problem.words


@pytest.mark.parametrize(("jump", "side"), [(3600.0, "ahead of"), (0.3, "ahead of"), (-500.0, "behind")])
def test_stamps_that_cannot_be_are_not_believed_and_told_for_a_while(jump, side):
    with World(planar_robot(), JOINTS) as world:
        world.joints((0, 0))
        world.clock.advance(0.01)
        world.joints((1, 0), stamp=world.now + round(jump * NANO))
        assert world.sensors.joints()[0] == world.now  # of its arrival
        assert world.kinds() == [("joint states", "clock")]
        assert f"{side} our clock: synchronise the clocks" in world.words()
        for _ in range(111):
            world.clock.advance(0.01)
            world.joints((1, 0))
        assert world.kinds() == []
        assert world.sensors.counts()["joint states"]["clock jumps"] == 1


def test_stamps_of_another_clock_can_be_ignored():
    free = JointSource("/joint_states", ("shoulder", "elbow"), stamped=False)
    with World(planar_robot(joint_states=free), JOINTS) as world:
        for tick in range(5):
            world.joints((tick, 0), stamp=42 + tick)
            world.clock.advance(0.01)
        assert world.kinds() == []
        assert world.sensors.counts()["joint states"] == {"heard": 5, "taken": 5}


def test_stamps_that_go_far_back_are_a_clock_that_jumped():
    with World(planar_robot(), JOINTS) as world:
        world.joints((0, 0))
        world.clock.advance(0.01)
        world.joints((0, 0), stamp=world.now - 2 * NANO)
        assert world.kinds() == [("joint states", "clock")]
        assert "stamps went back by 1.99 s" in world.words()


def test_when_our_own_clock_goes_back_the_future_is_forgotten():
    with World(planar_robot(), JOINTS) as world:
        world.joints((5, 5))
        world.clock.advance(-10)
        assert world.kinds() == [("joint states", "clock")]
        assert "our clock went back" in world.words()
        world.joints((1, 1))
        np.testing.assert_allclose(world.observe()["joint_pos"], (1, 1))
        np.testing.assert_allclose(world.observe(world.now + 20 * NANO)["joint_pos"], (1, 1))
        assert world.kinds() == [("joint states", "clock")]  # told for a second
        world.clock.advance(1.1)
        world.joints((1, 1))
        assert world.kinds() == []


@pytest.mark.parametrize("spoiled", [np.nan, np.inf, 1e300])
def test_numbers_that_are_none_never_reach_an_observation(spoiled):
    robot = planar_robot(sensors={"force": ArraySource("/force", (2,)), "poses": PoseSource("/poses", ("top",))})
    wanted = {**JOINTS, "force": ArraySpec((2,)), "poses": ArraySpec((9,))}
    with World(robot, wanted) as world:
        for value in (1.0, spoiled):
            world.clock.advance(0.01)
            world.joints((0.5, value))
            world.say("/force", "std_msgs/msg/Float64MultiArray", data=[value, 0.0])
            world.say("/poses", "geometry_msgs/msg/PoseArray", poses=[pose((value, 0, 0), np.eye(3))])
        seen = world.observe()
        assert seen["joint_pos"][1] == seen["force"][0] == seen["poses"][0] == 1.0
        reason = "malformed" if spoiled == 1e300 else "not finite"
        assert [counts[reason] for counts in world.sensors.counts().values()] == [1, 1, 1]
        world.clock.advance(0.6)
        assert {kind for _, kind in world.kinds()} == {"stale"}
        assert f"the last message was dropped: {reason}" in world.words()


def test_zero_quaternions_are_no_poses():
    robot = planar_robot(sensors={"poses": PoseSource("/poses", ("top",))})
    with World(robot, {"poses": ArraySpec((9,))}) as world:
        nothing = {"position": {}, "orientation": {"w": 0.0}}
        world.say("/poses", "geometry_msgs/msg/PoseArray", poses=[nothing])
        assert world.sensors.counts()["poses"] == {"heard": 1, "malformed": 1}
        assert "quaternions of length [0.0], expected 1" in world.words()


names = st.lists(st.sampled_from(["shoulder", "elbow", "left", "right", "", "\udc80", "x" * 300]), max_size=6)
numbers = st.lists(st.floats(width=64), max_size=7)
stamps = st.tuples(st.integers(-(2**31), 2**31 - 1), st.integers(0, 2**32 - 1))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(names, numbers, numbers, stamps, st.integers(-(10**10), 10**10)), max_size=8))
def test_no_message_harms_the_one_who_hears_it(messages):
    class Said:
        """A message as a decoder might give it."""

        def __init__(self, name, position, velocity, stamp):
            from types import SimpleNamespace

            self.header = SimpleNamespace(stamp=SimpleNamespace(sec=stamp[0], nanosec=stamp[1]))
            self.name, self.position, self.velocity = name, np.array(position), np.array(velocity)

    from robolearn.deploy.sensors.feeds import NumberFeed
    from robolearn.deploy.transport.base import Received

    feed = NumberFeed("joints", JointSource("/joint_states", ("shoulder", "elbow")))
    now = START
    for name, position, velocity, stamp, passed in messages:
        now += passed
        feed.hear(Received("/joint_states", JOINT_STATE, Said(name, position, velocity, stamp), b"", now))
        feed.problems(now)
        if feed.newest is not None:
            row = feed.at(now)
            assert np.isfinite(row).all()
            np.testing.assert_array_less(np.abs(row[:2]), 1e6 + 1)
    told = feed.counts
    dropped = ("not finite", "malformed", "names", "duplicate", "reordered", "other", "taken")
    assert sum(told.get(reason, 0) for reason in dropped) == len(messages)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(-5, 60)), min_size=1, max_size=60))
def test_whatever_comes_in_whatever_order_time_only_goes_on(messages):
    """Arrivals [10 ms] after each other, of measurements as many [10 ms] before."""
    timeline, now, last = Timeline(), START, None
    for passed, before in messages:
        now += passed * 10_000_000
        newest = timeline.newest
        placed = timeline.place(now - before * 10_000_000, now)
        assert placed is None or newest is None or placed > newest
        assert (placed is None) or (last is None or placed > last)
        last = placed if placed is not None else last
        assert timeline.newest == last


def test_faults_of_a_network_leave_a_sound_sensor():
    with World(planar_robot(), JOINTS) as world:
        faulty = FaultyTransport(world.transport, np.random.default_rng(0), threaded=False)
        faulty.set(Faults(reorder=0.2, duplicate=0.2, nan=0.1, drop=0.1))
        with Sensors(planar_robot(), faulty, world.spec) as sensors:
            for tick in range(300):
                world.joints((0.001 * tick, 0.001 * tick), (1.0, 1.0))
                world.clock.advance(0.01)
                if sensors.joints() is not None:
                    stamp, positions, _ = sensors.joints()
                    expected = (stamp - START) / NANO / 10
                    np.testing.assert_allclose(positions, expected, atol=1e-9)
                    assert tick - expected / 0.001 < 6
            counts = sensors.counts()["joint states"]
            assert min(counts[name] for name in ("duplicate", "reordered", "not finite", "taken")) > 5


def test_what_is_read_while_messages_come_is_whole():
    """Every message holds one number in all its places, so that a torn row would show."""
    robot = planar_robot(cameras={"front": CameraSource("/camera", (4, 6, 3))})
    wanted = {**JOINTS, "joint_vel": OWN["joint_vel"], "front": ArraySpec((4, 6, 3), "uint8")}
    bus = Bus()
    with InProcess(bus) as drivers, InProcess(bus) as transport:
        spec = EnvSpec("t", wanted, tool_pose_action((-1,) * 3, (1,) * 3), 10.0)
        with Sensors(robot, transport, spec) as sensors:
            joints, camera = drivers.publisher("/joint_states", JOINT_STATE), drivers.publisher("/camera", "sensor_msgs/msg/Image")

            def drive():
                for number in range(400):
                    both = [float(number)] * 2
                    joints.publish(drivers.messages.new(JOINT_STATE, name=["elbow", "shoulder"], position=both, velocity=both))
                    picture = np.full(72, number % 256, np.uint8)
                    camera.publish(drivers.messages.new("sensor_msgs/msg/Image", height=4, width=6, encoding="rgb8", step=18, data=picture))
                    time.sleep(0.0005)

            driver = threading.Thread(target=drive)
            driver.start()
            seen = []
            while driver.is_alive():
                sensors.problems(transport.now())
                if sensors.joints() is not None and sensors.counts()["front"].get("taken", 0) > 0 and sensors.settle():
                    observation = sensors.observation(transport.now())
                    numbers = np.concatenate([observation["joint_pos"], observation["joint_vel"]])
                    assert np.ptp(numbers) < 1e-3  # one of them is in single precision
                    assert np.ptp(observation["front"]) == 0
                    seen.append(numbers[0])
            driver.join()
            assert len(seen) > 10
            assert seen == sorted(seen)


@settings(deadline=None)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 9), st.integers(-20, 1500))
def test_a_ring_interpolates_as_numpy_does(gaps, capacity, time):
    ring = Ring(capacity, 2)
    held = np.cumsum(gaps)
    rows = np.stack([np.sin(held), held * 1.0], 1)
    for stamp, row in zip(held, rows, strict=True):
        ring.push(int(stamp), row)
    held, rows = held[-capacity:], rows[-capacity:]
    np.testing.assert_allclose(ring.at(time), [np.interp(time, held, column) for column in rows.T], atol=1e-12)
    stamp, row = ring.before(time)
    place = max(0, np.searchsorted(held, time, side="right") - 1)
    assert stamp == held[place]
    np.testing.assert_array_equal(row, rows[place])
    assert len(ring) == min(capacity, len(gaps))


@settings(deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 1), st.floats(0, 3.1))
def test_slerp_turns_at_a_constant_rate_about_one_axis(seed, share, angle):
    generator = np.random.default_rng(seed)
    axis = generator.normal(size=3)
    axis /= np.linalg.norm(axis)
    first = matrix_from_rotvec(generator.normal(size=3))
    second = first @ matrix_from_rotvec(angle * axis)
    ends = [quaternion_from_matrix(matrix)[None] * generator.choice((-1, 1)) for matrix in (first, second)]
    turned = matrix_from_quaternion(slerp(*ends, share)[0])
    np.testing.assert_allclose(rotvec_from_matrix(first.T @ turned), share * angle * axis, atol=2e-5)
