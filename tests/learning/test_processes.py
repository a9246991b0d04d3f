"""Jobs in processes of their own: what they return, how they fail, and that none is left behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robolearn.errors import UserError
from robolearn.learning.processes import run_jobs
from tests.learning.jobs import die, double, fail, learn


def wait_for(*files, seconds=30):
    end = time.monotonic() + seconds
    while not all(file.exists() for file in files):
        assert time.monotonic() < end, files
        time.sleep(0.02)


@pytest.fixture
def parent(tmp_path):
    """A process that runs two jobs, leading a group of its own, as a terminal's does."""
    words = [sys.executable, "-m", "tests.learning.jobs", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        yield process
        process.kill()


def test_results_stand_in_the_order_of_the_jobs():
    assert run_jobs(double, {"b": (1,), "a": (2,), "c": (3,)}, 2) == {"b": 2, "a": 4, "c": 6}


def test_a_process_that_the_system_killed_is_one_line():
    with pytest.raises(ChildProcessError, match=r"process of seed 1 was killed by signal 9, as happens when memory runs out"):
        run_jobs(die, {"seed 1": ()}, 1)


def test_a_job_that_fails_ends_the_others_which_save_their_work(tmp_path):
    jobs = {"a": (learn, tmp_path, "a"), "b": (fail, tmp_path / "a.started")}
    with pytest.raises(UserError, match="the loss is nan"):
        run_jobs(call, jobs, 2)
    assert (tmp_path / "a.saved").exists()


def call(function, *arguments):
    return function(*arguments)


def test_ctrl_c_in_a_terminal_lets_every_job_save_once(tmp_path, parent):
    wait_for(tmp_path / "a.started", tmp_path / "b.started")
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=30)
    assert out == "stopped\n"
    assert "Traceback" not in err
    assert {file.name for file in tmp_path.glob("*.saved")} == {"a.saved", "b.saved"}


def test_ctrl_c_while_jobs_still_import_is_quiet(tmp_path, parent):
    children = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    while len(children.read_text().split()) < 2:  # multiprocessing's tracker and the first job
        time.sleep(0.005)
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=30)
    assert (out, err) == ("stopped\n", "")


def test_jobs_end_with_a_parent_that_was_killed_and_save_their_work(tmp_path, parent):
    wait_for(tmp_path / "a.started", tmp_path / "b.started")
    parent.kill()
    wait_for(tmp_path / "a.saved", tmp_path / "b.saved")
