"""The engine that drives every world: what fails in a row is that row's, and a row is shown as it is."""

import threading

import numpy as np
import pytest

from robolearn.sim.engine import Engine, _quiet
from robolearn.sim.engines import step_soundly
from robolearn.sim.headless import mujoco

BALL = """<mujoco><option>{sleep}</option><worldbody>
  <geom type='plane' size='1 1 .1'/>
  <body pos='0 0 .09'><freejoint/><geom size='.1'/></body>
</worldbody></mujoco>"""


def balls(rows, sleep=False):
    flag = "<flag sleep='enable'/>" if sleep else ""
    return Engine(mujoco.MjModel.from_xml_string(BALL.format(sleep=flag)), rows, 1)


@pytest.mark.parametrize("sleep", [False, True])
def test_a_row_as_data_is_whole(sleep):
    engine = balls(2, sleep)
    engine.view("qpos")[1, 0] = 0.3
    engine.forward(np.ones(2, bool))
    for row, x in enumerate((0.0, 0.3)):
        data = engine.data(row)
        assert data.ncon == 1
        assert data.xpos[1, 0] == pytest.approx(x)


def test_a_row_that_mujoco_cannot_step_is_that_row_alone(monkeypatch):
    engine, rows = balls(3), np.ones(3, bool)
    whole = engine._batch.step

    def step(ids, nstep, stage):
        whole([0, 2], nstep=nstep, stage=stage)
        raise mujoco.batch.SimulationError(np.array([1]), "no memory for so many contacts")

    monkeypatch.setattr(engine._batch, "step", step)
    before = engine.state.copy()
    np.testing.assert_array_equal(step_soundly(engine, 5, rows), [False, True, False])
    assert not engine.diverged().any()  # it is back where it was
    np.testing.assert_array_equal(engine.state[1], before[1])
    assert (engine.state[[0, 2]] != before[[0, 2]]).any(1).all()


def test_warnings_are_as_they_were_when_two_threads_have_been_quiet():
    before = mujoco.MjLogConfig.get()
    inside, leave = threading.Event(), threading.Event()

    def first():
        with _quiet.on():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    with _quiet.on():
        leave.set()
        thread.join(10)
        assert not mujoco.MjLogConfig.get().logto_console
    after = mujoco.MjLogConfig.get()
    assert (after.logto_console, after.logto_file) == (before.logto_console, before.logto_file)
    assert before.logto_console
