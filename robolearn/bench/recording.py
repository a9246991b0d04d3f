"""Recording beside a control loop: how late its steps are while two cameras are recorded, and how much it costs to hand a step over."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.bench.figures import Figure
from robolearn.bench.pictures import MovingScene
from robolearn.nodes import find_target
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec

HEIGHT, WIDTH, HZ = 240, 320, 30.0
CAMERAS = ("front", "wrist")
STATE = 70


def camera_spec() -> EnvSpec:
    """Two cameras of 240 x 320, 70 numbers and a clock at 30 Hz, ten actions."""
    names = tuple(f"a{number}" for number in range(10))
    pictures = {name: ArraySpec((HEIGHT, WIDTH, 3), "uint8") for name in CAMERAS}
    state = {"state": ArraySpec((STATE,)), "timestamp": ArraySpec((), "float64", units="s")}
    return EnvSpec("recording", {**pictures, **state}, ActionSpec(names, (-1.0,) * 10, (1.0,) * 10), HZ)


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """Overrun of a 30 Hz loop, cost of handing a step over, and time to commit, recording for ``options["seconds"]`` (60).

    ``options``: ``store_type`` and ``recorder_type`` as ``_target_`` strings, ``image_codec`` (jpeg), ``seconds`` (60), ``folder``
    (a temporary one).
    """
    seconds, codec = float(options.get("seconds", 60.0)), str(options.get("image_codec", "jpeg"))
    recorder_type = find_target(options.get("recorder_type", "robolearn.datasets.recorder.Recorder"))
    store_type = find_target(options.get("store_type", "robolearn.datasets.store.DemoStore"))
    with tempfile.TemporaryDirectory(dir=options.get("folder")) as folder:
        with (
            store_type.create(Path(folder) / "store.zarr", camera_spec(), image_codec=codec) as store,
            recorder_type(store) as recorder,
        ):
            recorder.begin(source="expert")
            times = timed_loop(recorder.add, seconds)
            started = time.monotonic()
            recorder.end(success=True)
            commit = time.monotonic() - started
            report = recorder.report
        alone = timed_loop(lambda observation, action: None, min(seconds, 10.0))
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    name, bare, steps = f"data/record_{codec}", "the same loop without a recorder", len(times.add)
    for what in ("overrun", "late", "add"):
        mine, its = (1e3 * float(np.percentile(getattr(entry, what), 99)) for entry in (times, alone))
        yield Figure(f"{name}_{what}_p99", mine, "ms", steps, bare, its)
    yield Figure(f"{name}_commit", 1e3 * commit, "ms", 1)
    yield Figure(f"{name}_deepest_queue", float(report.deepest_queue), "steps", steps)
    yield Figure(f"{name}_frames_busy", report.frames / report.busy_s, "frames/s", report.frames)
    yield Figure(f"{name}_size", size / report.frames / 1e3, "kB/frame", report.frames)


@dataclass(frozen=True)
class LoopTimes:
    """Of each step of a loop [s].

    Args:
        late: ``(steps,)`` how long after its scheduled time it began.
        overrun: ``(steps,)`` how long after the next step's scheduled time it was done; 0 where it was done before.
        add: ``(steps,)`` how long handing it over took.
    """

    late: NDArray[np.float64]
    overrun: NDArray[np.float64]
    add: NDArray[np.float64]


def timed_loop(add: Callable[[Mapping[str, Any], NDArray[np.float32]], None], seconds: float, hz: float = HZ) -> LoopTimes:
    """A control loop at a fixed rate that reads two cameras and hands every step to ``add``."""
    scenes = [MovingScene(HEIGHT, WIDTH, seed) for seed in range(len(CAMERAS))]
    state, action = np.zeros(STATE, np.float32), np.zeros(10, np.float32)
    steps = max(1, round(seconds * hz))
    times = np.zeros((3, steps))
    begin = time.monotonic()
    for step in range(steps):
        scheduled = begin + step / hz
        time.sleep(max(0.0, scheduled - time.monotonic()))
        times[0, step] = time.monotonic() - scheduled
        state[:] = step
        observation = {name: scene.picture(step) for name, scene in zip(CAMERAS, scenes, strict=True)}
        started = time.monotonic()
        add({**observation, "state": state}, action)
        done = time.monotonic()
        times[1:, step] = max(0.0, done - scheduled - 1 / hz), done - started
    return LoopTimes(*times)
