"""The simulated robot's loop: physics in real time behind the topics, services and actions of Franka's drivers."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import JointLimits
from robolearn.deploy.sim_robot.controllers import Controller, JointController, PoseController, milliseconds
from robolearn.deploy.sim_robot.guard import FrankaGuard
from robolearn.deploy.sim_robot.hand import FrankaHand
from robolearn.deploy.sim_robot.topics import Topics
from robolearn.deploy.sim_robot.trajectory import RejectedTrajectory
from robolearn.deploy.transport.base import GoalHandle, Message, QoS, Received, Transport
from robolearn.errors import UserError
from robolearn.protocols import RobotState, RobotWorld

Array = NDArray[np.float64]

AT_ONCE = 40  # physics steps that are caught up with before topics are published again


class SimulatedRobot:
    """One robot and its world.

    After a reset the physics stand still until the arm's first command, so that an episode begins when somebody plays it; what is
    published meanwhile has fresh stamps. A fault stops the arm where it is and stays until it is recovered from, or the scene is reset.

    Args:
        world: to step.
        controller: that has the arm.
        transport: where it is heard and heard of.
        limits: the robot's own, which faults are about.
        joints: names of the arm's joints.
        level: of randomness, the world's own unless given.
        seed: of the first scene.
        waits: whether the physics wait for the first command.
        guarded: whether jumps of the commanded joints are faults; a controller that smooths by itself has none.
    """

    def __init__(
        self,
        world: RobotWorld,
        controller: Controller,
        transport: Transport,
        limits: JointLimits,
        joints: tuple[str, ...],
        *,
        level: str | None = None,
        seed: int = 0,
        waits: bool = True,
        guarded: bool = True,
    ) -> None:
        self.world, self.controller, self.transport, self._waits = world, controller, transport, waits
        self.guard = FrankaGuard(limits) if guarded and isinstance(controller, JointController) else None
        self.fault, self._lock = "", threading.Lock()
        self._asked: dict[str, Any] | None = {"seed": seed, "level": level, "token": ""}
        self._recover = False
        self._step = round(world.timestep * 1e9)
        self._episode, self._token, self._running = 0, "", False
        self.hand = FrankaHand(transport, world.command_fingers)
        self._topics = Topics(transport, joints)
        self._physics = transport.now()
        world.use(controller.servo)
        self.steps = self.late = 0
        topic, type = controller.topic()
        transport.subscribe(topic, type, self._on_command, QoS("reliable", depth=1))
        transport.subscribe("/sim/reset", "std_msgs/msg/String", self._on_reset, QoS("reliable", depth=10))
        transport.serve("/franka_control/error_recovery_service", "std_srvs/srv/Trigger", self._serve_recovery)
        transport.serve_action("/action_server/error_recovery", "franka_msgs/action/ErrorRecovery", lambda goal: True, self._begin_recovery)

    def turn(self) -> None:
        """Do what is due by now: reset, physics, topics."""
        now = self.transport.now()
        with self._lock:
            asked, self._asked = self._asked, None
            recover, self._recover = self._recover, False
        if asked is not None:
            self._reset(asked, now)
        if recover and self.fault:
            self._clear(now)
        if self._standing(now):
            self._physics = now
        due = (now - self._physics) // self._step
        if due > AT_ONCE:
            self.late += due - AT_ONCE
        for _ in range(min(due, AT_ONCE)):
            self._advance()
        self._publish(now)

    def _standing(self, now: int) -> bool:
        """Whether the physics wait for a command."""
        if not self._running and (not self._waits or self.controller.commands > self._before):
            self._running = True
        return not self._running

    def _advance(self) -> None:
        """One physics step."""
        self._physics += self._step
        self.steps += 1
        if not self.fault:
            self._command(self._physics)
        self.world.step()
        state = self.world.state()
        self.hand.step(float(state.fingers.sum()), float(state.finger_velocity.sum()), self._physics)

    def _command(self, until: int) -> None:
        """Let the controller say where the arm is to be at the end of the step."""
        if isinstance(self.controller, JointController):
            motion = self.controller.motion(milliseconds(until, self.world.timestep))
            fault = self.guard.check(motion.position) if self.guard is not None else ""
            if not fault and not np.isfinite(motion.position).all():
                fault = "joint_motion_generator_start_pose_invalid"
            if fault:
                self._stop(fault)
            else:
                self.world.command_joints(motion.position[-1], motion.velocity[-1])
        elif isinstance(self.controller, PoseController) and self.controller.pose is not None:
            self.world.command_pose(*self.controller.pose)

    def _stop(self, fault: str) -> None:
        self.fault = fault
        self.world.hold()

    def _clear(self, now: int) -> None:
        """Recover from a fault: stand where the arm is."""
        self.fault = ""
        self.world.hold()
        self._stand(self.world.state(), now)

    def _stand(self, state: RobotState, now: int) -> None:
        self.controller.hold(state.position, now)
        if self.guard is not None:
            self.guard.reset(state.position)

    def _reset(self, asked: dict[str, Any], now: int) -> None:
        try:
            self.world.reset(int(asked["seed"]), asked.get("level"))
        except (UserError, ValueError, TypeError, KeyError) as error:
            self._topics.complain(f"not reset: {error}")
            return
        self.fault, self._token = "", str(asked.get("token", ""))
        self.hand.forget()
        self._stand(self.world.state(), now)
        self._episode += 1
        self._running, self._before, self._physics = False, self.controller.commands, now
        self._topics.forget()

    def _publish(self, now: int) -> None:
        stamp = self._physics if self._running else now
        verdict = self.world.verdict()
        about = {"episode": self._episode, "token": self._token, "running": self._running, "rejected": self.controller.rejected}
        about |= {"seed": verdict.seed, "level": verdict.level, "steps": verdict.steps, "stages": dict(verdict.stages)}
        about |= {"success": verdict.success, "lost": verdict.lost, "fault": self.fault}
        about["counts"] = dict(self.guard.counts) if self.guard is not None else {}
        self._topics.publish(self.world.state, stamp, json.dumps(about), self.fault)

    def _on_command(self, received: Received) -> None:
        with contextlib.suppress(RejectedTrajectory):
            self.controller.take(received.message, self.transport.now() if not self._running else max(self._physics, 0))

    def _on_reset(self, received: Received) -> None:
        try:
            asked = json.loads(received.message.data)
            {"seed": int(asked["seed"])}
        except (ValueError, TypeError, KeyError):
            self._topics.complain('not reset: send {"seed": 7, "level": "low", "token": "any"}')
            return
        with self._lock:
            self._asked = asked

    def _serve_recovery(self, request: Message) -> Message:
        with self._lock:
            self._recover = True
        return self.transport.messages.new("std_srvs/srv/Trigger_Response", success=True, message="")

    def _begin_recovery(self, handle: GoalHandle) -> None:
        with self._lock:
            self._recover = True
        handle.finish("succeeded", self.transport.messages.new("franka_msgs/action/ErrorRecovery_Result"))
