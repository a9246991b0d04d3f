"""Compiled callbacks that were kept are never those of older sources."""

import inspect
import re
import shutil
from pathlib import Path

import pytest

from robolearn.sim.robosuite import apart, drag, osc
from robolearn.sim.robosuite.native import MARK, SOURCES, mark_of

FOLDER = Path(osc.__file__).parent


@pytest.mark.parametrize("made", [osc, drag, apart])
def test_what_numba_keeps_machine_code_by_differs_between_versions_of_every_source(made, tmp_path):
    assert inspect.getclosurevars(made.make()).nonlocals["mark"] == MARK == mark_of(FOLDER)  # Numba compares what a function encloses
    for name in SOURCES:
        shutil.copy(FOLDER / f"{name}.py", tmp_path)
    assert mark_of(tmp_path) == MARK
    for name in SOURCES:
        (tmp_path / f"{name}.py").write_text((FOLDER / f"{name}.py").read_text() + "\n")
        assert mark_of(tmp_path) != MARK
        shutil.copy(FOLDER / f"{name}.py", tmp_path)


def test_all_that_is_compiled_comes_from_these_sources():
    """The places of fields, from structs.py, are enclosed one by one."""
    for name in SOURCES:
        used = re.findall(r"^from robolearn\.sim\.robosuite\.(\w+) import", (FOLDER / f"{name}.py").read_text(), re.M)
        assert set(used) <= {*SOURCES, "structs"}
