"""The doctor tells what is missing, how bad that is and how to mend it."""

import os
import subprocess
import sys

import pytest

from robolearn import doctor


def findings(**options):
    return {check.name: check for check in doctor.examine(**options)}


def test_this_installation_is_healthy():
    assert not [check for check in findings(render=False).values() if check.status == "fail"]


def test_a_missing_core_package_fails_and_a_missing_extra_warns(monkeypatch):
    monkeypatch.setattr(doctor, "_installed", lambda package: "")
    checks = findings(render=False)
    assert checks["zarr"].status == "fail"
    assert checks["torch"].status == "warn"
    assert "[train]" in checks["torch"].mend


def test_another_version_than_the_tested_one_is_told(monkeypatch):
    monkeypatch.setattr(doctor, "read_pins", lambda file: {"rich": "0.1"})
    check = findings(render=False)["rich"]
    assert (check.status, check.mend) == ("warn", "pip install 'rich==0.1'")


def test_a_fixtures_folder_that_is_none_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("ROBOLEARN_FIXTURES", str(tmp_path / "nowhere"))
    assert "is no folder" in findings(render=False)["ROBOLEARN_FIXTURES"].detail
    monkeypatch.setenv("ROBOLEARN_FIXTURES", str(tmp_path))
    assert findings(render=False)["ROBOLEARN_FIXTURES"].status == "ok"


def test_a_way_to_draw_that_fails_is_a_warning_with_packages_to_install(monkeypatch):
    monkeypatch.setattr(doctor, "FRAME", "raise RuntimeError('no display')")
    checks = list(doctor._renderers())
    assert [check.status for check in checks] == ["warn", "warn"]
    assert "no display" in checks[0].detail
    assert "libegl1" in checks[0].mend


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_the_exit_code_says_whether_something_required_is_missing(broken, code):
    spoil = "doctor.CORE = (*doctor.CORE, 'no-such-package');" if broken else ""
    program = f"from robolearn import cli, doctor; {spoil} raise SystemExit(cli.main(['doctor', 'render=false']))"
    result = subprocess.run([sys.executable, "-c", program], env=os.environ, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == code, result.stderr
    assert ("something required is missing" in result.stdout) == broken


def test_pins_are_read_from_constraints(tmp_path):
    file = tmp_path / "constraints.txt"
    file.write_text("# a comment\nJinja2==3.1.6\ntorch==2.13.0  # first\n")
    assert doctor.read_pins(file) == {"jinja2": "3.1.6", "torch": "2.13.0"}
    assert doctor.read_pins(tmp_path / "nowhere") == {}
