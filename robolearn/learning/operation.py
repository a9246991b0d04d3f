"""An operator's session in simulation: one world in real time, and every episode that is labelled goes straight into the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.errors import UserError, check_positive
from robolearn.learning.session import Command, Session, Status
from robolearn.learning.take import Take
from robolearn.protocols import Environment, Observation, Policy

_STILL = 2e-4  # [m] a step: a tool, or fingers, that go less stand still
_STILL_STEPS = 10  # of standing still, after which time waits for the operator


class Operation:
    """Plays a world as the operator wants it, a step at a time, and keeps what is recorded.

    Args:
        env: one world.
        device: see ``robolearn.deploy.teleop.device.Device``.
        store: has ``append(Episode)`` and ``num_episodes``.
        wanted: episodes that the store is to hold.
        seeds: of the starts, in order.
        provenance: of every episode, beside its seed.
        policy: acts until the operator takes over; None: the operator acts.
        scene: is shown every new state ``(S,)``.
        undo: steps that are taken back at once.
        confirm: a solved episode waits for the operator's label.
        wait: time stands still while the operator asks for nothing and nothing moves, so that no pauses are recorded.
        record_state: also store the simulator's states.
        saved: called after an episode was saved.
    """

    def __init__(
        self,
        env: Environment,
        device: Any,
        store: Any,
        wanted: int,
        seeds: list[int],
        provenance: Mapping[str, Any],
        *,
        policy: Policy | None = None,
        scene: Any = None,
        undo: int = 20,
        confirm: bool = True,
        wait: bool = True,
        record_state: bool = True,
        saved: Callable[[bool], None] | None = None,
    ) -> None:
        check_positive(undo=undo)
        self.env, self.device, self.store, self.policy, self.scene = env, device, store, policy, scene
        self.wanted, self.seeds, self.provenance = wanted, list(seeds), provenance
        self.undo_steps, self.wait, self.record_state, self._saved = undo, wait, record_state, saved
        self.session = Session(has_policy=policy is not None, confirm=confirm)
        self.names = tuple(env.env_spec.observation)
        self.images = tuple(name for name, spec in env.env_spec.observation.items() if spec.is_image)
        self.take = self._new_take()
        self.successes = self.attempts = self.kept = self.jumps = 0
        self.gripper = -1.0
        self._moved, self._terminated, self._solved, self._still = False, False, False, 0
        self._last_target = np.zeros(10, np.float32)
        self._begun = time.monotonic()
        self._observation: Observation = {}
        self._start: tuple[Observation, NDArray[np.float64]] = ({}, np.zeros((1, 0)))
        self._next_start()

    @property
    def done(self) -> bool:
        """Whether there are as many episodes as were wanted, or no more starts."""
        return bool(self.store.num_episodes >= self.wanted or not self.seeds)

    @property
    def tool(self) -> NDArray[np.float32]:
        """The tool's pose now, and the gripper's command, ``(10,)``."""
        seen = self._observation
        tool: NDArray[np.float32] = np.concatenate([seen["tcp_pos"][0], seen["tcp_rot6d"][0], [self.gripper]]).astype(np.float32)
        return tool

    def tick(self, now_ns: int) -> bool:
        """Ask the device, do what was asked for, play a step if time passes; False when the session is over."""
        heard = self.device.poll(now_ns, self.tool)
        jumps = self.jumps
        for command in self.session.hear(heard.active, heard.events):
            if command == "quit":
                return False
            self._do(command)
        if self.session.playing and not self.done and self.jumps == jumps:
            self._play(heard.target if heard.active else None)
        self.device.show(self.status(), {name: self._observation[name][0] for name in self.images})
        return not self.done

    def status(self) -> Status:
        """What the operator is shown."""
        session, hours = self.session, (time.monotonic() - self._begun) / 3600
        return Status(
            task=self.env.env_spec.task,
            phase=session.phase,
            paused=session.paused,
            actor=session.actor,
            has_policy=session.has_policy,
            episodes=int(self.store.num_episodes),
            wanted=self.wanted,
            successes=self.successes,
            steps=len(self.take),
            seconds=len(self.take) / self.env.env_spec.control_hz,
            rate=self.kept / max(hours, 1e-9),
            message=session.message,
            solved=session.solved,
            gripper=self.gripper,
            jumps=self.jumps,
        )

    # -- commands ----------------------------------------------------------------------------------------------------

    def _do(self, command: Command) -> None:
        if command == "begin":
            if self._moved:  # by the operator, before anything was recorded
                self._restart()
            self.take = self._new_take()
            self._release()
        elif command in ("success", "failure"):
            self._save(command == "success")
        elif command == "undo":
            self._undo()
        elif command == "discard":
            self._restart()
        elif command == "reset":
            self.seeds.pop(0)
            self._next_start()
        elif command == "release":
            self._release()

    def _play(self, target: NDArray[np.float32] | None) -> None:
        recording, by_operator = self.session.phase == "recording", self.session.actor == "operator"
        if not by_operator:
            assert self.policy is not None
            action = self.policy.act(self._observation)[0]
            if not np.isfinite(action).all():
                raise UserError(f"the policy's action is NaN or infinite in the episode of seed {self.seeds[0]} at step {len(self.take)}")
        elif target is None or self._is_waiting(target):
            return
        else:
            action = target
        state = self.env.get_state()[0]
        before, self.gripper = self._observation, 1.0 if action[9] > 0 else -1.0
        self._observation, reward, terminated, _, info = self.env.step(np.asarray(action, np.float32)[None])
        self._moved = True
        self._note_motion(before)
        self._draw()
        if recording:
            self.take.add(before, state, action, float(reward[0]), by_operator)
            lost = str(info["reason"][0]) if "lost" in info and info["lost"][0] else ""
            self._terminated, self._solved = bool(terminated[0]), bool(info["success"][0])
            for command in self.session.stepped(self._solved, lost):
                self._do(command)

    def _is_waiting(self, target: NDArray[np.float32]) -> bool:
        """Whether the operator asks for nothing new, and nothing has moved for a while."""
        if np.abs(target - self._last_target).max() > 1e-5:
            self._still = 0
        self._last_target = target
        return self.wait and self._still >= _STILL_STEPS

    def _note_motion(self, before: Observation) -> None:
        names = [name for name in ("tcp_pos", "gripper_width", "parts_poses") if name in before]
        moved = max(float(np.abs(self._observation[name][0] - before[name][0]).max()) for name in names)
        self._still = self._still + 1 if moved < _STILL else 0

    def _save(self, success: bool) -> None:
        if not len(self.take):
            self._restart()
            self.session.message = "nothing was recorded"
            return
        known = {**self.provenance, "seed": self.seeds[0]}
        if success != self._solved:  # the operator's label wins; what the task says is noted
            known["task_success"] = self._solved
        episode = self.take.episode(success=success, terminated=self._terminated, record_state=self.record_state, provenance=known)
        self.store.append(episode)
        self.kept, self.successes, self.attempts = self.kept + 1, self.successes + success, self.attempts + 1
        self.seeds.pop(0)
        if self._saved is not None:
            self._saved(success)
        if not self.done:
            self._next_start()

    def _undo(self) -> None:
        back = self.take.undo(self.undo_steps)
        if back is not None:
            self._observation, state, self.gripper = back
            self.env.set_state(state[None])
            self._jumped()
        if self.session.actor == "policy":
            self._release()

    def _release(self) -> None:
        """The policy acts from here: it forgets what it had planned."""
        if self.policy is not None:
            self.policy.reset(np.ones(1, bool), np.array([self.seeds[0]], np.int64))

    # -- starts ------------------------------------------------------------------------------------------------------

    def _new_take(self) -> Take:
        return Take(self.names, tagged=self.policy is not None)

    def _next_start(self) -> None:
        if not self.seeds:
            return
        observation, _ = self.env.reset(seed=[self.seeds[0]])
        self._start = ({name: np.array(value) for name, value in observation.items()}, self.env.get_state().copy())
        self._observation = self._start[0]
        self._begin_anew()

    def _restart(self) -> None:
        """The start of this episode again."""
        self.env.set_state(self._start[1])
        self._observation = self._start[0]
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.take, self.gripper, self._moved = self._new_take(), -1.0, False
        self._jumped()

    def _jumped(self) -> None:
        self.jumps += 1
        self._still, self._terminated, self._solved = 0, False, False
        self._draw()

    def _draw(self) -> None:
        if self.scene is not None:
            self.scene.show(self.env.get_state()[0])


def run(operation: Operation, control_hz: float, pace: float = 1.0, stop: Callable[[], bool] = lambda: False) -> None:
    """Tick in real time, or ``pace`` times as fast, until the session is over or ``stop`` says so."""
    check_positive(pace=pace)
    period = 1.0 / (control_hz * pace)
    due = time.monotonic()
    while not stop() and operation.tick(time.monotonic_ns()):
        due = max(due + period, time.monotonic())  # a late tick is not made up for
        time.sleep(max(due - time.monotonic(), 0.0))
