"""peg_hole as a person does it at the page: grasp the peg, bring it over the block, press lightly and feel around until it drops in."""

import numpy as np

from robolearn.deploy.teleop.gizmo import UPRIGHT
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec

MOUTH = 0.009  # [m] height of the block
GRIP = 0.037  # [m] above the peg's end: the fingers stay clear of the block


class Scene:
    """Poses of peg, block and tool now."""

    def __init__(self, hand):
        poses = hand.seen()["parts_poses"][0].reshape(2, 9).astype(float)
        (self.peg, self.peg_turn), (self.block, self.block_turn) = ((pose[:3], matrix_from_rot6d(pose[3:])) for pose in poses)
        self.tool, self.turn = hand.tool()

    @property
    def left(self):
        """From the seat to the peg's end along the block's axes: y is the height."""
        return self.block_turn.T @ (self.peg - self.block)

    def over_block(self, height):
        """Pose of the tool that holds the peg's end ``height`` [m] above its seat, standing straight."""
        turn = self.block_turn @ self.peg_turn.T @ self.turn
        held = self.turn.T @ (self.peg - self.tool)
        return self.block + height * self.block_turn[:, 1] - turn @ held, turn


def grip_of(scene):
    broad = scene.peg_turn[:, 0]
    yaw = np.arctan2(broad[0], -broad[1])
    return scene.peg + np.array([0.0, 0.0, GRIP]), matrix_from_rotvec(np.array([0.0, 0.0, yaw])) @ UPRIGHT


def insert_peg(hand, say=lambda *words: None, tries=4):
    """One episode, from its start to the banner that says solved."""
    grip, turn = grip_of(Scene(hand))
    say("over the peg", hand.reach(grip + np.array([0, 0, 0.06]), turn, within=0.003, turned=0.03))
    say("at the peg", hand.reach(grip_of(Scene(hand))[0], turn, within=0.003, turned=0.03))
    hand.press("g", wait=1.5)
    tool = Scene(hand).tool
    hand.along(tool + np.array([0, 0, 0.05]), 0.005)
    scene = Scene(hand)
    say("holds", hand.seen()["gripper_width"], scene.peg[2])
    for number in range(tries):
        say("over the block", hand.reach(*scene.over_block(MOUTH + 0.03), within=0.002, turned=0.02))
        say("aligned", hand.reach(*Scene(hand).over_block(MOUTH + 0.004), within=0.0006, turned=0.006, rounds=8), Scene(hand).left)
        if feel_around(hand, say):
            return True
        say("again", number, Scene(hand).left)
        scene = Scene(hand)
    return False


def feel_around(hand, say):
    """Press by 2 mm, then let the handle go round in a widening spiral of at most a millimetre."""
    scene = Scene(hand)
    hand.fine(True)
    hand.along(scene.tool - [0, 0, scene.left[1] - MOUTH + 0.003], 0.0, fine=True)
    if Scene(hand).left[1] < MOUTH - 0.003:
        return press_down(hand)
    aim = Scene(hand).over_block(0.0)[0] - Scene(hand).tool
    steps = np.arange(60)
    ways = [[0.00002 * k * np.cos(0.8 * k), 0.00002 * k * np.sin(0.8 * k), 0.0] + aim * [1, 1, 0] for k in steps]
    hand.trace(ways, lambda: Scene(hand).left[1] < MOUTH - 0.002)
    say("felt", Scene(hand).left)
    return Scene(hand).left[1] < MOUTH - 0.002 and press_down(hand)


def press_down(hand):
    for _ in range(4):
        hand.along(Scene(hand).tool - [0, 0, 0.006], 0.0, fine=True)
        if hand.look() == "solved":
            return True
    return hand.look() == "solved"
