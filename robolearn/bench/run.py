"""Acting on a robot: how punctual the command loop is with a policy thinking beside it, and while a critic takes far too long."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from robolearn.bench.figures import Figure
from robolearn.bench.stand_ins import save_untrained
from robolearn.config import option_value
from robolearn.errors import UserError
from robolearn.nodes import instantiate
from robolearn.run import read_json

SLOW = "robolearn.bench.slow_critic.load"
ANYWHERE = {"safety.near_m": 2.0, "safety.near_rad": 3.1416}  # an untrained policy's first action is no reason to measure nothing


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """``robolearn bench run``: `robolearn run` on the simulated robot in real time, processes and middleware as on a robot."""
    part, task = options["run"], options["task"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        acts = {"checkpoint": part["checkpoint"]}
        if not part["checkpoint"]:
            spec = instantiate(task["env_spec"])
            acts = {"checkpoint": save_untrained(folder / "policy", part["policy"], task["name"], spec), **ANYWHERE}
        usual = _played(folder / "usual", part, task["name"], acts)
        yield from _cadence("run", usual)
        slow = f"{{policy: {{_target_: {SLOW}, seconds: {part['critic_s']}}}, steering_budget_ms: {part['budget_ms']}}}"
        late = _played(folder / "late", part, task["name"], {**acts, "policy": slow})
        yield from _cadence("run/late_critic", late)
        fell_back = sum(late["counts"].get("steering fell back", {}).values())
        yield Figure("run/late_critic_fallbacks", fell_back, "chunks", 1)


def _played(out: Path, part: Mapping[str, Any], task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The cadence of an episode of ``part["seconds"]`` of policy time, or of half of it at least, where the policy runs into something."""
    steps = round(10 * part["seconds"])
    words = [f"{name}={value if name == 'policy' else option_value(value)}" for name, value in options.items()]
    words += [f"robot={part['robot']}", f"simulate={{task: {task}, controller: {part['controller']}}}"]
    words += [f"steps={steps}", "on_fault=rearm", f"out={option_value(out)}", "json=true"]
    done = subprocess.run([sys.executable, "-m", "robolearn", "run", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        why = done.stderr.strip().rpartition("\n")[2].removeprefix("error: ")
        raise UserError(f"bench run: {why or 'it failed without a word'}")
    (episode,) = read_json(out / "result.json")["episodes"]
    if episode["reason"].startswith("fault"):
        if 2 * episode["steps"] < steps:
            raise UserError(f"bench run: it ended after {episode['steps']} of {steps} steps, too few to measure: {episode['reason']}")
        print(f"bench: measured until it ended after {episode['steps']} of {steps} steps: {episode['reason']}", file=sys.stderr)
    return read_json(out / "cadence.json")


def _cadence(name: str, cadence: Mapping[str, Any]) -> Iterator[Figure]:
    for series, short in (("tick lateness", "lateness"), ("observation to command", "observation_to_command")):
        for share in ("p50", "p99"):
            entry = cadence["series_ms"][series]
            yield Figure(f"{name}/{short}_{share}", entry[share], "ms", entry["count"])
    yield Figure(f"{name}/missed", cadence["missed"], "ticks", cadence["ticks"])
