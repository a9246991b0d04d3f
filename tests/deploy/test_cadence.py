"""A run's punctuality is told exactly, in bounded memory, and for next to nothing a tick."""

from __future__ import annotations

import io
import json
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from robolearn.deploy.cadence import AGE, LATE, TOOK, Cadence
from robolearn.deploy.trace import Trace
from robolearn.errors import UserError


def filled(ticks: int, capacity: int = 1 << 12) -> Cadence:
    """Tick number n is n us late and takes 1 ms; one is missed after every hundredth."""
    cadence = Cadence(100.0, capacity)
    for number in range(ticks):
        cadence.tick(5_000_000_000 + number * 10_000_000, number * 1_000, 1_000_000, missed=number % 100 == 99)
    return cadence


def test_percentiles_are_those_of_all_ticks() -> None:
    told = filled(1001).summary()
    late = told["series_ms"][LATE]
    assert (told["ticks"], told["missed"], told["rate_hz"], told["began_ns"]) == (1001, 10, 100.0, 5_000_000_000)
    assert told["seconds"] == pytest.approx(10.0)
    for key, expected in {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0, "mean": 0.5}.items():
        assert late[key] == pytest.approx(expected, rel=1e-5)
    assert told["series_ms"][TOOK]["p99"] == pytest.approx(1.0)


def test_the_longest_is_remembered_when_old_values_have_gone() -> None:
    cadence = Cadence(100.0, capacity=8)
    for number, late in enumerate([9_000_000, *range(20)]):
        cadence.tick(number * 10_000_000, late, 0)
    late_ms = cadence.summary()["series_ms"][LATE]
    assert late_ms["count"] == 21 and late_ms["max"] == pytest.approx(9.0)
    assert late_ms["p50"] == pytest.approx(15.5e-6)  # of the last eight
    arrays = cadence.arrays()
    np.testing.assert_allclose(arrays[f"{LATE}/ms"], np.arange(12, 20) * 1e-6, rtol=1e-5)
    np.testing.assert_allclose(arrays[f"{LATE}/time"], np.arange(13, 21) * 0.01)


def test_other_latencies_and_counts_stand_beside_and_the_summary_is_json() -> None:
    cadence = filled(10)
    cadence.add(AGE, 0.02)
    cadence.add(AGE, 0.04)
    cadence.count("clamps", "velocity", 3)
    cadence.count("clamps", "workspace")
    told = json.loads(json.dumps(cadence.summary()))
    assert told["series_ms"][AGE]["mean"] == pytest.approx(30.0)
    assert told["counts"] == {"clamps": {"velocity": 3, "workspace": 1}}
    written = io.StringIO()
    Console(width=120, file=written).print(cadence.table())
    text = written.getvalue()
    assert "10 ticks at 100 Hz" in text and "observation age" in text and "clamps: velocity" in text


def test_a_run_without_a_tick_is_told_too() -> None:
    told = Cadence(100.0).summary()
    assert told["ticks"] == 0 and told["series_ms"][LATE]["p99"] == 0.0
    with pytest.raises(UserError, match="rate_hz must be above 0"):
        Cadence(0.0)


def test_a_tick_costs_next_to_nothing() -> None:
    started = time.perf_counter()
    filled(5000)
    assert time.perf_counter() - started < 0.5  # 100 us a tick; 2 us where nothing else runs


def traced(ticks: int, rows: int) -> dict[str, np.ndarray]:
    """Joint j of tick n was measured at n + j and commanded to 0.5 more; tick 13 was clamped, and 14 the operator's."""
    trace = Trace(("a", "b"), rows)
    for number in range(ticks):
        joints = np.array([number, number + 1.0])
        setpoint = SimpleNamespace(positions=np.stack([joints + 0.5] * 3), position=np.full(3, number), reasons=())
        if number == 13:
            setpoint.reasons = ("velocity", "table")
        trace.add(
            10**18 + number * 10_000_000,
            "hold" if number == 14 else "running",
            measured=joints,
            target=None if number == 14 else np.full(10, number),
            setpoint=setpoint,
            intervention=number == 14,
        )
    return trace.arrays()


def test_a_trace_holds_every_tick_while_there_is_room() -> None:
    arrays = traced(16, 16)
    np.testing.assert_allclose(arrays["time"], np.arange(16) * 0.01, atol=1e-9)
    np.testing.assert_array_equal(arrays["measured"][:, 1], np.arange(16) + 1)
    np.testing.assert_array_equal(arrays["commanded"] - arrays["measured"], 0.5)
    assert np.isnan(arrays["target"][14]).all() and arrays["target"][15, 9] == 15
    assert [list(arrays[name]) for name in ("joints", "states", "clamps")] == [["a", "b"], ["running", "hold"], ["velocity", "table"]]
    assert arrays["clamped"].tolist() == [0] * 13 + [3, 0, 0] and arrays["state"].tolist() == [0] * 14 + [1, 0]
    assert int(arrays["began_ns"]) == 10**18


@pytest.mark.parametrize(("ticks", "stride"), [(17, 2), (32, 2), (33, 4), (100, 8)])
def test_a_long_trace_is_coarser_but_whole_and_loses_no_moment(ticks: int, stride: int) -> None:
    arrays = traced(ticks, 16)
    assert len(arrays["time"]) == -(-ticks // stride) <= 16
    assert arrays["measured"][-1, 0] == ticks - 1
    assert arrays["measured"][0, 0] == stride - 1  # the last of a row's ticks
    assert arrays["clamped"].tolist() == [3 if row == 13 // stride else 0 for row in range(len(arrays["time"]))]
    assert arrays["intervention"].tolist() == [row == 14 // stride for row in range(len(arrays["time"]))]
