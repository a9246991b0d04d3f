"""Ways to drive one_leg in tests: rollouts of the expert, and a hand made of forces that moves a leg without the robot."""

import numpy as np

from robolearn.rotation import matrix_from_quaternion, matrix_from_rotvec, quaternion_from_matrix, rotvec_from_matrix
from robolearn.seeding import split_seeds
from robolearn.sim.assembly import Assembly
from robolearn.sim.engine import Engine
from robolearn.sim.experts.one_leg import OneLegExpert
from robolearn.sim.furniture import HOLES, LEG_HALF, LEG_MASS, PIN_LENGTH, SEATED, TOP_HALF
from robolearn.sim.scene import build_model
from robolearn.sim.screw import Screws
from robolearn.sim.tasks.one_leg import OneLeg
from robolearn.sim.view import View, settled_state

HOLE = 3
# A leg in this hole stands with its pin's end level with the top's surface.
AT_MOUTH = TOP_HALF[1] + LEG_HALF[1] + PIN_LENGTH - SEATED


def start(num_envs, **options):
    """An environment on search seeds, and its first observation."""
    env = Assembly("one_leg", num_envs, threads=options.pop("threads", 1), **options)
    return env, env.reset(seed=split_seeds("search", num_envs).tolist())[0]


def expert_steps(env, observation, steps, expert=None):
    """Let the expert act; yields ``(action, what step returned)``."""
    if expert is None:
        expert = OneLegExpert(env.num_envs)
        expert.reset(np.ones(env.num_envs, bool), split_seeds("search", env.num_envs))
    for _ in range(steps):
        action = expert.act(observation)
        result = env.step(action)
        observation = result[0]
        yield action, result


def stay(env, observation):
    """The action that holds every tool where it is."""
    rows = env.num_envs
    return np.concatenate([observation["tcp_pos"], observation["tcp_rot6d"], np.full((rows, 1), -1.0)], 1).astype(np.float32)


class LegBench:
    """Leg 4 over a hole of a top that is held still, moved by forces: a spring towards a twist, a push along the normal.

    Heights [m] are above the seat. The thread is updated at the control rate, as in the environment.
    """

    def __init__(self, height, twist):
        task = OneLeg()
        model = build_model(task)
        self.engine, everything = Engine(model, 1, 1), np.ones(1, bool)
        self.engine.load(everything, settled_state(Engine(model, 1, 1), task, "low")[None])
        self.view, self.thread = View(self.engine, task), Screws(self.engine, task.sockets())
        self.force = self.engine.view("xfrc_applied")[:, model.body("leg4").id]
        damping = self.engine.expand("dof_damping")
        leg, top = model.joint("leg4"), model.joint("top")
        # A hand is heavier than a leg: 1 N moves this one at 5 cm/s. One without inertia shakes the thread it pushes against:
        # its spring is computed a step late.
        damping[0, leg.dofadr[0] : leg.dofadr[0] + 6] = (20.0, 20.0, 20.0, 0.01, 0.01, 0.01)
        self.engine.expand("dof_armature")[0, leg.dofadr[0] + 3 : leg.dofadr[0] + 6] = 1e-3
        damping[0, top.dofadr[0] : top.dofadr[0] + 6] = 1e4
        self.engine.set_const(everything)
        qpos = self.engine.view("qpos")
        qpos[0, top.qposadr[0] : top.qposadr[0] + 2] = (0.5, -0.6)  # out of the way of the robot, the fence and the other legs
        self.target_height, self.target_twist = height, twist
        position, rotation = self._target()
        qpos[0, leg.qposadr[0] : leg.qposadr[0] + 7] = np.concatenate([position, quaternion_from_matrix(rotation)])
        self.engine.forward(everything)

    @property
    def height(self):
        return float(self.leg_in_top.position[0, 1] - SEATED)

    @property
    def leg_in_top(self):
        return self.view.relative("leg4", "top")

    @property
    def engaged(self):
        return bool(self.thread.engaged()[0, HOLE])

    def update(self):
        self.thread.update(self.view.pairs(self.thread.pairs))

    def act(self, seconds, push, turn_rate=0.0):
        """Push with a net force [N] (upwards positive, weight compensated) and turn [rad/s]; heights and unwrapped twists, 10 a second."""
        heights, twists = [], []
        for substep in range(round(seconds / OneLeg.physics.timestep)):
            self.target_twist += turn_rate * OneLeg.physics.timestep
            position, rotation = self._target()
            leg = self.view.part("leg4")[0]
            force = 300.0 * (position - leg[:3])
            force[2] = push + 9.81 * LEG_MASS
            torque = 0.4 * rotvec_from_matrix(rotation @ matrix_from_quaternion(leg[3:]).T)
            self.force[0] = np.concatenate([force, torque])
            self.engine.step(1)
            if (substep + 1) % OneLeg.physics.substeps == 0:
                self.update()
                heights.append(self.height)
                twists.append(float(self.leg_in_top.twist[0]))
        return np.array(heights), np.unwrap(twists)

    def _target(self):
        top = self.view.part("top")[0]
        upright = matrix_from_quaternion(top[3:])
        hole = np.array([HOLES[HOLE][0], SEATED + self.target_height, HOLES[HOLE][1]])
        return top[:3] + upright @ hole, upright @ matrix_from_rotvec(np.array([0.0, self.target_twist, 0.0]))
