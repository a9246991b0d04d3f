"""Statistics against textbook values and simulation."""

import numpy as np
import pytest
from scipy import stats

from robolearn.significance import bootstrap_iqm, clustered_rate, interquartile_mean, mcnemar, paired_t, wilson


def test_wilson_matches_textbook_values():
    # Newcombe 1998, Table I, method 3 (score, no continuity correction).
    cases = {(81, 263): (0.2553, 0.3662), (15, 148): (0.0624, 0.1605), (0, 20): (0.0, 0.1611), (1, 29): (0.0061, 0.1718)}
    for (successes, trials), (low, high) in cases.items():
        result = wilson(successes, trials)
        assert (result.low, result.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_mirrored_by_counting_failures():
    assert wilson(17, 20).low == pytest.approx(1 - wilson(3, 20).high, abs=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (3, 2), (-1, 5)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match=r"successes <= trials"):
        wilson(successes, trials)


def pairs(both, gained, lost, neither):
    first = [True] * both + [False] * gained + [True] * lost + [False] * neither
    second = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return first, second


def test_mcnemar_is_the_sign_test_of_the_pairs_that_differ():
    result = mcnemar(*pairs(30, 12, 3, 55))
    # 2 * P(X <= 3), X ~ Binomial(15, 1/2) = 2 * (1 + 15 + 105 + 455) / 2**15
    assert result.p_value == pytest.approx(2 * 576 / 2**15)
    assert (result.gained, result.lost, result.difference) == (12, 3, pytest.approx(0.09))


def test_mcnemar_of_equal_arms_is_certain_of_nothing():
    result = mcnemar([True, False, True], [True, False, True])
    assert (result.p_value, result.difference) == (1.0, 0.0)
    assert result.low < 0 < result.high


def test_paired_interval_ends_where_the_score_test_is_just_significant():
    # The likelihood of the discordant pairs, maximised by brute force under a given difference (Tango 1998).
    both, gained, lost, neither = 30, 12, 3, 55
    trials = both + gained + lost + neither
    result = mcnemar(*pairs(both, gained, lost, neither))
    for end in (result.low, result.high):
        share = np.linspace(max(0.0, -end) + 1e-9, (1 - end) / 2 - 1e-9, 2_000_001)  # of lost pairs
        likelihood = gained * np.log(share + end) + lost * np.log(share) + (both + neither) * np.log(1 - 2 * share - end)
        best = share[np.argmax(likelihood)]
        score = (gained - lost - trials * end) / np.sqrt(trials * (2 * best + end * (1 - end)))
        assert abs(score) == pytest.approx(stats.norm.ppf(0.975), abs=1e-3)


def test_paired_interval_turns_round_with_the_arms():
    first, second = pairs(30, 12, 3, 55)
    forth, back = mcnemar(first, second), mcnemar(second, first)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-9)


def test_mcnemar_refuses_arms_of_different_length():
    with pytest.raises(ValueError, match="same number of starts"):
        mcnemar([True], [True, False])


def test_interquartile_mean_ignores_the_outer_quarters():
    assert interquartile_mean([-1000.0, 1.0, 2.0, 1000.0]) == 1.5
    assert interquartile_mean(np.arange(8.0)) == np.mean([2, 3, 4, 5])


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        interval = bootstrap_iqm(generator.normal(0.5, 0.1, (4, 5)), generator, resamples=400)
        hits += interval.low <= 0.5 <= interval.high
    # Percentile intervals of 20 values are a little narrow; 95 % nominal.
    assert 0.85 <= hits / 200 <= 0.99


def test_bootstrap_keeps_tasks_apart():
    # Seeds agree within each task: resampling within tasks moves nothing, resampling across them would.
    table = np.repeat([[0.1], [0.5], [0.9]], 5, axis=1)
    interval = bootstrap_iqm(table, np.random.default_rng(0), resamples=100)
    assert interval.low == interval.high == interval.value


def test_paired_bootstrap_removes_what_the_arms_share():
    base = np.random.default_rng(0).uniform(0, 1, (1, 8))
    interval = bootstrap_iqm(base + 0.1, np.random.default_rng(1), resamples=500, paired=base)
    assert (interval.low, interval.value, interval.high) == pytest.approx((0.1, 0.1, 0.1))


def test_wilson_interval_is_where_the_score_test_is_just_significant():
    result = wilson(37, 100)
    for end in (result.low, result.high):
        score = (0.37 - end) / np.sqrt(end * (1 - end) / 100)
        assert abs(score) == pytest.approx(stats.norm.ppf(0.975))


def test_policies_that_solve_the_same_starts_count_for_one_and_independent_ones_for_all():
    generator = np.random.default_rng(0)
    once = generator.random(400) < 0.6
    alike, alone = clustered_rate([once] * 3), wilson(int(once.sum()), 400)
    assert (alike.successes, alike.trials) == (3 * once.sum(), 1200)
    assert (alike.low, alike.high) == pytest.approx((alone.low, alone.high), abs=1e-3)
    free = clustered_rate(generator.random((3, 400)) < 0.6)
    whole = wilson(free.successes, 1200)
    assert free.high - free.low == pytest.approx(whole.high - whole.low, rel=0.1)
    assert clustered_rate([[True] * 50] * 2).low == pytest.approx(wilson(50, 50).low)


def test_the_test_of_methods_holds_its_level_where_starts_differ_in_difficulty():
    generator = np.random.default_rng(1)
    refused = 0
    for _ in range(600):
        # Each method has its own hard starts; its three training seeds share them. The methods are equally good.
        first, second = ((generator.random((3, 200)) < generator.beta(1, 1, 200)).mean(0) for _ in range(2))
        refused += paired_t(first, second).p_value < 0.05
    assert 0.03 < refused / 600 < 0.07


def test_methods_that_never_differ_are_no_evidence():
    assert vars(paired_t([0.5, 1.0], [0.5, 1.0])) == {"difference": 0.0, "low": 0.0, "high": 0.0, "p_value": 1.0}
    with pytest.raises(ValueError, match="same two starts or more"):
        paired_t([1.0], [0.0])
    with pytest.raises(ValueError, match="needs episodes"):
        clustered_rate([])
