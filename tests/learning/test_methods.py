"""Several training seeds of one method, taken together."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from robolearn.errors import UserError
from robolearn.learning.comparison import Arm, ArmResult
from robolearn.learning.methods import arms_of_methods, methods_as_text, summarize_methods
from robolearn.learning.rollout import RolloutResult


def played(method: str | None, seed: int, success: list[int]) -> ArmResult:
    n = len(success)
    episodes = RolloutResult(np.arange(n), np.array(success, bool), np.ones(n, np.int64), np.zeros((n, 0), bool), np.zeros(n))
    return ArmResult(Arm(f"{method}, seed {seed}", {}, method), episodes)


RESULTS = [
    played("few", 0, [0, 0, 0, 1]),
    played("few", 1, [1, 0, 0, 0]),
    played("more", 0, [1, 1, 0, 1]),
    played("more", 1, [0, 1, 1, 1]),
    played("most", 0, [1, 1, 1, 1]),
    played("most", 1, [1, 1, 1, 1]),
]


def test_a_method_is_its_training_seeds_together_and_a_start_counts_once() -> None:
    few, more, most = summarize_methods(RESULTS)
    assert (few["success"]["successes"], few["success"]["trials"], few["rates"], few["against"]) == (2, 8, [0.25, 0.25], {})
    assert more["arms"] == ["more, seed 0", "more, seed 1"]
    assert more["against"]["few"]["difference"] == 0.5
    expected = stats.ttest_rel([0.5, 1, 0.5, 1], [0.5, 0, 0, 0.5])
    assert more["against"]["few"]["p_value"] == pytest.approx(expected.pvalue)
    assert set(most["against"]) == {"few", "more"}


def test_the_order_of_training_seeds_changes_nothing() -> None:
    shuffled = summarize_methods([RESULTS[at] for at in (0, 1, 3, 2, 4, 5)])
    assert shuffled[1]["against"] == summarize_methods(RESULTS)[1]["against"]


def test_arms_that_name_no_method_are_summed_up_by_themselves() -> None:
    assert summarize_methods([played(None, 0, [1]), played(None, 1, [0])]) == []


def test_the_text_names_every_method_each_seed_and_the_tests() -> None:
    lines = methods_as_text(summarize_methods(RESULTS)).splitlines()
    assert len(lines) == 3
    assert lines[1].startswith("more   75.0 %")
    assert "(75.0 75.0)" in lines[1]
    assert "+50.0 pp on few" in lines[1]
    assert "+75.0 pp on few" in lines[2] and "+25.0 pp on more" in lines[2]


def test_arms_of_which_some_name_no_method_are_refused() -> None:
    with pytest.raises(UserError, match=r"all or none; None, seed 0 name none"):
        arms_of_methods([RESULTS[0].arm, played(None, 0, [1]).arm])
