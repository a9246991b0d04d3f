"""Whatever the network does to replies, no action is of another time, of another episode, or no action at all."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.deploy.chunks.executor import MODES
from robolearn.rotation import matrix_from_rot6d
from tests.deploy.chunk_fakes import TP, H, Line, executor, told

STEPS = 60
networks = st.fixed_dictionaries(
    {
        "delays": st.lists(st.one_of(st.integers(0, 4), st.integers(0, 20), st.none()), min_size=1, max_size=40),
        "repeat": st.one_of(st.none(), st.integers(0, 15)),
        "timeout": st.integers(1, 25),
    }
)
expectations = st.lists(st.integers(0, 15), min_size=STEPS, max_size=STEPS)
resets = st.sets(st.integers(1, STEPS - 1), max_size=3)
thorough = settings(max_examples=25, deadline=None)


class Clocked(Line):
    """Chunks whose z is the action clock that the action is meant for."""

    def __init__(self, *args, **options):
        super().__init__(*args, chunk_of=self.told, **options)
        self.served = 0
        self.asked_when_served = {}
        self.short = False  # whether a chunk came for which too little was left of the one before to blend over

    def deliver(self, step):
        pending = self.executor.pending
        super().deliver(step)
        if pending is not None and self.executor.pending is None and self.served:
            firm = max(min(pending.delay, len(pending.prefix)), self.served - self.asked_when_served[pending.decision])
            self.short |= len(pending.prefix) - firm < 3

    def told(self, request):
        self.asked_when_served[request.decision] = self.served
        chunk = told(request)
        chunk[:, 2] += self.served
        return chunk

    def step(self, step, expected=0):
        played = super().step(step, expected)
        self.served += played.action is not None
        return played

    def reset(self):
        self.executor.reset(0)
        self.served, self.asked_when_served, self.short = 0, {}, False


def run(mode, network, expected, cuts=frozenset(), **options):
    """Each step as it went, with the actions played before it in its episode."""
    line = Clocked(executor(mode, **options), **network)
    for step in range(STEPS):
        if step in cuts:
            line.reset()
        before = line.served
        yield line, before, line.step(step, expected[step])


@pytest.mark.parametrize("mode", MODES)
@thorough
@given(networks, expectations, resets)
def test_every_action_is_finite_of_this_episode_and_a_rotation(mode, network, expected, cuts):
    for line, _, played in run(mode, network, expected, cuts):
        if played.action is None:
            continue
        target = played.action.target
        assert np.isfinite(target).all()
        assert target[0] == pytest.approx(line.executor.epoch)
        matrix = matrix_from_rot6d(target[3:9].astype(float))
        np.testing.assert_allclose(matrix[:2].ravel(), target[3:9], atol=1e-5)
        assert target[9] in (-1.0, 1.0)


@pytest.mark.parametrize("mode", ["synchronous", "receding"])
@thorough
@given(networks, expectations, resets)
def test_chunks_in_turn_are_played_in_order_from_the_place_that_the_rule_says(mode, network, expected, cuts):
    last = None  # decision, place, phase
    for line, before, played in run(mode, network, expected, cuts):
        if played.step in cuts:
            last = None
        if played.action is None:
            continue
        decision = played.action.decision
        asked = line.asked_when_served[decision]
        place = int(played.action.target[2]) - asked
        if last is not None and decision == last[0]:
            assert (place, played.action.phase, played.action.fresh) == (last[1] + 1, last[2] + 1, False)
        else:
            request = next(request for request in reversed(line.asked) if request.decision == decision)
            assert place == (min(request.delay, before - asked) if mode == "receding" else 0)
            assert (played.action.phase, played.action.fresh) == (0, True)
            assert last is None or (decision > last[0] and last[2] == H - 1)
        assert played.action.phase < H
        last = (decision, place, played.action.phase)


@thorough
@given(networks, expectations, resets)
def test_ensembles_are_of_actions_meant_for_the_same_step(network, expected, cuts):
    for _, before, played in run("ensemble", network, expected, cuts):
        if played.action is not None:
            assert played.action.target[2] == pytest.approx(before, abs=1e-3)


@thorough
@given(networks, expectations, resets)
def test_realtime_actions_are_meant_for_their_step_but_where_the_old_chunk_ends_too_early(network, expected, cuts):
    held, last = False, -1.0
    for line, before, played in run("realtime", network, expected, cuts):
        if played.step in cuts:
            held, last = False, -1.0
        if played.action is None:
            held |= line.served > 0
            continue
        place = float(played.action.target[2])
        assert place == pytest.approx(before, abs=1e-3) or held or line.short
        assert last - 1e-3 <= place <= before + 1e-3
        last = place


@thorough
@given(networks, expectations, st.randoms(use_true_random=False))
def test_realtime_does_not_jump_where_chunks_disagree_not_even_behind_a_hold(network, expected, random):
    assert largest_step("realtime", network, expected, random) <= 0.8 * 2 + 1e-6


@thorough
@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), expectations, st.randoms(use_true_random=False))
def test_an_ensemble_moves_by_two_thirds_of_the_disagreement_at_most(delays, expected, random):
    """A late reply and the next, prompt one may both join a single chunk in one step."""
    assert largest_step("ensemble", {"delays": delays}, expected, random, decay=0.0) <= 2 / 3 * 2 + 1e-6


def largest_step(mode, network, expected, random, **options):
    """Of targets whose chunks stand still, each at 1 or at -1: unmixed it would be 2."""
    line = Line(executor(mode, **options), **network, chunk_of=lambda request: constant(request, random.choice((-1.0, 1.0))))
    actions = [line.step(step, expected[step]).action for step in range(STEPS)]
    places = [action.target[0] for action in actions if action is not None]
    return np.abs(np.diff(places)).max(initial=0.0)


def constant(request, value):
    chunk = told(request)
    chunk[:, 0] = value
    return chunk


def test_unmixed_chunks_do_jump():
    line = Line(executor("receding"), chunk_of=lambda request: constant(request, -1.0 if request.decision % 2 else 1.0))
    xs = [line.step(step).action.target[0] for step in range(2 * H)]
    assert np.abs(np.diff(xs)).max() == 2.0


@pytest.mark.parametrize("mode", MODES)
@thorough
@given(networks, expectations)
def test_steps_without_an_action_are_counted_and_end_when_replies_come(mode, network, expected):
    line = None
    missed = 0
    for line, before, played in run(mode, network, expected):
        missed += played.action is None and before > 0 and played.step < STEPS - 1
        counts = line.executor.counts
    assert counts.late_steps == missed
    assert counts.requested == counts.accepted + counts.failed + counts.refused["late"] + (line.executor.pending is not None)
    line.delays = [0]
    steps = range(STEPS, STEPS + 30)
    later = [line.step(step, 2).action for step in steps]
    assert all(action is not None for action in later[25 + TP :]) and later[-1] is not None


def test_every_reply_is_answered_once_and_the_reasons_add_up():
    for mode in MODES:
        line = Line(executor(mode), delays=[0, 5, None, 2, 12], repeat=3, timeout=8)
        for step in range(STEPS):
            line.step(step, 1)
        reasons = [reason for _, reason in line.answers]
        assert len(reasons) == line.executor.counts.accepted + sum(line.executor.counts.refused.values())
        assert {"", "duplicate", "stale"} <= set(reasons)
