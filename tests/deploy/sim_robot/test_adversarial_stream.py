"""What the motion generator promises of late and lost messages holds at a trajectory controller, whatever is asked of it.

ROBOLEARN_ADVERSARIAL=1000000 asks a million times.
"""

import os

import pytest

from robolearn.deploy.robots.franka import franka_limits
from tests.deploy.test_motion_on_controllers import stream

ASKED = int(os.environ.get("ROBOLEARN_ADVERSARIAL", "1500"))
SIM_FRANKA = franka_limits("panda", rates=0.9, acceleration=0.95, jerk=0.5, inset=0.02)  # as conf/robot/sim_franka.yaml


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("latest", "lost"), [(0.022, 0.0), (0.012, 0.02)])  # half a tick less than the lead; a tick less where one is lost
def test_no_fault_whatever_is_asked_while_messages_are_as_late_as_they_may_be(latest, lost):
    played, _ = stream(ASKED, latest, SIM_FRANKA, seed=5, lost=lost)
    assert played.controller.rejected == ""
    assert played.guard.counts == {}
    assert played.controller.commands >= 0.97 * ASKED
    assert (played.controller.commands < ASKED) is (lost > 0)
