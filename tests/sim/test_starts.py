"""Starts differ by seed and by level, and nothing overlaps at a start."""

import numpy as np
import pytest

from robolearn.errors import UserError
from robolearn.sim.furniture import LEG_HALF, PIN_LENGTH, TOP_HALF
from robolearn.sim.starts import draw_starts
from robolearn.sim.tasks.one_leg import OneLeg

SEEDS = np.arange(2000)
# Footprints: low and high corner in the part's frame when it lies at yaw 0 [m]. A leg's pin points along -x.
TOP = ((-TOP_HALF[0], -TOP_HALF[0]), (TOP_HALF[0], TOP_HALF[0]))
BAR = ((-LEG_HALF[1], -LEG_HALF[0]), (LEG_HALF[1], LEG_HALF[0]))
PIN = ((-LEG_HALF[1] - PIN_LENGTH, -0.01), (-LEG_HALF[1], 0.01))
# The fence stands turned by 90 degrees about z: its front bar lies along y, at larger x.
FENCE = (((-0.01, -0.175), (0.01, 0.175)), ((-0.16, -0.185), (0.01, -0.165)), ((-0.16, 0.165), (0.01, 0.185)))


def corners(box, xy, yaw):
    (x0, y0), (x1, y1) = box
    local = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])
    cos, sin = np.cos(yaw), np.sin(yaw)
    turn = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)  # (N, 2, 2)
    return xy[:, None] + np.einsum("nij,kj->nki", turn, local)


def overlap(first, second):
    """Whether two convex footprints ``(N, 4, 2)`` overlap, by separating axes: ``(N,)``."""
    together = np.ones(len(first), bool)
    for shape in (first, second):
        for side in (0, 1):
            edge = shape[:, side + 1] - shape[:, side]
            normal = np.stack([-edge[:, 1], edge[:, 0]], -1)
            a, b = np.einsum("nki,ni->nk", first, normal), np.einsum("nki,ni->nk", second, normal)
            together &= (a.min(1) < b.max(1) - 1e-9) & (b.min(1) < a.max(1) - 1e-9)
    return together


def footprints(level):
    start = draw_starts(OneLeg(), SEEDS, level)
    shapes = {"top": corners(TOP, start.xy[:, 0], start.yaw[:, 0])}
    for leg in range(1, 5):
        shapes[f"leg{leg} bar"] = corners(BAR, start.xy[:, leg], start.yaw[:, leg])
        shapes[f"leg{leg} pin"] = corners(PIN, start.xy[:, leg], start.yaw[:, leg])
    for index, bar in enumerate(FENCE):
        shapes[f"fence bar{index}"] = corners(bar, start.xy[:, 5], np.zeros(len(SEEDS)))
    return shapes


@pytest.mark.parametrize("level", OneLeg.levels)
def test_nothing_overlaps_at_a_start(level):
    shapes = footprints(level)
    names = list(shapes)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if a[:4] != b[:4]]
    assert {pair: int(count) for pair in pairs if (count := overlap(shapes[pair[0]], shapes[pair[1]]).sum())} == {}


def test_the_overlap_test_sees_overlaps():
    box = ((-1.0, -1.0), (1.0, 1.0))
    here, yaw = np.zeros((3, 2)), np.array([0.0, 0.3, np.pi / 4])
    beside = np.array([[2.1, 0.0], [2.1, 0.0], [2.5, 0.0]])  # the turned boxes reach 1, 1.25 and 1.41
    np.testing.assert_array_equal(overlap(corners(box, here, yaw * 0), corners(box, beside, yaw)), [False, True, False])
    np.testing.assert_array_equal(overlap(corners(box, here, yaw * 0), corners(box, beside - [0.2, 0.0], yaw)), [True, True, True])


def test_medium_displaces_more_than_low():
    spread = {level: draw_starts(OneLeg(), SEEDS, level) for level in OneLeg.levels}
    low, med = ((start.xy - [(rest.x, rest.y) for rest in OneLeg.layout]).std(0) for start in (spread["low"], spread["med"]))
    assert med[0].mean() > 1.2 * low[0].mean()
    assert med[5].mean() > 1.5 * low[5].mean()
    assert spread["med"].joints.std() > 1.5 * spread["low"].joints.std()
    assert (spread["med"].xy != spread["low"].xy).any((1, 2)).all()


def test_a_start_belongs_to_its_seed_alone():
    together, alone = draw_starts(OneLeg(), SEEDS[:10], "low"), draw_starts(OneLeg(), SEEDS[7:8], "low")
    np.testing.assert_array_equal(together.xy[7], alone.xy[0])
    np.testing.assert_array_equal(together.joints[7], alone.joints[0])
    assert len(np.unique(draw_starts(OneLeg(), SEEDS, "low").yaw[:, 0])) == len(SEEDS)


def test_an_unknown_level_is_an_error():
    with pytest.raises(UserError, match="low, med, high"):
        draw_starts(OneLeg(), SEEDS, "hihg")
