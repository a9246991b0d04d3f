"""The simulated robot's loop: physics in real time behind the topics, services and actions of Franka's drivers."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.deploy.limits import JointLimits
from robolearn.deploy.sim_robot.cameras import Cameras
from robolearn.deploy.sim_robot.controllers import Controller, JointController, PoseController, TrajectoryController, milliseconds
from robolearn.deploy.sim_robot.follow import FollowTrajectory
from robolearn.deploy.sim_robot.guard import ArmGuard, FrankaGuard
from robolearn.deploy.sim_robot.hand import FrankaHand
from robolearn.deploy.sim_robot.manager import ControllerManager
from robolearn.deploy.sim_robot.topics import Looks, Topics
from robolearn.deploy.sim_robot.trajectory import Motion, RejectedTrajectory
from robolearn.deploy.transport.base import GoalHandle, Message, QoS, Received, Transport
from robolearn.errors import UserError
from robolearn.protocols import RobotState, RobotWorld

Array = NDArray[np.float64]

AT_ONCE = 20  # physics steps that are caught up with before topics are published again
LATEST = 500_000_000  # [ns] of lateness that is caught up with; beyond, time is left out
WATCHED = 2  # physics steps between looks at the joints' speed


class SimulatedRobot:
    """One robot and its world.

    After a reset the physics stand still until the arm's first command, so that an episode begins when somebody plays it; what is
    published meanwhile has fresh stamps. A fault stops the arm where it is and stays until it is recovered from, or the scene is reset.
    Messages are taken in the physics' time at which they came, also while the physics catch up with the clock. A loop that was held up
    for half a second or more leaves that time out (``slips`` and ``slipped`` of the status say so), as it does when the clock is put back;
    an arm that was moving along a trajectory then has libfranka's fault of lost packets, ``communication_constraints_violation``.

    Args:
        world: to step.
        controllers: of the arm; the first trajectory controller among them has an action, too.
        transport: where it is heard and heard of.
        limits: the robot's own, which faults are about.
        joints: names of the arm's joints.
        active: name of the controller that begins; the first one's unless given.
        level: of randomness, the world's own unless given.
        seed: of the first scene.
        waits: whether the physics wait for the first command.
        speed_fault: share of the limits' velocities beyond which a controller that follows no trajectory has a fault.

    Raises:
        UserError: no controller is called ``active``, or none takes trajectories.
    """

    def __init__(
        self,
        world: RobotWorld,
        controllers: Sequence[Controller],
        transport: Transport,
        limits: JointLimits,
        joints: tuple[str, ...],
        *,
        active: str = "",
        level: str | None = None,
        seed: int = 0,
        waits: bool = True,
        speed_fault: float = 6.0,
    ) -> None:
        self.world, self.transport, self._waits = world, transport, waits
        self.commanded, self.measured = FrankaGuard(limits), ArmGuard(limits, speed_fault)
        self.fault, self.slips, self.slipped, self.ignored, self.steps = "", 0, 0.0, 0, 0
        self._lock = threading.Lock()
        self._asked: dict[str, Any] | None = {"seed": seed, "level": level, "token": ""}
        self._recover = False
        self._inbox: deque[tuple[int, Controller, Message]] = deque(maxlen=1000)
        self._step = round(world.timestep * 1e9)
        self._episode, self._token, self._running, self._looked = 0, "", False, -1
        self._physics = self._turned = transport.now()
        self._offer(controllers, active, joints)
        self._desired = Motion(*(np.zeros((1, len(joints))) for _ in range(3)))
        transport.subscribe("/sim/reset", "std_msgs/msg/String", self._on_reset, QoS("reliable", depth=10))
        transport.serve("/franka_control/error_recovery_service", "std_srvs/srv/Trigger", self._serve_recovery)
        transport.serve_action("/action_server/error_recovery", "franka_msgs/action/ErrorRecovery", lambda goal: True, self._begin_recovery)

    def _offer(self, controllers: Sequence[Controller], active: str, joints: tuple[str, ...]) -> None:
        """Announce the controllers, the hand, the topics and the cameras."""
        transport = self.transport
        arm = next((each for each in controllers if isinstance(each, TrajectoryController)), None)
        if arm is None:
            raise UserError("a simulated Franka has a trajectory controller among its controllers")
        self.manager = ControllerManager(transport, controllers, active or controllers[0].name)
        self.controller: Controller | None = None
        self.follow = FollowTrajectory(transport, arm, lambda: self.manager.active is arm)
        self.hand = FrankaHand(transport, self.world.command_fingers)
        self._topics, self._cameras = Topics(transport, joints, arm.name), Cameras(transport, self.world)
        self._looks = Looks(self._look, self._about, self._wanted)
        for controller in controllers:
            transport.subscribe(*controller.topic(), self._taker(controller), QoS("reliable", depth=10))

    def turn(self) -> None:
        """Do what is due by now: reset, physics, topics."""
        now = self._turned = self.transport.now()
        with self._lock:
            asked, self._asked = self._asked, None
            recover, self._recover = self._recover, False
        if asked is not None:
            self._reset(asked, now)
        self._switch()
        if recover and self.fault:
            self._clear()
        if not self._running:
            self._wait(now)
        elif abs(now - self._physics) > LATEST:
            self._slip(now)
        for _ in range(min((now - self._physics) // self._step, AT_ONCE)):
            self._advance()
        stamp = self._physics if self._running else now
        self._topics.publish(self._looks, stamp, self.fault, self.mode)
        self._cameras.offer(stamp)

    @property
    def mode(self) -> str:
        """``reflex`` after a fault, ``idle`` while nobody has the arm or commanded it, ``move``."""
        return "reflex" if self.fault else "move" if self._running and self.controller is not None else "idle"

    def close(self) -> None:
        """End the cameras' thread."""
        self._cameras.close()

    def _wait(self, now: int) -> None:
        """Stand until the arm is commanded."""
        self._physics = now
        self._running = not self._waits or self._take_messages()

    def _advance(self) -> None:
        """One physics step."""
        self._take_messages()
        self._physics += self._step
        self.steps += 1
        if not self.fault:
            self._command(self._physics)
        self.world.step()
        if self.hand.busy:
            state = self._look()
            self.hand.step(float(state.fingers.sum()), float(state.finger_velocity.sum()), self._physics)
        if not self.fault:
            self._compare()

    def _take_messages(self) -> bool:
        """Let the controllers have what came by now; whether the arm was commanded."""
        commanded = isinstance(self.controller, TrajectoryController) and self.follow.waiting and self.follow.begin(self._physics)
        while self._inbox and self._inbox[0][0] <= self._physics:
            _, controller, message = self._inbox.popleft()
            if controller is not self.controller:
                self.ignored += 1
                continue
            with contextlib.suppress(RejectedTrajectory):
                controller.take(message, self._physics)
                self.follow.abort("a trajectory came on the topic")
                commanded = True
        return commanded

    def _command(self, until: int) -> None:
        """Let the controller say where the arm is to be at the end of the step."""
        if isinstance(self.controller, JointController):
            motion = self.controller.motion(milliseconds(until, self.world.timestep))
            if isinstance(self.controller, TrajectoryController):
                fault = self.commanded.check(motion.position)
            else:
                fault = "" if np.isfinite(motion.position).all() else "joint_motion_generator_start_pose_invalid"
            if fault:
                self._stop(fault)
                return
            self.world.command_joints(motion.position[-1], motion.velocity[-1])
            self._desired = Motion(motion.position[-1:], motion.velocity[-1:], motion.acceleration[-1:])
        elif isinstance(self.controller, PoseController) and self.controller.pose is not None:
            self.world.command_pose(*self.controller.pose)

    def _compare(self) -> None:
        """Hold what the arm does to what it should, or may, do."""
        if isinstance(self.controller, TrajectoryController):
            if self.follow.busy:
                self.follow.step(self._desired, self._look(), self._physics)
            elif self.controller.tolerance:
                self.controller.compare(self._desired.position[0], self._look().position, self._physics)
        elif self.controller is not None and self.steps % WATCHED == 0:
            state = self._look()
            fault = self.measured.check(state.position, state.velocity)
            if fault:
                self._stop(fault)

    def _stop(self, fault: str) -> None:
        self.fault = fault
        self.follow.abort(fault)
        self.world.hold()

    def _clear(self) -> None:
        """Recover from a fault: stand where the arm is."""
        self.world.hold()
        self._stand()

    def _stand(self) -> None:
        """Be without a fault; whichever controller has the arm holds it where it is."""
        position = self.world.state().position
        self.fault = ""
        self.commanded.reset(position)
        self.measured.reset(position)
        if self.controller is not None:
            self.controller.hold(position, self._physics)

    def _switch(self) -> None:
        """Give the arm to the controller that the manager says; a fault stays."""
        active = self.manager.active
        if active is self.controller:
            return
        self.follow.abort("another controller has the arm")
        self.controller, fault = active, self.fault
        self.world.use(active.servo if active is not None else "joints")
        self._stand()
        self.fault = fault

    def _slip(self, now: int) -> None:
        """Leave out the time that was missed."""
        self.slips += 1
        self.slipped += (now - self._physics) * 1e-9
        arm = self.controller
        moving = isinstance(arm, TrajectoryController) and arm.motion(np.array([self._physics], np.int64)).velocity.any()
        self._physics = now
        self._inbox.clear()
        self._topics.forget()
        self._cameras.forget()
        if moving and not self.fault:
            self._stop("communication_constraints_violation")

    def _reset(self, asked: dict[str, Any], now: int) -> None:
        try:
            self.world.reset(int(asked["seed"]), asked.get("level"))
        except (UserError, ValueError, TypeError, KeyError) as error:
            self._topics.complain(f"not reset: {error}")
            return
        self._token, self._physics, self._running = str(asked.get("token", "")), now, False
        self._episode += 1
        self.hand.forget()
        self.follow.abort("the scene was reset")
        self._inbox.clear()
        self._looked = -1
        self._stand()
        self._topics.forget()
        self._cameras.forget()

    def _look(self) -> RobotState:
        """The world's state, worked out once a physics step."""
        if self._looked != self.steps:
            self._looked, self._state = self.steps, self.world.state()
        return self._state

    def _wanted(self) -> tuple[TrajectoryController, Motion] | None:
        arm = self.controller
        return (arm, arm.motion(np.array([self._physics], np.int64))) if isinstance(arm, TrajectoryController) else None

    def _about(self) -> str:
        """The status, as JSON."""
        verdict, active = self.world.verdict(), self.controller
        about = {"episode": self._episode, "token": self._token, "running": self._running, "fault": self.fault}
        about |= {"controller": active.name if active is not None else "", "rejected": active.rejected if active is not None else ""}
        about |= {"seed": verdict.seed, "level": verdict.level, "steps": verdict.steps, "stages": dict(verdict.stages)}
        about |= {"success": verdict.success, "lost": verdict.lost, "counts": dict(self.commanded.counts + self.measured.counts)}
        return json.dumps(about | {"ignored": self.ignored, "slips": self.slips, "slipped": round(self.slipped, 3)})

    def _taker(self, controller: Controller) -> Callable[[Received], None]:
        def take(received: Received) -> None:
            header = getattr(received.message, "header", None)
            stamp = received.received if header is None else header.stamp.sec * 1_000_000_000 + header.stamp.nanosec
            arrival = min(received.received, max(stamp, self._turned))  # while this process stood still a robot would have heard it
            self._inbox.append((arrival, controller, received.message))

        return take

    def _on_reset(self, received: Received) -> None:
        try:
            asked = json.loads(received.message.data)
            {"seed": int(asked["seed"])}
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
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
