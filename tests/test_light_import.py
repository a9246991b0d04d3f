"""A robot computer needs neither torch nor a simulator."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "mujoco", "robosuite", "gymnasium", "scipy", "diffusers", "matplotlib", "jinja2", "av", "safetensors")
DEPLOY = [
    ".".join(("robolearn", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for file in sorted((ROOT / "deploy").rglob("*.py"))
]
LAZY = ("cyclonedds", "rclpy", "rospy", "mcap", "viser", "mjviser", "pynput", "evdev", "pyspacemouse", "PIL")  # by whoever needs them
BLOCK = f"""
import importlib.abc, sys
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {HEAVY}:
            raise ModuleNotFoundError(name + " is blocked", name=name)
sys.meta_path.insert(0, Blocked())
"""


IMPORT_ALL = """
import importlib
for module in {modules}:
    try:
        importlib.import_module(module)
    except ImportError as error:
        print(module, error)
print("loaded", *sorted(set(sys.modules) & set({watched})))
"""


def run_without_heavy_packages(code, also=()):
    block = BLOCK.replace(str(HEAVY), str((*HEAVY, *also)))
    return subprocess.run([sys.executable, "-c", block + code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("module", ["robolearn.spec", "robolearn.episode", "robolearn.cli", "robolearn.datasets.store"])
def test_imports_without_torch_and_simulator(module):
    result = run_without_heavy_packages(f"import {module}")
    assert result.returncode == 0, result.stderr


def test_all_that_runs_at_the_robot_imports_without_them_and_without_drivers_devices_and_the_store():
    code = IMPORT_ALL.format(modules=DEPLOY, watched=LAZY)
    result = run_without_heavy_packages(code, also=(*(name for name in LAZY if name != "cyclonedds"), "zarr", "numcodecs"))
    assert result.returncode == 0, result.stderr
    allowed = ("loaded", "loaded cyclonedds")  # the one file that declares messages to it
    assert result.stdout.strip() in allowed


def test_the_client_of_a_policy_server_needs_numpy_msgpack_and_websockets_alone():
    """What `pip install numpy msgpack websockets` and a copy of the sources give."""
    third = "{name.split('.')[0] for name in sys.modules} - set(sys.stdlib_module_names) - {'__main__', 'robolearn'}"
    result = run_without_heavy_packages(f"from robolearn.deploy.client import PolicyClient; print(*sorted({third}))", also=("rosbags",))
    assert result.returncode == 0, result.stderr
    assert {name for name in result.stdout.split() if name[0] != "_"} - {"cython_runtime"} == {"numpy", "msgpack", "websockets"}


@pytest.mark.parametrize("package", ["torch", "torch.nn", "scipy"])
def test_the_block_blocks(package):
    assert run_without_heavy_packages(f"import {package}").returncode != 0


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
