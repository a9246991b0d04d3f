"""A policy's dials are turned from topics while it plays, and whatever is sent there does not disturb the run."""

import math
import time
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from robolearn.deploy.runner.dials import FLOAT
from robolearn.deploy.runner.parts import Parts
from robolearn.deploy.serving.inference import Inference
from robolearn.deploy.transport.in_process import Bus, InProcess
from tests.deploy.runner.doubles import Runner, here
from tests.deploy.serving.houses import refined, running, seen, steered
from tests.fakes import POINT_REACH_SPEC


@pytest.fixture
def turned():
    """Turns a dial of a served policy as somebody beside a run does; gives events, the inference and the server's model."""
    bus = Bus(threaded=False)
    with running(lambda: refined(steered())) as house, InProcess(bus) as ours, InProcess(bus) as person:
        inference, events = Inference(house.url, POINT_REACH_SPEC), []
        parts = object.__new__(Parts)  # of a run, as much as dials need
        parts.transport, parts.inference, parts.welcome = ours, inference, inference.open()
        parts.recorder = SimpleNamespace(mark=lambda event, words="", **values: events.append((event, words, values)))
        parts.dials = parts._dials()

        def turn(name, *values):
            publisher = person.publisher(f"/robolearn/dial/{name}", FLOAT)
            for value in values:
                publisher.publish(person.messages.new(FLOAT, data=value))
            while parts.dials._asked:
                for outcome in inference.poll():
                    parts._note(outcome)
                time.sleep(0.002)
            return events

        yield SimpleNamespace(turn=turn, inference=inference)
        inference.close()


@pytest.mark.timeout(20)
def test_a_dial_is_turned_at_once_and_noted(turned):
    assert turned.turn("residual", 0.5) == [("dial", "residual is 0.5", {"name": "residual", "value": 0.5})]
    assert turned.turn("guidance", 0.0)[1:] == [("dial", "guidance is 0", {"name": "guidance", "value": 0.0})]
    assert turned.inference._quick.client.dial("residual", 1.0) == {"residual": 1.0, "guidance": 0.0}


@pytest.mark.timeout(20)
def test_what_is_refused_is_noted_once_and_the_connection_stands(turned):
    turned.turn("residual", -1.0)
    turned.turn("residual", -1.0)
    events = turned.turn("residual", math.nan, math.inf)
    assert [event for event, _, _ in events] == ["dial refused"] * 3
    assert "is 0 (the base alone) or more" in events[0][1] and "takes a finite number, got nan" in events[1][1]
    number = turned.inference.submit_refine(seen(), np.zeros(10, np.float32), 0)
    found = []
    while not found:
        found = turned.inference.poll()
    assert (found[0].id, found[0].error) == (number, "") and turned.inference.statistics()["reconnects"] == 0


@pytest.mark.timeout(20)
def test_a_flood_of_values_ends_at_the_last(turned):
    events = turned.turn("residual", *(step / 500 for step in range(500)))
    assert events[-1][1] == "residual is 0.998"
    assert Counter(event for event, _, _ in events) == {"dial": len(events)} and len(events) < 400


def test_a_dials_answer_is_no_stale_answer_of_the_policys():
    runner = Runner(lambda observation, seed, decision: np.tile(here(), (4, 1)), max_steps=8)
    for _ in range(5):
        runner.inference.submit_dial("residual", 0.5)
        runner.play(200)
    assert runner.autonomy.counts["steps"] and not runner.autonomy.counts["stale answers"]
