"""A process that read a store ends without a word, however busy zarr's event loop still is."""

import subprocess
import sys

SCRIPT = """
import sys, time
{before}
import zarr
from zarr.core import sync
group = zarr.open_group(sys.argv[1], mode="w")
group.create_array("numbers", shape=3, dtype="int32")[:]
sync.loop[0].call_soon_threadsafe(time.sleep, 0.7)
"""


def said_at_exit(tmp_path, before=""):
    done = subprocess.run([sys.executable, "-c", SCRIPT.format(before=before), tmp_path / "a.zarr"], capture_output=True, text=True)
    assert done.returncode == 0
    return done.stderr


def test_zarr_alone_closes_a_loop_that_runs(tmp_path):
    assert "Cannot close a running event loop" in said_at_exit(tmp_path)  # otherwise zarr_loop.py can go


def test_a_process_that_opened_stores_waits(tmp_path):
    assert said_at_exit(tmp_path, "from robolearn.datasets import layout") == ""
