"""stack_blocks: blocks count in order and when they have stayed, the expert stacks them, and its page shows the task as it is."""

from pathlib import Path

import numpy as np
import pytest

from robolearn.sim.assembly import Assembly
from robolearn.sim.experts.stack_blocks import StackBlocksExpert
from robolearn.sim.tasks.stack_blocks import HALF
from tests.sim.worlds import expert_steps

ROOT = Path(__file__).parents[2]


def stacked(**heights):
    """A world whose blocks stand at these multiples of a block's height, above one another, the others where they started."""
    env = Assembly("stack_blocks", 1, threads=1)
    env.reset(seed=0)
    env._view.bend(np.ones(1, bool), np.array([[0.0, -0.6, 0.0, 0.0, 0.0, 0.0, 0.0]]))  # the hand out of the way
    for name, height in heights.items():
        env._view.part(name)  # known
        at = env._view._part_q[env.task.parts.index(name)]
        env._view.qpos[0, at] = (0.55, 0.1, HALF + 2 * HALF * height, 1, 0, 0, 0)
    env._engine.forward(np.ones(1, bool))
    env._view.hold(np.ones(1, bool))
    return env


def wait(env, steps):
    observation, total = env.observation(), 0.0
    action = np.concatenate([observation["tcp_pos"], observation["tcp_rot6d"], [[-1.0]]], 1)
    for _ in range(steps):
        _, reward, *_, info = env.step(action)
        total += reward[0]
    return total, info


def test_three_blocks_on_one_another_stay_and_count_once_they_have_stayed():
    env = stacked(bottom=0, middle=1, top=2)
    assert not wait(env, env.task.hold_steps)[1]["success"][0]
    assert wait(env, 2)[1]["success"][0]  # the top counts a step after the middle
    assert wait(stacked(bottom=0, middle=1, top=2), 20)[0] == 2.0


def test_the_top_does_not_count_before_the_middle():
    reward, info = wait(stacked(middle=0, top=1), 10)
    assert (reward, info["success"][0]) == (0.0, False)
    assert wait(stacked(bottom=0, middle=1), 10)[0] == 1.0


@pytest.mark.parametrize("level", ["low", "high"])
def test_the_expert_stacks_them(level):
    env = Assembly("stack_blocks", 8, threads=1, randomness=level)
    seeds = np.arange(8) + 100
    expert = StackBlocksExpert(8, variation=1.0)
    expert.reset(np.ones(8, bool), seeds)
    stacked = np.zeros(8, bool)
    for _, result in expert_steps(env, env.reset(seed=seeds.tolist())[0], 220, expert):
        stacked |= result[-1]["success"]
    assert stacked.sum() >= 7


def test_the_page_shows_the_task_and_its_expert_as_they_are():
    page = (ROOT / "docs" / "add_a_task.md").read_text()
    assert (ROOT / "sim" / "tasks" / "stack_blocks.py").read_text() in page
    expert = (ROOT / "sim" / "experts" / "stack_blocks.py").read_text()
    assert expert[expert.index("    def phases") : expert.index("def _from_above")].strip() in page
    assert "def stack_blocks_spec" in page
