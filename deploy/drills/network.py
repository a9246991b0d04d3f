"""Drills of the network and the clocks: messages late, lost, twice, out of order; processes that stop; time that jumps."""

from __future__ import annotations

from typing import Any

from robolearn.deploy.drills.drill import Drill
from robolearn.deploy.drills.rig import Rig
from robolearn.deploy.safety import State
from robolearn.deploy.setpoint import Setpoint
from robolearn.deploy.transport.faults import Faults

GROUP = "network and clocks"
COMMANDS = "/fr3_arm_controller/joint_trajectory"
POSES = "/cartesian_impedance_controller/equilibrium_pose"
HEARD = ("/joint_states", "/franka_gripper/joint_states", "/parts_poses")
COMPLIANT = {"robot": "sim_franka_pose", "controller": "equilibrium_pose"}


def _dead_runner(rig: Rig) -> None:
    rig.runner_runs = False


def _stopped_runner(rig: Rig) -> None:
    rig.runner_runs = False
    rig.play(0.7)
    rig.runner_runs = True


def _held_up(rig: Rig) -> None:
    """The computer does something else for 0.7 s after a tick has planned its motion, and before it is sent."""
    motion: Any = rig.command.motion
    follow = motion.follow

    def late(*given: Any) -> Setpoint:
        motion.follow = follow
        setpoint: Setpoint = follow(*given)
        _stopped_runner(rig)
        return setpoint

    motion.follow = late


def _stall_of_sagging_arm(rig: Rig) -> None:
    rig.world.sags = 0.004
    rig.network.stall(1.0)


def _dead_robot(rig: Rig) -> None:
    rig.robot_runs = False
    rig.world.velocity[:] = 0.0


def _stall_of_sensors(rig: Rig) -> None:
    for topic in HEARD:
        rig.network.stall(1.0, topic)


def _drop_sensors(rig: Rig) -> None:
    for topic in HEARD:
        rig.network.set(Faults(drop=0.3), topic)


def _stalls(seconds: float, topic: str | None = None) -> object:
    return lambda rig: rig.network.stall(seconds, topic)


def _suffer(faults: Faults, topic: str | None = None) -> object:
    return lambda rig: rig.network.set(faults, topic)


def _jump(seconds: float) -> object:
    return lambda rig: rig.network.jump(seconds)


def _drill(name: str, fault: str, inject: object, **rest: object) -> Drill:
    return Drill(name, GROUP, fault, inject, **rest)  # type: ignore[arg-type]


RUNS = {"ends": State.RUNNING}
ON = {**RUNS, "within": None}
REFUSED = {"early": True, "ends": State.IDLE, "within": 0.5, "seconds": 3.5}
DRILLS = [
    _drill("dead_runner", "runner dies, trajectory controller", _dead_runner, ends=State.RUNNING),
    _drill("dead_runner_pose", "runner dies, pose controller", _dead_runner, ends=State.RUNNING, within=1.5, options=COMPLIANT),
    _drill("stopped_runner", "runner stopped for 0.7 s, then continued", _stopped_runner, **RUNS),
    _drill("held_up", "runner is held up for 0.7 s in the middle of a tick", _held_up, says="took 7", again=True, **RUNS),
    _drill("dead_robot", "robot's driver dies", _dead_robot, says="is not heard"),
    _drill("stall", "network stalls for 1 s, both ways", _stalls(1.0), says="is not heard", **RUNS),
    _drill("stall_sagging", "the same, the arm 4 mrad beside its commands", _stall_of_sagging_arm, says="is not heard", again=True, **RUNS),
    _drill(
        "stall_pose",
        "network stalls for 1 s, both ways, pose controller",
        _stalls(1.0),
        says="is not heard",
        within=2.5,
        options=COMPLIANT,
    ),
    _drill("stall_commands", "1 s in which no command arrives", _stalls(1.0, COMMANDS), says="commands are lost"),
    _drill("stall_sensors", "1 s in which no sensor is heard", _stall_of_sensors, says="is not heard", **RUNS),
    _drill("stall_short", "network stalls for 0.3 s, both ways", _stalls(0.3), **RUNS),
    _drill("long_stall", "network stalls for 5 s", _stalls(5.0), says="more than 1 s", seconds=7.0),
    _drill("reordered", "30 % of all messages out of order", _suffer(Faults(reorder=0.3)), **ON),
    _drill("duplicated", "30 % of all messages twice", _suffer(Faults(duplicate=0.3)), **ON),
    _drill("stall_tiny", "network stalls for 80 ms, both ways", _stalls(0.08), says="is not heard", again=True, **RUNS),
    _drill("stall_least", "network stalls for 60 ms, both ways", _stalls(0.06), says="is not heard", again=True, **RUNS),
    _drill("stall_unnoticed", "network stalls for 20 ms, both ways", _stalls(0.02), **ON),
    _drill("dropped_sensors", "30 % of what sensors say lost", _drop_sensors, **ON),
    _drill("dropped_commands", "30 % of commands lost, several in a row", _suffer(Faults(drop=0.3), COMMANDS), seconds=4.0, **ON),
    _drill(
        "dropped_commands_bounded",
        "30 % of commands lost, up to four in a row",
        _suffer(Faults(drop=0.3, in_a_row=4), COMMANDS),
        seconds=10.0,
        **ON,
    ),
    _drill("dropped_pose", "30 % of all messages lost, pose controller", _suffer(Faults(drop=0.3)), options=COMPLIANT, **ON),
    _drill("delayed", "all messages 200 ms late", _suffer(Faults(delay=(0.2, 0.2))), says="is not heard"),
    _drill("delayed_commands", "commands 200 ms late", _suffer(Faults(delay=(0.2, 0.2)), COMMANDS), says="commands are lost"),
    _drill("jitter", "all messages 10 ms late", _suffer(Faults(delay=(0.01, 0.01))), **ON),
    _drill("clock_forward", "runner's clock jumps 5 s forward", _jump(5.0), says="5.00 s old"),
    _drill("clock_back", "runner's clock jumps 5 s back", _jump(-5.0), says="clock"),
    _drill("clock_little", "runner's clock jumps 0.12 s forward", _jump(0.12), says="clock", **RUNS),
    _drill("clock_back_little", "runner's clock jumps 0.1 s back", _jump(-0.1), says="clock", again=True, **RUNS),
    _drill(
        "clocks_apart", "runner's clock is 50 ms behind the robot's from the beginning", _jump(-0.05), says="ahead of our clock", **REFUSED
    ),
    _drill("clocks_apart_forward", "runner's clock is 50 ms ahead of it", _jump(0.05), says="is behind ours", **REFUSED),
    _drill("clock_adjusted", "runner's clock is put back by 20 ms", _jump(-0.02), says="clock", **RUNS),
]
