"""Run folders, their log and progress."""

import contextlib
import errno
import io
import json
import os
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from robolearn import replaced
from robolearn.errors import UserError
from robolearn.learning.interrupt import Terminated
from robolearn.logger import Logger, read_metrics
from robolearn.progress import Progress
from robolearn.run import is_run, read_result, start_run


def run_config(folder, **values):
    return OmegaConf.create({"out": str(folder), "resume": False, "overwrite": False, "tensorboard": False, **values})


def test_a_run_folder_holds_the_config_and_versions_that_made_it(tmp_path):
    with start_run(run_config(tmp_path / "run", seed=3, doubled="${seed}"), "train") as run:
        pass
    assert yaml.safe_load((run.dir / "config.yaml").read_text())["doubled"] == 3
    saved = json.loads((run.dir / "versions.json").read_text())
    assert saved["packages"]["numpy"]
    assert "git" in saved


def test_without_out_the_folder_is_named_by_date_verb_and_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = []
    for _ in range(2):
        with start_run(OmegaConf.create({"tensorboard": False}), "train", "one_leg") as run:
            folders.append(run.dir)
    assert folders[0].parts[0] == "outputs"
    assert "_train_one_leg" in folders[0].name
    assert folders[0] != folders[1]


def test_an_existing_folder_is_an_error_that_names_both_ways_on(tmp_path):
    start_run(run_config(tmp_path), "train").log.close()
    with pytest.raises(UserError, match=r"resume=true.*overwrite=true"):
        start_run(run_config(tmp_path), "train")


def test_a_verb_that_cannot_resume_does_not_name_it_as_a_way_on(tmp_path):
    cfg = OmegaConf.create({"out": str(tmp_path), "overwrite": False, "tensorboard": False})
    start_run(cfg, "run").log.close()
    with pytest.raises(UserError) as caught:
        start_run(cfg, "run")
    assert str(caught.value) == f"{tmp_path} exists: replace it with overwrite=true, or give another out="


def make_old(folder):
    """A finished run: its files."""
    with start_run(run_config(folder, seed=1), "run") as run:
        (folder / "episodes.zarr").mkdir()
        (folder / "episodes.zarr" / "zarr.json").write_text("{}")
        run.finish()
    return files(folder)


def files(folder):
    return {place.relative_to(folder): place.read_bytes() for place in folder.rglob("*") if place.is_file() and place.name != ".lock"}


def replace(folder):
    return start_run(run_config(folder, overwrite=True, seed=2), "run", begins=True)


@pytest.mark.parametrize("error", [UserError, KeyboardInterrupt, OSError, TypeError])
def test_a_start_that_fails_puts_back_what_it_was_to_replace(tmp_path, error):
    old = make_old(tmp_path / "run")
    with pytest.raises(error) as caught, replace(tmp_path / "run") as run:
        (run.dir / "episodes.zarr").mkdir()
        (run.dir / "run.mcap").touch()
        raise error("the driver is not there")
    assert files(tmp_path / "run") == old
    assert caught.value.__notes__ == [f"the run in {tmp_path / 'run'} is as it was"]


def test_what_has_begun_replaces_for_good(tmp_path):
    make_old(tmp_path / "run")
    with pytest.raises(UserError), replace(tmp_path / "run") as run:
        run.begin()
        (run.dir / "run.mcap").touch()
        raise UserError("a fault")
    assert {str(name) for name in files(tmp_path / "run")} == {"config.yaml", "versions.json", "run.mcap"}
    assert not any(place.name.startswith(".robolearn") for place in run.dir.iterdir())


class Killed(Exception):
    pass


def test_killed_at_any_moment_of_a_failed_replacement_the_old_run_comes_back(tmp_path, monkeypatch):
    rename = Path.rename
    for moment in range(100):
        old, left = make_old(tmp_path / f"run{moment}"), [moment]

        def counted(self, target, left=left):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return rename(self, target)

        monkeypatch.setattr(Path, "rename", counted)
        with contextlib.suppress(Killed):
            replaced.set_aside(tmp_path / f"run{moment}")
            (tmp_path / f"run{moment}" / "config.yaml").write_text("seed: 2")
            replaced.put_back(tmp_path / f"run{moment}")
        monkeypatch.undo()
        with pytest.raises(UserError, match="exists"):
            start_run(run_config(tmp_path / f"run{moment}"), "run")
        assert files(tmp_path / f"run{moment}") == old
        if left[0] >= 0:  # not killed any more
            return
    raise AssertionError("it renames without end")


def test_resume_keeps_what_is_there_and_overwrite_removes_it(tmp_path):
    folder = tmp_path / "run"
    start_run(run_config(folder), "train").log.close()
    (folder / "work").touch()
    with start_run(run_config(folder, resume=True), "train") as run:
        assert run.resumed
        assert (folder / "work").exists()
    with start_run(run_config(folder, overwrite=True), "train") as run:
        assert not run.resumed
        assert not (folder / "work").exists()


def test_resuming_a_folder_that_is_not_there_names_the_nearest(tmp_path):
    (tmp_path / "screwed").mkdir()
    with pytest.raises(UserError, match=r"nothing to resume in .*screved; did you mean 'screwed'"):
        start_run(run_config(tmp_path / "screved", resume=True), "train")
    assert not (tmp_path / "screved").exists()


@pytest.mark.parametrize("way", ["resume", "overwrite"])
def test_a_folder_that_is_no_run_is_left_alone(tmp_path, way):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(UserError, match="no run folder"):
        start_run(run_config(tmp_path, **{way: True}), "train")
    assert (tmp_path / "thesis.tex").exists()


def test_a_folder_has_one_writer_and_says_who_it_is(tmp_path):
    with start_run(run_config(tmp_path / "run"), "train"):
        for way in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(UserError, match=rf"run is being written by process {os.getpid()} on .*give another out="):
                start_run(run_config(tmp_path / "run", **way), "train")
    with start_run(run_config(tmp_path / "run", resume=True), "train") as run:
        assert run.resumed


@pytest.mark.parametrize("failing", ["versions.json", "config.yaml"])
@pytest.mark.parametrize("way", [{}, {"resume": True}, {"overwrite": True}])
def test_a_start_on_a_full_disk_leaves_a_folder_that_can_be_begun(tmp_path, monkeypatch, failing, way):
    replace = Path.replace

    def full(self, target):
        if Path(target).name == failing:
            raise OSError(errno.ENOSPC, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        start_run(run_config(tmp_path / "run"), "train")
    monkeypatch.undo()
    assert not is_run(tmp_path / "run")
    with start_run(run_config(tmp_path / "run", **way), "train") as run:
        assert not run.resumed
        assert is_run(run.dir)


def test_an_empty_config_of_a_full_disk_is_begun_anew_and_somebodys_config_is_left_alone(tmp_path):
    (tmp_path / "config.yaml").write_text("mine: 1")
    with pytest.raises(UserError, match="no run folder"):
        start_run(run_config(tmp_path), "train")
    (tmp_path / "config.yaml").write_text("")
    with start_run(run_config(tmp_path), "train"):
        assert is_run(tmp_path)


def test_a_torn_json_file_is_one_line(tmp_path):
    (tmp_path / "result.json").write_text('{"success": 0.')
    with pytest.raises(UserError, match=r"result.json is damaged"):
        read_result(tmp_path)


def test_a_missing_mandatory_value_makes_no_folder(tmp_path):
    with pytest.raises(UserError, match="store="):
        start_run(run_config(tmp_path / "run", store="???"), "train")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("end", [UserError("the base is damaged"), KeyboardInterrupt(), Terminated()])
def test_what_ends_before_any_work_leaves_the_folder_free_for_the_next_try(tmp_path, end):
    with pytest.raises(type(end)), start_run(run_config(tmp_path / "run"), "train"):
        raise end
    assert not (tmp_path / "run").exists()
    assert not hasattr(end, "__notes__")  # nothing is kept


def test_a_mistake_found_amid_the_work_keeps_it(tmp_path):
    with pytest.raises(UserError), start_run(run_config(tmp_path / "run"), "train") as run:
        run.log.log(1, {"loss": 0.5})
        raise UserError("the loss is nan")
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot make the folder .*file/run \(Not a directory\)"):
        start_run(run_config(tmp_path / "file" / "run"), "train")


def test_interruption_says_how_to_go_on(tmp_path):
    with pytest.raises(KeyboardInterrupt) as caught, start_run(run_config(tmp_path / "run"), "train") as run:
        run.log.log(1, {"loss": 0.5})
        raise KeyboardInterrupt
    assert caught.value.__notes__ == [f"finished work is kept; go on with: robolearn train out={tmp_path / 'run'} resume=true"]


def test_a_result_says_that_the_run_is_finished(tmp_path):
    with start_run(run_config(tmp_path / "run"), "train") as run:
        assert read_result(run.dir) is None
        run.finish({"success": 0.5})
    assert read_result(run.dir) == {"success": 0.5}


def test_metrics_are_one_json_object_a_line_with_null_for_nan(tmp_path):
    log = Logger(tmp_path, tensorboard=False)
    log.log(1, {"loss": 0.5})
    log.log(2, {"loss": float("nan")})
    assert read_metrics(log.path) == [{"step": 1, "loss": 0.5}, {"step": 2, "loss": None}]
    log.close()


def test_rewinding_drops_what_a_resumed_run_does_again(tmp_path):
    log = Logger(tmp_path, tensorboard=False)
    for step in (1, 2, 3):
        log.log(step, {"loss": 0.0})
    log.rewind(2)
    log.log(3, {"loss": 1.0})
    log.close()
    assert [(line["step"], line["loss"]) for line in read_metrics(log.path)] == [(1, 0.0), (2, 0.0), (3, 1.0)]


def test_a_torn_last_line_is_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"st')
    assert read_metrics(tmp_path / "metrics.jsonl") == [{"step": 1}]


def test_curves_go_to_tensorboard_too(tmp_path):
    log = Logger(tmp_path)
    log.log(1, {"loss": 0.5})
    log.close()
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))


def test_rewinding_drops_tensorboards_events_too(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Logger(tmp_path)
    for step in (1, 2, 3):
        first.log(step, {"loss": 0.0})
    first.close()
    resumed = Logger(tmp_path)
    resumed.rewind(2)
    resumed.log(3, {"loss": 1.0})
    resumed.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 0.0), (2, 0.0), (3, 1.0)]


def test_progress_in_a_log_file_is_a_line_now_and_then():
    stream = io.StringIO()
    with Progress("train", 4, stream=stream, interval_s=0.0) as progress:
        progress.advance(2, loss=0.25)
    assert stream.getvalue() == "train: 2/4, 0:00 left loss=0.25\n"


def test_progress_in_a_log_file_is_silent_between():
    stream = io.StringIO()
    with Progress("train", 1000, stream=stream) as progress:
        for _ in range(1000):
            progress.advance()
    assert stream.getvalue() == ""
