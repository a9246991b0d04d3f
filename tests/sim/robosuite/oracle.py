"""robosuite's own environment beside a batch in the same state: what parity tests compare."""

import numpy as np

from robolearn.sim.headless import mujoco
from robolearn.sim.robosuite import callbacks
from robolearn.sim.robosuite.env import RobosuiteEnv
from robolearn.sim.robosuite.host import draw_start, make_host

SIX = ("lift", "stack", "can", "square", "tool_hang", "transport")
SEED = 3
ALL = np.ones(1, bool)


class Pair:
    """A batch of one row and robosuite's environment, at the start of the same episode, under the same delta actions."""

    def __init__(self, task):
        shaped = task != "transport"  # for which robosuite has no shaped reward, and says so on the screen
        self.env = RobosuiteEnv(task, 1, input_type="delta", reward_shaping=shaped, threads=1)
        self.host = make_host(task, "delta", {"reward_shaping": shaped})
        self.model, self.sim = self.env.engine.model, self.host.sim
        self.arms = self.env.view.arm_qpos.ravel()
        self.restart()

    def restart(self):
        self.rng = np.random.default_rng(0)
        self.env.reset(seed=SEED)
        draw_start(self.host, SEED)
        self.refresh()

    def refresh(self):
        """robosuite's first torques after a reset use what was cached before the fingers were placed."""
        for robot in self.host.robots:
            robot.part_controllers["right"].new_update = True

    def action(self, scale=1.0):
        return self.rng.uniform(-scale, scale, self.env.env_spec.action.size)

    @property
    def qpos(self):
        """robosuite's, of what the batch has too."""
        return self.sim.data.qpos[self.env._positions]

    @property
    def qvel(self):
        return self.sim.data.qvel[self.env._velocities]

    def follow(self):
        """Put the batch where robosuite's environment is."""
        self.env.view.qpos[0], self.env.view.qvel[0] = self.qpos, self.qvel
        self.env.engine.forward(ALL)

    def lead(self):
        """Put robosuite's environment where the batch is, its hidden objects on the ground, where they soon are anyway."""
        hidden = np.setdiff1d(np.arange(len(self.sim.data.qpos)), self.env._positions)
        self.sim.data.qpos[hidden[2::7]] = 0.0
        self.sim.data.qpos[self.env._positions], self.sim.data.qvel[self.env._velocities] = self.env.view.qpos[0], self.env.view.qvel[0]

    def play(self, action):
        """One control step of robosuite's, yielding before each physics step is finished: its torques are in ``ctrl``."""
        for substep in range(25):
            self.sim.step1()
            self.refresh()
            self.host._pre_action(action, policy_step=substep == 0)
            yield substep
            self.sim.step2()

    def torques(self):
        """Those of the compiled controller in robosuite's state, ``(nu,)``."""
        data = mujoco.MjData(self.model)
        data.qpos, data.qvel, data.userdata = self.qpos, self.qvel, self.env.view.commands[0].ravel()
        data.ctrl = self.env.engine.view("ctrl")[0]
        with callbacks.installed():
            mujoco.mj_step1(self.model, data)
        return data.ctrl

    def seen(self):
        """robosuite's observation, reward and success of its state as it is, not of a physics step before."""
        self.sim.forward()
        for _ in range(2):  # what an object is to the hand is made of the pose observed before
            shown = self.host._get_observations(force_update=True)
        return shown, float(self.host.reward(None)), bool(self.host._check_success())
