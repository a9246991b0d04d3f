"""A run's options are looked over before anything is started."""

import pytest
from omegaconf import OmegaConf

from robolearn import cli
from robolearn.run import start_run


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("safety.near_m=-1", "safety.near_m must be above 0"),
        ("safety.deaf_s=nan", "safety.deaf_s takes a number"),
        ("safety.follow_rad=0", "safety.follow_rad must be above 0"),
        ("safety.late_steps=0", "safety.late_steps must be from 1"),
        ("control_hz=inf", "control_hz must be from 0.1"),
        ("episodes=100000000000", "episodes must be from 0 to 1e"),
        ("execution.mode=fast", "no execution.mode='fast'; there are synchronous"),
        ("on_fault=go", "no on_fault='go'; there are end, wait, rearm"),
        ("judge=me", "no judge='me'; there are simulated, operator"),
        ("device=mouse", "no device='mouse'; there are browser"),
        ("server=ws://there", "checkpoint and server are both given"),
        ("robot.arm=null", "has arm=None; give one of robolearn.deploy.arms"),
        ("+robot.lag=[0,0]", "lag is two rates above 0"),
        ("+robot.cameras.wrist=5", "sensor 'wrist' is no source"),
        ("robot.workspace.table_height=9", "a table at 9 m leaves no room"),
        (
            "transport.kind=cyclone",
            "no transport.kind='cyclone'; there are auto, rclpy, cyclonedds, rospy, in_process; did you mean",
        ),
        ("simulate=one_leg", "as in 'simulate={task: one_leg}'; got 'one_leg'"),
        ("simulate=true", "as in 'simulate={task: one_leg}'; got True"),
        ("+robot.lag=[1]", "lag is two rates above 0"),
    ],
)
def test_an_option_that_cannot_be_is_a_line_before_anything_is_started(word, says, tmp_path, capsys):
    assert cli.main(["run", "checkpoint=nowhere", f"out={tmp_path / 'run'}", word]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_run_whose_server_is_not_there_replaces_nothing(tmp_path, capsys):
    with start_run(OmegaConf.create({"out": str(tmp_path / "run")}), "run", log=False) as old:
        (old.dir / "episodes.zarr").mkdir()
    assert cli.main(["run", "server=ws://127.0.0.1:1", f"out={tmp_path / 'run'}", "overwrite=true"]) == 1
    assert (tmp_path / "run" / "episodes.zarr").is_dir()
    assert capsys.readouterr().err.endswith(f"; the run in {tmp_path / 'run'} is as it was\n")
