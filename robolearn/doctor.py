"""Looks over an installation: what is there, what works, and how to mend what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig

from robolearn.gl import GL_PACKAGES
from robolearn.nodes import find_target

ROOT = Path(__file__).parent.parent
CORE = ("numpy", "rich", "hydra-core")
STORE = ("zarr", "numcodecs")  # there are none of today's for Python 3.10: a robot's computer with it keeps episodes as files
EXTRAS = {
    "train": ("torch", "diffusers", "safetensors", "scipy", "tensorboard", "matplotlib", "av", "jinja2"),
    "sim": ("mujoco", "robosuite", "gymnasium"),
    "formats": ("h5py",),
    "robot": ("rosbags", "mcap", "msgpack", "websockets"),
    "ray": ("ray",),
    "warp": ("mujoco-warp", "warp-lang"),
}
IMPORT_NAMES = {"hydra-core": "hydra", "mujoco-warp": "mujoco_warp", "warp-lang": "warp"}
BATCH = """
import mujoco
from mujoco.batch import Batch
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><body><freejoint/><geom size='.1'/></body></worldbody></mujoco>")
Batch(model, 2).step()
"""
FRAME = """
import mujoco
model = mujoco.MjModel.from_xml_string("<mujoco><worldbody><light pos='0 0 2'/><geom size='.3'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    assert renderer.render().std() > 1
"""


@dataclass(frozen=True)
class Check:
    """One finding: ``ok``; ``warn``, something works less well without it; ``fail``, required and missing."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    mend: str = ""


def main(cfg: DictConfig) -> int:
    """``robolearn doctor``: prints the findings; 1 when something required is missing."""
    checks = list(examine(render=bool(cfg.render)))
    healthy = all(check.status != "fail" for check in checks)
    if cfg.json:
        print(json.dumps({"healthy": healthy, "checks": [asdict(check) for check in checks]}))
    else:
        _print(checks, healthy)
    return 0 if healthy else 1


def examine(*, render: bool = True) -> Iterator[Check]:
    """All checks, one after the other; ``render`` also draws a small frame with each OpenGL backend."""
    yield _python()
    pins = read_pins(ROOT / "constraints.txt")
    for package in (*CORE, *STORE):
        yield _package(package, pins, required=package in CORE or sys.version_info >= (3, 11), extra="")
    for extra, packages in EXTRAS.items():
        for package in packages:
            yield _package(package, pins, required=False, extra=extra)
    if _installed("mujoco"):
        yield _mujoco_batch()
        if render:
            yield from _renderers()
    if _installed("robosuite"):
        yield _robosuite_models()
    if _installed("torch"):
        yield _torch()
    yield from find_target("robolearn.deploy.transport.check.check_transports")()
    yield from find_target("robolearn.deploy.teleop.check.check_devices")()
    yield _fixtures()
    yield _disk()


def read_pins(file: Path) -> dict[str, str]:
    """``{package in lower case: version}`` of a constraints file; empty where there is none."""
    if not file.is_file():
        return {}
    lines = [line.split("#")[0].strip() for line in file.read_text().splitlines()]
    return {name.lower(): version for name, _, version in (line.partition("==") for line in lines if "==" in line)}


def _python() -> Check:
    version, here = sys.version_info[:2], platform.python_version()
    if (3, 11) <= version < (3, 13):
        return Check("python", "ok", here)
    mend = "make setup PYTHON=python3.11 (or 3.12)"
    if (3, 10) <= version < (3, 14):
        return Check("python", "warn", f"{here}: enough for a robot's computer; learning and simulation need 3.11 or 3.12", mend)
    return Check("python", "fail", here, mend)


def _installed(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _package(package: str, pins: dict[str, str], *, required: bool, extra: str) -> Check:
    version, wanted = _installed(package), pins.get(package.lower(), "")
    if not version:
        mend = f"pip install -c constraints.txt -e '.[{extra}]'" if extra else "pip install -c constraints.txt -e ."
        return Check(package, "fail" if required else "warn", f"not installed{f' (extra {extra})' if extra else ''}", mend)
    try:
        if importlib.util.find_spec(IMPORT_NAMES.get(package, package)) is None:
            raise ImportError("installed, yet not importable")
    except ImportError as error:
        return Check(package, "fail", str(error), f"pip install --force-reinstall '{package}=={wanted or version}'")
    if wanted and version.split("+")[0] != wanted:
        return Check(package, "warn", f"{version}, tested with {wanted}", f"pip install '{package}=={wanted}'")
    return Check(package, "ok", version)


def _mujoco_batch() -> Check:
    trial = _tried(BATCH, "disable")  # where OpenGL is missing, importing MuJoCo fails with a backend that is asked for
    if trial.returncode:
        return Check("mujoco batch", "fail", _last_line(trial), "pip install 'mujoco==4.0.*'")
    return Check("mujoco batch", "ok", "two worlds stepped together")


def _tried(script: str, backend: str) -> subprocess.CompletedProcess[str]:
    """A script of MuJoCo's in a process of its own, with this ``MUJOCO_GL``."""
    environment = {**os.environ, "MUJOCO_GL": backend}
    return subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False)


def _last_line(trial: subprocess.CompletedProcess[str]) -> str:
    return (trial.stderr.strip().splitlines() or ["crashed"])[-1][:120]


def _robosuite_models() -> Check:
    origin = metadata.distribution("robosuite").locate_file("robosuite")  # found, not imported: its import is slow and talkative
    folder = Path(str(origin)) / "models" / "assets"
    wanted = [folder / "robots/panda/robot.xml", folder / "grippers/panda_gripper.xml"]
    missing = [str(file) for file in wanted if not file.is_file()]
    if missing:
        mend = "pip install --force-reinstall --no-deps robosuite==1.5.2"
        return Check("robosuite models", "fail", f"missing {', '.join(missing)}", mend)
    return Check("robosuite models", "ok", f"Panda and gripper in {folder}")


def _renderers() -> Iterator[Check]:
    """The OpenGL backends, up to the first that draws."""
    for backend, packages in GL_PACKAGES.items():
        trial = _tried(FRAME, backend)
        if trial.returncode == 0:
            yield Check(f"pictures by {backend}", "ok", "drew a frame")
            return
        yield Check(f"pictures by {backend}", "warn", _last_line(trial), f"apt-get install {packages} (needed for pictures only)")


def _torch() -> Check:
    try:
        import torch
    except ImportError as error:
        return Check("torch runs", "fail", str(error), "pip install --force-reinstall torch==2.13.0")
    devices = ["cpu", *(f"cuda:{index} {torch.cuda.get_device_name(index)}" for index in range(torch.cuda.device_count()))]
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    bf16 = [name for name in ("amx_bf16", "avx512_bf16") if name in flags] or ["emulated"]
    detail = f"devices {', '.join(devices)}; {torch.get_num_threads()} threads; bf16 {', '.join(bf16)}"
    return Check("torch runs", "ok", detail)


def _fixtures() -> Check:
    place = os.environ.get("ROBOLEARN_FIXTURES", "")
    if place and Path(place).is_dir():
        return Check("ROBOLEARN_FIXTURES", "ok", place)
    detail = f"{place} is no folder" if place else "not set; tests on real data skip"
    return Check("ROBOLEARN_FIXTURES", "warn", detail, "export ROBOLEARN_FIXTURES=/path/to/fixtures")


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    return Check("disk", "ok" if free > 5 else "warn", f"{free:.0f} GB free here", "" if free > 5 else "runs and stores need about 5 GB")


def _print(checks: list[Check], healthy: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    colours = {"ok": "green", "warn": "yellow", "fail": "bold red"}
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        console.print(f"[{colours[check.status]}]{check.status:<4}[/]  {check.name:<18}  {escape(check.detail)}")
        if check.mend:
            console.print(f"{'':<26}-> {escape(check.mend)}")
    console.print("everything required is there" if healthy else "[bold red]something required is missing[/]: see `fail` above")
