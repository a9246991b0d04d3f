"""A run on a robot that never was: three episodes, a fault, an intervention, limits that bit; for tests and pictures of its report."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from omegaconf import OmegaConf

from robolearn.deploy.cadence import AGE, REACTION, ROUND_TRIP, SERVER, Cadence
from robolearn.deploy.trace import Trace
from robolearn.robot_run import write_run, write_statistics
from robolearn.run import start_run

BEGAN = 1_790_000_000_000_000_000  # [ns]
JOINTS = tuple(f"panda_joint{number}" for number in range(1, 8))
EPISODES = (
    (2.0, 18.0, "committed", True),
    (22.0, 34.0, "committed", False),
    (38.0, 41.0, "discarded", None),
    (45.0, 58.0, "committed", True),
)
RUN = {
    "robot": "sim_franka",
    "policy": "outputs/one_leg/checkpoints/best",
    "task": "one_leg",
    "mode": "real-time chunking",
    "transport": "cyclonedds (ROS 2)",
    "rate_hz": 100.0,
    "control_hz": 10.0,
    "dry_run": False,
    "store": "episodes.zarr",
}


def at(seconds: float) -> int:
    return BEGAN + round(seconds * 1e9)


def events() -> list[dict]:
    """What the recorder would have written."""
    lines = []
    for number, (begin, end, outcome, success) in enumerate(EPISODES):
        known = {"words": "", "episode": number}
        lines.append({"stamp": at(begin), "event": "episode begun", **known, "source": "rollout", "seed": 1000 + number})
        known["note"] = {1: "fault: tracking", 3: "the table <moved>"}.get(number, "")
        if success is not None:
            known |= {"success": success, "index": number - (number > 2), "interventions": 30 if number == 3 else 0}
        lines.append({"stamp": at(end), "event": f"episode {outcome}", **known, "steps": round(10 * (end - begin))})
    wrong = "a joint is 0.31 rad from where it should be (at most 0.2)"
    lines += [
        {"stamp": at(27.0), "event": "hold", "words": "camera front is 0.6 s old", "episode": 1},
        {"stamp": at(27.8), "event": "running", "words": "", "episode": 1},
        {"stamp": at(33.6), "event": "stopping", "words": wrong, "episode": 1},
        {"stamp": at(34.0), "event": "fault", "words": wrong, "episode": 1, "joint": "panda_joint4"},
        {"stamp": at(36.0), "event": "idle", "words": "re-armed"},
        {"stamp": at(50.0), "event": "takeover", "words": "the operator moves the robot", "episode": 3},
        {"stamp": at(53.0), "event": "release", "words": "", "episode": 3},
    ]
    return sorted(lines, key=lambda line: line["stamp"])


def state_at(seconds: float) -> str:
    if 27.0 <= seconds < 27.8:
        return "hold"
    if 33.6 <= seconds < 34.0:
        return "stopping"
    if 34.0 <= seconds < 36.0:
        return "fault"
    return "running" if any(begin <= seconds < end for begin, end, *_ in EPISODES) else "idle"


def statistics() -> tuple[Cadence, Trace]:
    rng = np.random.default_rng(0)
    cadence, trace = Cadence(100.0), Trace(JOINTS)
    sent = np.array([0.45, 0.0, 0.3])
    target = sent.copy()
    for number in range(6000):
        seconds = number / 100
        late = round(1e5 + rng.exponential(1.5e5) + (rng.random() < 0.002) * rng.uniform(2e6, 9e6))
        cadence.tick(at(seconds), late, round(4e5 + rng.exponential(1e5)), missed=int(late > 8e6))
        state = state_at(seconds)
        if number % 10 == 0:
            cadence.add(AGE, 0.008 + rng.exponential(0.004))
            target = np.array([0.45, 0, 0.3]) + 0.12 * np.sin([0.5 * seconds, 0.83 * seconds, 0.31 * seconds]) + rng.normal(0, 0.004, 3)
        if number % 80 == 0:
            inference = 0.045 + rng.exponential(0.01)
            cadence.add(SERVER, inference)
            cadence.add(ROUND_TRIP, inference + 0.003 + rng.exponential(0.001))
            cadence.add(REACTION, 0.008 + rng.exponential(0.003))
        moves = state == "running"
        sent = sent + (target - sent) * 0.0486 if moves else sent
        joints = np.sin(np.arange(7) + 0.2 * sent.sum() + 0.4 * seconds * moves)
        bites = ("velocity",) if moves and rng.random() < 0.01 else ()
        setpoint = SimpleNamespace(positions=joints[None], position=sent, reasons=bites)
        away = 0.31 * (33.0 < seconds < 34.0)
        action = np.concatenate([target, [1, 0, 0, 0, 1, 0, -1]])
        operator = 50.0 <= seconds < 53.0
        measured = joints - 0.004 * np.cos(seconds) - away * np.eye(7)[3]
        trace.add(at(seconds), state, measured=measured, target=action if moves else None, setpoint=setpoint, intervention=operator)
        for reason in bites:
            cadence.count("clamps", reason)
    cadence.count("faults", "tracking")
    for name, count in {"chosen by value": 61, "first draw kept": 9, "critic late": 2}.items():
        cadence.count("steering", name, count)
    return cadence, trace


def make_run(folder: Path) -> Path:
    """A run's folder as `robolearn run` leaves it."""
    with start_run(OmegaConf.create({"out": str(folder), "robot": "sim_franka", "secret_word": "rosebud"}), "run", log=False):
        write_run(folder, RUN)
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in events()))
    cadence, trace = statistics()
    write_statistics(folder, cadence.summary(), trace.arrays(), cadence.arrays(), problems=["12 of /camera were not recorded"])
    (folder / "run.mcap").write_bytes(bytes(123_456))
    (folder / "episodes.zarr").mkdir()
    return folder
