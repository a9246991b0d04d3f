"""Drills of sensors, arm and people: what is seen stands still or is spoiled, the arm is blocked, buttons are pressed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from robolearn.deploy.drills.drill import Drill
from robolearn.deploy.drills.rig import OWN_ESTOP, Rig
from robolearn.deploy.safety import State
from robolearn.deploy.transport.faults import Faults

SENSORS, ARM, PEOPLE = "sensors", "arm and gripper", "people"
ESTOP, DEADMAN = "/robolearn/estop", "/robolearn/deadman"


def _names(change: Callable[[Any], None]) -> Callable[[Rig], None]:
    """Change joint states on their way out of the robot."""

    def inject(rig: Rig) -> None:
        publisher = rig.simulated._topics._joints
        send = publisher.publish

        def spoilt(message: Any) -> bytes:
            change(message)
            return send(message)

        publisher.publish = spoilt  # type: ignore[method-assign]

    return inject


def _reversed(message: Any) -> None:
    message.name = message.name[::-1]
    message.position, message.velocity, message.effort = message.position[::-1], message.velocity[::-1], message.effort[::-1]


def _renamed(message: Any) -> None:
    message.name = [name.replace("fr3", "panda") if "3" in name[4:] else name for name in message.name]


def _missing(message: Any) -> None:
    message.name, message.position = message.name[:6], message.position[:6]
    message.velocity, message.effort = message.velocity[:6], message.effort[:6]


def _no_number(message: Any) -> None:
    message.position = message.position * float("nan")


def _stamped(seconds: int) -> Callable[[Any], None]:
    def change(message: Any) -> None:
        message.header.stamp.sec += seconds

    return change


def _nan(topic: str) -> Callable[[Rig], None]:
    return lambda rig: rig.network.set(Faults(nan=1.0), topic)


def _frozen(rig: Rig) -> None:
    rig.camera_moves = False


def _no_camera(rig: Rig) -> None:
    rig.camera_runs = False


def _no_parts(rig: Rig) -> None:
    rig.network.set(Faults(drop=1.0), "/parts_poses")


def _blocked(rig: Rig) -> None:
    rig.world.blocked = True


def _own_fault(rig: Rig) -> None:
    rig.simulated._stop("cartesian_reflex")


def _recovered(rig: Rig) -> None:
    _own_fault(rig)
    rig.play(1.0)
    rig.rearm()


def _freed(rig: Rig) -> None:
    rig.world.blocked = True
    rig.play(2.0)
    rig.world.blocked = False
    rig.rearm()


def _revoked(rig: Rig) -> None:
    """The driver recovers at the end of what happens meanwhile, which the rig's thread waits for."""
    _own_fault(rig)
    rig.play(1.0)
    rig.recovers = False
    rig.call("/robolearn/rearm")
    rig.play(0.1)
    rig.press(ESTOP, True)
    rig.play(0.1)
    rig.press(ESTOP, False)
    rig.play(0.1)
    rig.recovers = True


def _drifts(rig: Rig) -> None:
    rig.press(ESTOP, True)
    rig.play(0.5)
    rig.world.drifts = 0.12
    rig.play(1.3)
    rig.press(ESTOP, False)
    rig.call("/robolearn/rearm")


def _second(rig: Rig) -> None:
    rig.person.publisher("/fr3_arm_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory")


def _no_gripper(rig: Rig) -> None:
    for name in [name for name in rig.site.bus.services if name.startswith("/franka_gripper")]:
        del rig.site.bus.services[name]


def _held(rig: Rig) -> None:
    rig.every_tick.append(lambda: rig.press(DEADMAN, rig.supervisor.log == [] or rig.clock.now < _until))
    _until = rig.clock.now + 1_500_000_000


def _service(rig: Rig) -> None:
    rig.call(ESTOP)


def _while_pressed(rig: Rig) -> None:
    rig.press(ESTOP, True)
    rig.play(0.5)
    rig.call("/robolearn/rearm")


def _let_go(rig: Rig) -> None:
    """Between episodes, which begin by themselves."""
    rig.press(ESTOP, True)
    rig.play(0.5)
    rig.press(ESTOP, False)


def _tapped(rig: Rig) -> None:
    """Both between two ticks of the runner."""
    rig.press(ESTOP, True)
    rig.press(ESTOP, False)


def _hasty(rig: Rig) -> None:
    """All between two ticks of the runner."""
    rig.call(ESTOP)
    rig.call("/robolearn/rearm")


def _thinks_again(rig: Rig) -> None:
    rig.call(ESTOP)
    rig.play(1.0)
    rig.call("/robolearn/rearm")
    rig.call(ESTOP)


def _flicker(rig: Rig) -> None:
    """Parts that are not seen for 0.6 s, again and again."""

    def act() -> None:
        gone = (rig.clock.now // 10**7) % 80 < 62
        rig.network.set(Faults(drop=1.0 if gone else 0.0), "/parts_poses")

    rig.every_tick.append(act)


def _drill(group: str, name: str, fault: str, inject: Callable[[Rig], None], **rest: Any) -> Drill:
    return Drill(name, group, fault, inject, **rest)


ON: dict[str, Any] = {"ends": State.RUNNING, "within": None}
REFUSED: dict[str, Any] = {"early": True, "ends": State.IDLE, "within": 0.5, "seconds": 3.5}
DRILLS = [
    _drill(
        SENSORS, "frozen_camera", "camera sends the same picture", _frozen, says="same", within=2.7, seconds=4.5, options={"camera": True}
    ),
    _drill(SENSORS, "stopped_camera", "camera stops", _no_camera, says="front", within=1.0, options={"camera": True}),
    _drill(SENSORS, "stopped_parts", "tracker of parts stops", _no_parts, says="parts_poses", within=1.0),
    _drill(SENSORS, "nan_joints", "NaN in all positions of joint states", _names(_no_number), says="not finite"),
    _drill(SENSORS, "nan_somewhere", "one NaN somewhere in every joint state", _nan("/joint_states"), **ON),
    _drill(SENSORS, "nan_parts", "NaN in poses of parts", _nan("/parts_poses"), says="not finite", within=1.0),
    _drill(SENSORS, "joint_order", "joints in another order on the wire", _names(_reversed), **ON),
    _drill(SENSORS, "joint_names", "joints of other names", _names(_renamed), says="missing", **REFUSED),
    _drill(SENSORS, "joint_missing", "a joint is missing", _names(_missing), says="fr3_joint7 missing", **REFUSED),
    _drill(SENSORS, "stamps_ahead", "joint states stamped 5 s ahead", _names(_stamped(5)), says="ahead of our clock"),
    _drill(SENSORS, "stamps_behind", "joint states stamped 5 s behind", _names(_stamped(-5)), says="went back"),
    _drill(SENSORS, "flicker", "tracker of parts comes and goes", _flicker, says="held more than 8 times", within=9.0, seconds=10.0),
    _drill(ARM, "blocked", "arm is blocked", _blocked, says="the arm is blocked"),
    _drill(ARM, "freed", "the same, and somebody frees and re-arms it", _freed, says="re-armed", ends=State.RUNNING, again=True),
    _drill(ARM, "own_fault", "robot stops itself (reflex)", _own_fault, says="the robot reports cartesian_reflex"),
    _drill(ARM, "recovered", "the same, and somebody re-arms", _recovered, says="re-armed", ends=State.RUNNING, within=0.5),
    _drill(ARM, "revoked", "the same, and presses the e-stop while the driver recovers", _revoked, says="meanwhile", within=0.5),
    _drill(ARM, "drifts", "arm moves though it was told to stand", _drifts, says="although it was told to stand", seconds=0.3),
    _drill(ARM, "second", "a second runner on the same arm", _second, says="somebody else publishes"),
    _drill(ARM, "second_first", "another runner is there already", _second, says="somebody else publishes", **REFUSED),
    _drill(ARM, "gripper", "gripper's action server dies", _no_gripper, says="nobody serves the action"),
    _drill(
        PEOPLE, "deadman", "deadman is let go", _held, says="deadman", ends=State.HOLD, options={"deadman": True}, early=True, within=3.0
    ),
    _drill(PEOPLE, "estop_topic", "e-stop, by topic", lambda rig: rig.press(ESTOP, True), says="e-stop pressed"),
    _drill(PEOPLE, "estop_own", "e-stop, by the robot's own topic", lambda rig: rig.press(OWN_ESTOP, True), says="e-stop pressed"),
    _drill(PEOPLE, "estop_service", "e-stop, by service", _service, says="e-stop pressed"),
    _drill(PEOPLE, "estop_key", "e-stop, by key", lambda rig: rig.stops.note("estop"), says="e-stop pressed"),
    _drill(PEOPLE, "estop_tapped", "e-stop, pressed for less than a tick", _tapped, says="e-stop pressed"),
    _drill(PEOPLE, "estop_hasty", "re-armed less than a tick after the e-stop", _hasty, says="e-stop pressed"),
    _drill(PEOPLE, "estop_again", "e-stop less than a tick after re-arming", _thinks_again, says="not re-armed: e-stop pressed"),
    _drill(PEOPLE, "estop_between", "e-stop before the episode, let go", _let_go, says="e-stop", early=True, within=0.5, seconds=2.0),
    _drill(PEOPLE, "rearm_pressed", "re-armed while the e-stop is pressed", _while_pressed, says="not re-armed: e-stop pressed"),
]
