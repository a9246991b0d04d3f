"""The 50 human demonstrations, played open-loop from their recorded starts, do in this simulator what they did in theirs."""

import json
import os
from pathlib import Path

import mujoco
import numpy as np
import pytest

from robolearn.config import compose
from robolearn.datasets.store import DemoStore
from robolearn.datasets.tools import import_
from robolearn.learning.replay import main as replay
from robolearn.rotation import matrix_from_rot6d, rotvec_from_matrix
from robolearn.sim.kinematics import solve_ik
from robolearn.sim.scene import build_model
from robolearn.sim.tasks.one_leg import OneLeg

FIXTURES = os.environ.get("ROBOLEARN_FIXTURES")
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not FIXTURES, reason="ROBOLEARN_FIXTURES is not set: no human demonstrations to replay"),
]


@pytest.fixture(scope="module")
def human(tmp_path_factory):
    out = tmp_path_factory.mktemp("human") / "human.zarr"
    source = Path(str(FIXTURES)) / "resip_one_leg_low" / "one_leg_low.zarr.zip"
    assert import_(compose("data_import", [f"source={source}", f"out={out}"])) == 0
    return out


def test_most_demonstrations_insert_and_many_screw_home(human, capsys):
    capsys.readouterr()
    assert replay(compose("data_replay", [f"store={human}", "json=true"])) == 0
    facts = json.loads(capsys.readouterr().out)
    stages = facts["stages"]
    assert facts["episodes"] == 50
    assert stages["pushed"] >= 47
    assert stages["grasped"] >= 48
    assert stages["inserted"] >= 25
    assert facts["success"] >= 20


def test_inverse_kinematics_reaches_recorded_poses_to_a_millimetre_and_half_a_degree(human):
    store = DemoStore.open(human)
    frames = [store.episode(index).observations for index in range(5)]
    position = np.concatenate([frame["tcp_pos"][::40] for frame in frames]).astype(float)
    rotation = matrix_from_rot6d(np.concatenate([frame["tcp_rot6d"][::40] for frame in frames]).astype(float))
    model = build_model(OneLeg())
    data, site = mujoco.MjData(model), model.site("tcp").id
    for joints, wanted, turned in zip(solve_ik(model, position, rotation), position, rotation, strict=True):
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        assert np.linalg.norm(data.site_xpos[site] - wanted) < 1e-3
        assert np.degrees(np.linalg.norm(rotvec_from_matrix(turned @ data.site_xmat[site].reshape(3, 3).T))) < 0.5
