"""A robot computer needs neither torch nor a simulator."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "mujoco", "robosuite", "gymnasium", "scipy", "diffusers", "matplotlib", "jinja2", "av", "safetensors")
DEPLOY = [f"robolearn.deploy.{file.stem}" for file in sorted((ROOT / "deploy").glob("*.py"))]
BLOCK = f"""
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run_without_heavy_packages(code):
    return subprocess.run([sys.executable, "-c", BLOCK + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["robolearn.spec", "robolearn.episode", "robolearn.cli", "robolearn.datasets.store", *DEPLOY])
def test_imports_without_torch_and_simulator(module):
    result = run_without_heavy_packages(f"import {module}")
    assert result.returncode == 0, result.stderr


def test_the_block_blocks():
    assert run_without_heavy_packages("import torch").returncode != 0


def test_doctor_runs_without_them_and_says_how_to_get_them():
    result = run_without_heavy_packages("from robolearn.cli import main; sys.exit(main(['doctor', 'render=false']))")
    assert "python" in result.stdout
    assert "torch is blocked" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_verb_that_needs_more_says_which_package(tmp_path):
    for name in ("config.yaml", "versions.json", "results.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "results.json").write_text(
        '{"task": "t", "split": "s", "n": 1, "arms": [{"name": "a", "success": {"rate": 1}, "against_first": null,'
        ' "stages": {}, "steps": {}, "options": {}}]}'
    )
    result = run_without_heavy_packages(
        f"from robolearn.cli import main; sys.exit(main(['report', 'runs={tmp_path}', 'out={tmp_path}/page.html']))"
    )
    assert (result.returncode, result.stderr.count("\n")) == (1, 1), result.stderr
    assert "is not installed" in result.stderr
