"""Windows of state data beside robomimic's SequenceDataset, from the same episodes."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.bench.figures import Figure, in_turns
from robolearn.bench.peer import ROBOMIMIC, Peer, alongside
from robolearn.bench.stand_ins import random_episode
from robolearn.memory import keep_freed_memory
from robolearn.nodes import find_target, instantiate
from robolearn.spec import ActionSpec, ArraySpec, EnvSpec

WORKERS = (0, 2)  # of the peer's loader; the faster one counts
HORIZON = 16  # actions of a window
TURN = 0.3  # [s] least length of one
SPEC = EnvSpec("state", {"state": ArraySpec((70,))}, ActionSpec(tuple(f"a{n}" for n in range(10)), (-1.0,) * 10, (1.0,) * 10), 10.0)


def figures(options: Mapping[str, Any]) -> Iterator[Figure]:
    """Windows a second: 70 numbers and 16 x 10 actions; and with 16 steps of observations, as many as robomimic delivers."""
    part, rounds, rows = options["data"], int(options["rounds"]), int(options["train"]["batch_size"])
    rng, count = np.random.default_rng(0), int(part["batches"])
    keep_freed_memory()  # as `train` does
    with tempfile.TemporaryDirectory() as folder:
        with find_target(options["store_type"]).create(Path(folder) / "state.zarr", SPEC) as store:
            store.extend([random_episode(SPEC, int(part["steps"]), rng) for _ in range(int(part["episodes"]))])
        file = Path(folder) / "state.hdf5"
        find_target(part["export"])(store, file, "robomimic", False)
        loaders = [_ours(part, store, history, rows, count) for history in (1, HORIZON)]
        settings = {"path": str(file), "keys": ["state"], "horizon": HORIZON, "batch_size": rows}
        with alongside("robomimic", options["robomimic_python"], ROBOMIMIC, settings) as peer:
            tasks: list[Callable[[], float]] = [*loaders]
            if peer is not None:
                tasks += [partial(mean_batch, peer, count, workers=workers) for workers in WORKERS]
            in_turns(1, *tasks)
            seconds = [float(np.median(samples)) for samples in in_turns(rounds, *tasks)]
            beside = (peer.name, rows / min(seconds[2:])) if peer is not None else (None, None)
        for name, mine in zip(("state_windows", "state_windows_history_16"), seconds, strict=False):
            yield Figure(f"data/{name}", rows / mine, "windows/s", rounds * count, *beside)


def _ours(part: Mapping[str, Any], store: Any, history: int, rows: int, count: int) -> Callable[[], float]:
    data = instantiate(part["windows"], stores=store, observation_horizon=history, prediction_horizon=HORIZON)
    sampler = instantiate(part["sampler"], dataset_len=len(data), batch_size=rows, seed=0)
    return lambda: mean_seconds(lambda: data.batch(next(sampler)).torch(), count)


def mean_seconds(call: Callable[[], object], count: int) -> float:
    """Mean seconds of ``count`` calls or more: a turn is as long as a peer's, as a busy machine lets short ones slip through."""
    begun, done = time.perf_counter(), 0
    while done < count or time.perf_counter() - begun < TURN:
        call()
        done += 1
    return (time.perf_counter() - begun) / done


def mean_batch(peer: Peer, count: int, **how: Any) -> float:
    """Mean seconds of a turn's batches: a loader with workers has some ready, others it waits for."""
    return float(np.mean(peer.ask(do="batches", count=count, **how)["seconds"]))
