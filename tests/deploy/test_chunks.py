"""Chunks become one action a step, in the way that the mode says."""

import numpy as np
import pytest

from robolearn.deploy.chunks.executor import MODES, ChunkExecutor
from robolearn.errors import UserError
from robolearn.policies.chunking import ChunkedPolicy
from robolearn.rotation import matrix_from_rot6d, matrix_from_rotvec, rot6d_from_matrix
from robolearn.spec import ActionSpec, EnvSpec
from tests.deploy.chunk_fakes import SPEC, TP, H, Line, executor, told


def places(played):
    """(decision, place in its chunk) of each step, None where the robot holds."""
    return [None if one.action is None else tuple(one.action.target[1:3].astype(int)) for one in played]


class Sampler:
    """Draws chunks from seed, decision and observation."""

    env_spec = EnvSpec("t", {}, SPEC, 10.0)
    observation_keys = ("tcp_pos",)
    prediction_horizon, observation_horizon = TP, 2

    def sample(self, observation, seeds, decisions, candidates=1):
        rows = [
            np.random.default_rng([int(seed), int(decision), int(seen.sum())]).normal(size=(1, TP, 10))
            for seed, decision, seen in zip(seeds, decisions, observation["tcp_pos"], strict=True)
        ]
        return np.stack(rows).astype(np.float32)


@pytest.mark.parametrize("mode", ["synchronous", "receding"])
@pytest.mark.parametrize("executed", [1, H, TP])
def test_without_delay_it_plays_what_the_policy_plays_in_simulation_to_the_bit(mode, executed):
    policy = ChunkedPolicy(Sampler(), executed, 1)
    ours = ChunkExecutor(SPEC, TP, executed, mode)
    for seed in (3, 4):
        policy.reset(np.ones(1, bool), np.array([seed]))
        ours.reset(seed)
        history = []
        for step in range(31):
            seen = np.full((1, 3), 10 * seed + step, np.float32)
            expected = policy.act({"tcp_pos": seen})[0]
            history = [*(history or [seen]), seen][-2:]
            request = ours.wants(step)
            assert (request is not None) == policy.decided[0]
            if request is not None:
                stacked = {"tcp_pos": np.stack(history, 1)}
                drawn = Sampler().sample(stacked, np.array([request.seed]), np.array([request.decision]))
                assert ours.accept(request.id, drawn[0, 0]) == ""
            action = ours.action(step)
            np.testing.assert_array_equal(action.target, expected)
            assert action.target.dtype == expected.dtype
            assert (action.phase, action.fresh, action.decision) == (policy.phase[0] - 1, policy.decided[0], policy.decisions[0] - 1)
    assert ours.counts.late_steps == 0


def test_synchronous_holds_while_the_next_chunk_is_drawn_and_begins_it_at_its_first_action():
    line = Line(executor("synchronous"), delays=[2])
    played = [line.step(step, expected=2) for step in range(16)]
    one, two = ([(decision, place) for place in range(H)] for decision in (0, 1))
    assert places(played) == [None, None, *one, None, None, *two, None, None]
    assert line.executor.counts.late_steps == 2 + 1  # of the third pause one has passed; before the first chunk nothing is late


def test_receding_asks_in_advance_and_skips_what_has_passed():
    line = Line(executor("receding"), delays=[2])
    played = [line.step(step, expected=2) for step in range(2 + 3 * H)]
    first = [(0, place) for place in range(H)]
    rest = [(decision, place) for decision in (1, 2) for place in range(2, 2 + H)]
    assert places(played) == [None, None, *first, *rest]
    assert [request.step for request in line.asked] == [0, 2 + H - 2, 2 + 2 * H - 2, 2 + 3 * H - 2]
    assert line.executor.counts.late_steps == 0


def test_receding_skips_no_more_than_was_expected_though_the_reply_is_later():
    line = Line(executor("receding"), delays=[0, 4])
    played = [line.step(step, expected=1) for step in range(14)]
    assert places(played)[:5] == [(0, place) for place in range(5)]
    assert line.asked[1].step == 4
    assert places(played)[5:11] == [None, None, None, (1, 1), (1, 2), (1, 3)]
    assert line.executor.counts.late_steps == 3


def test_receding_skips_no_more_than_was_played_though_more_was_expected():
    line = Line(executor("receding"), delays=[3, 0])
    played = [line.step(step, expected=3) for step in range(10)]
    assert places(played)[3:9] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, 4), (1, 3)]
    line = Line(executor("receding", executed=2), delays=[0])
    assert places([line.step(step, expected=9) for step in range(6)]) == [(0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 3)]


def test_receding_never_asks_so_early_that_a_chunk_would_be_too_short():
    line = Line(executor("receding", executed=TP - 1), delays=[3])
    played = places([line.step(step, expected=3) for step in range(40)])
    starts = [place for before, place in zip([None, *played], played, strict=False) if place and (not before or place[0] != before[0])]
    assert [place for _, place in starts] == [0, 1, 1]  # one action is spare


def ensemble_of(step, delay, decay=0.01):
    """By hand: with a reply every ``delay`` steps, the chunks asked at 0, d, 2d ... cover from their arrival on."""
    asked = [at for at in range(0, step + 1, delay or 1) if at + delay <= step and step - at < TP]
    weights = np.exp(-decay * np.arange(len(asked)))
    return asked, weights / weights.sum()


def moving(request):
    chunk = told(request)
    chunk[:, 0] = 100 * request.decision + np.arange(TP)
    return chunk


def test_ensemble_is_the_mean_of_all_chunks_that_cover_the_step_the_oldest_heaviest():
    line = Line(executor("ensemble", decay=0.3), chunk_of=moving)
    for step in range(30):
        asked, weights = ensemble_of(step, 0, 0.3)
        action = line.step(step).action
        np.testing.assert_allclose(action.target[0], weights @ [100 * at + step - at for at in asked], rtol=1e-5)
        assert (action.decision, action.phase, action.fresh) == (step, 0, True)
        votes = weights @ [1 if at % 2 else -1 for at in asked]
        assert action.target[9] == np.sign(votes if abs(votes) > 1e-9 else asked[-1] % 2 - 0.5)
        matrix = matrix_from_rot6d(action.target[3:9].astype(float))
        mean = weights @ [rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, 0.1 * (at % 7)]))) for at in asked]
        np.testing.assert_allclose(matrix, matrix_from_rot6d(mean), atol=1e-5)


def test_ensemble_keeps_chunks_in_time_with_each_other_when_replies_are_late():
    line = Line(executor("ensemble"), delays=[0, 3], chunk_of=moving)
    line.step(0)
    for step in range(1, 20):
        newest = (step - 4) // 3 * 3 + 1 if step >= 4 else 0  # asked at 1, 4, 7 ..., each there three steps later
        asked = [at for at in (0, *range(1, newest + 1, 3)) if at + 3 <= step or at == 0]
        covering = [(number, at) for number, at in enumerate(asked) if step - at < TP]
        expected = np.exp(-0.01 * np.arange(len(covering))) @ [100 * number + step - at for number, at in covering]
        action = line.step(step, expected=1).action
        np.testing.assert_allclose(action.target[0], expected / np.exp(-0.01 * np.arange(len(covering))).sum(), rtol=1e-5)
    assert line.executor.counts.late_steps == 0


def test_realtime_freezes_what_is_played_meanwhile_and_says_so_to_the_server():
    line = Line(executor("realtime"), delays=[0, 2])
    played = [line.step(step, expected=3) for step in range(H + 3 + 5)]
    request = line.asked[1]
    assert request.step == H
    np.testing.assert_array_equal(request.prefix[:, 2], np.arange(H, TP))  # the rest of the first chunk
    np.testing.assert_array_equal(request.weights[:3], 1)
    c = (TP - H - np.arange(3, TP - H)) / (TP - H - 3 + 1)  # equation 5 of the paper, its H - s being our TP - H
    np.testing.assert_allclose(request.weights[3:], c * (np.exp(c) - 1) / (np.e - 1), rtol=1e-6)
    assert places(played)[: H + 3] == [(0, place) for place in range(H + 3)]  # frozen, though the reply came a step earlier
    assert [one.action.phase for one in played] == [*range(H + 3), *range(5)]
    mixed = np.array([one.action.target for one in played[H + 3 :]])
    old, new = np.array([(0, place) for place in range(H + 3, H + 8)]), np.array([(1, place) for place in range(3, 8)])
    weight = np.append(request.weights[3:], 0)  # the old chunk ends one action before the fifth
    np.testing.assert_allclose(mixed[:, 1:3], weight[:, None] * old + (1 - weight[:, None]) * new, rtol=1e-5)
    assert set(mixed[:, 9]) == {-1.0, 1.0}


def test_realtime_never_pauses_while_replies_come_before_the_chunk_ends():
    line = Line(executor("realtime"), delays=[0, 3, 4, 5, 6, 6, 2])
    played = [line.step(step, expected=1) for step in range(60)]
    assert all(one.action is not None for one in played)
    assert line.executor.counts.late_steps == 0


def test_realtime_goes_from_a_hold_to_the_late_chunk_without_a_jump():
    line = Line(executor("realtime", blend=4), delays=[0, 20, 1])
    played = [line.step(step, expected=2) for step in range(32)]
    held = [one.step for one in played if one.action is None]
    assert held == list(range(TP, 5 + 20))
    assert line.executor.counts.late_steps == len(held)
    before, *after = (played[step].action.target[2] for step in (TP - 1, 25, 26, 27, 28))
    assert before == TP - 1
    assert after == sorted(after, reverse=True) or np.all(np.diff(after) > -5)
    assert abs(after[0] - before) < 0.6 * abs(TP - 1 - 7)  # the new chunk is at its place 7


def test_a_held_robot_is_told_as_late_and_its_last_action_stays():
    line = Line(executor("receding"), delays=[0, 6])
    played = [line.step(step) for step in range(11)]
    assert [one.action is None for one in played] == [False] * 5 + [True] * 6
    assert line.executor.counts.late_steps == 5
    assert line.step(11).action.target[1] == 1
    assert line.executor.counts.late_steps == 6


def test_an_action_may_come_within_its_step():
    ours = executor("receding")
    request = ours.wants(0)
    assert ours.action(0) is None
    assert ours.accept(request.id, told(request)) == ""
    first = ours.action(0)
    assert first is not None
    assert ours.action(0) is first
    assert ours.action(1).phase == 1
    assert ours.counts.late_steps == 0


def test_slow_actuators_see_ahead_what_is_planned():
    for mode in MODES:
        line = Line(executor(mode), delays=[0])
        line.step(0)
        assert line.executor.ahead(H - 1)[2] == H - 1
        assert line.executor.ahead(TP) is None
    line = Line(executor("receding"), delays=[0])
    [line.step(step, expected=2) for step in range(4)]  # the second chunk waits
    assert [tuple(line.executor.ahead(steps)[1:3]) for steps in (1, 2, 3)] == [(0, 4), (1, 2), (1, 3)]
    with pytest.raises(UserError, match="steps must be above 0"):
        line.executor.ahead(0)


def spoiled(request, what):
    chunk = told(request)
    if what == "shape":
        return chunk[:-1]
    if what == "not finite":
        chunk[3, 4] = np.inf
    if what == "no rotation":
        chunk[-1] = 0.0  # zero padding
    return chunk.astype(object) if what == "type" else chunk


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["shape", "not finite", "no rotation", "type"])
def test_a_chunk_that_is_none_is_refused_with_its_reason_and_asked_anew(mode, what):
    ours = executor(mode)
    request = ours.wants(0)
    reason = ours.accept(request.id, spoiled(request, what))
    assert reason == ("shape" if what == "type" else what)
    assert ours.counts.refused == {reason: 1}
    assert ours.counts.failures == 1
    assert ours.action(0) is None
    assert ours.wants(0) is None  # not twice in one step
    again = ours.wants(1)
    assert (again.id, again.decision) == (2, 1)
    assert ours.accept(request.id, told(request)) == "stale"
    assert ours.accept(again.id, told(again)) == ""
    assert ours.counts.failures == 0
    assert ours.action(1).decision == 1


def test_replies_of_another_time_are_refused():
    ours = executor("receding")
    old = ours.wants(0)
    assert ours.accept(99, told(old)) == "unknown"
    assert ours.accept(old.id, told(old)) == ""
    assert ours.accept(old.id, told(old)) == "duplicate"
    ours.action(0)
    ours.reset(8)
    new = ours.wants(0)
    assert (new.seed, new.decision, new.epoch) == (8, 0, old.epoch + 1)
    assert ours.accept(old.id, told(old)) == "epoch"
    ours.failed(new.id)
    assert ours.counts.failed == 1
    assert ours.accept(new.id, told(new)) == "stale"
    assert ours.action(0) is None


def test_what_a_caller_does_to_its_arrays_leaves_the_plan_alone():
    ours = executor("receding")
    request = ours.wants(0)
    chunk = told(request)
    ours.accept(request.id, chunk)
    chunk[:] = np.nan
    ours.action(0).target[:] = np.nan
    assert np.isfinite(ours.action(1).target).all()


def test_what_cannot_be_executed_is_refused_by_name():
    with pytest.raises(UserError, match="synchronous, receding, ensemble, realtime; did you mean 'receding'"):
        ChunkExecutor(SPEC, TP, H, "recedin")
    with pytest.raises(UserError, match="give 1 to 12"):
        ChunkExecutor(SPEC, TP, 13)
    with pytest.raises(UserError, match=r"canonical actions.*'rad'"):
        ChunkExecutor(ActionSpec(("a",), (0.0,), (1.0,), "rad"), TP, H)
    ours = executor("receding")
    ours.action(5)
    with pytest.raises(UserError, match="after step 5 came step 4"):
        ours.action(4)


def test_opposite_rotations_do_not_average_to_none():
    ours = executor("ensemble", decay=0.0)
    for step, angle in enumerate((0.0, np.pi)):
        request = ours.wants(step)
        chunk = told(request)
        chunk[:, 3:9] = rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, angle])))
        ours.accept(request.id, chunk)
        action = ours.action(step)
    np.testing.assert_allclose(matrix_from_rot6d(action.target[3:9].astype(float)), matrix_from_rotvec(np.array([0, 0, np.pi])), atol=1e-6)


def test_both_arms_of_a_two_armed_action_are_mixed_by_kind():
    names = tuple(f"{arm}_{name}" for arm in ("left", "right") for name in SPEC.names)
    both = ActionSpec(names, SPEC.low * 2, SPEC.high * 2, f"{SPEC.units}, {SPEC.units}")
    ours = ChunkExecutor(both, TP, H, "ensemble", decay=0.0)
    for step, angle in enumerate((0.0, 1.0)):
        request = ours.wants(step)
        turned = np.array([0, 0, 0, *rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, angle]))), 2 * step - 1])
        ours.accept(request.id, np.tile(turned, (TP, 2)))
        action = ours.action(step)
    for arm in (0, 10):
        half = rot6d_from_matrix(matrix_from_rotvec(np.array([0, 0, 0.5])))
        np.testing.assert_allclose(action.target[arm + 3 : arm + 9], half, atol=1e-6)
        assert action.target[arm + 9] == 1.0  # even votes: the newest
