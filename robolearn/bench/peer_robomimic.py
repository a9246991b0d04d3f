"""Run by robomimic's own Python: times its SequenceDataset through torch's DataLoader on request, as its trainer would use it.

Needs nothing of robolearn. Settings come as JSON in the first argument, requests as lines of JSON on stdin:
``{"do": "batches", "count": 5, "workers": 2}`` is answered with ``{"seconds": [...]}``, that of each batch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from typing import Any


class Timer:
    """One data set in memory, and an endless shuffled loader for each number of workers."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch
        from robomimic.utils import obs_utils  # type: ignore[import-not-found]
        from robomimic.utils.dataset import SequenceDataset  # type: ignore[import-not-found]

        torch.set_num_threads(1)
        obs_utils.initialize_obs_modality_mapping_from_dict({"low_dim": settings["keys"]})
        self.torch, self.settings = torch, settings
        self.data = SequenceDataset(
            hdf5_path=settings["path"],
            obs_keys=settings["keys"],
            dataset_keys=["actions"],
            seq_length=settings["horizon"],
            hdf5_cache_mode="low_dim",
            hdf5_use_swmr=False,
            load_next_obs=False,
        )
        self.loaders: dict[int, Any] = {}

    def batches(self, count: int, workers: int) -> list[float]:
        """Seconds of each of ``count`` batches."""
        if workers not in self.loaders:
            self.loaders[workers] = self._endless(workers)
        return [self._next(self.loaders[workers]) for _ in range(count)]

    def _endless(self, workers: int) -> Any:
        loader = self.torch.utils.data.DataLoader(
            self.data, self.settings["batch_size"], shuffle=True, num_workers=workers, drop_last=True, persistent_workers=workers > 0
        )
        while True:
            yield from loader

    def _next(self, loader: Any) -> float:
        begun = time.perf_counter()
        next(loader)
        return time.perf_counter() - begun


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    timer = Timer(json.loads(sys.argv[1]))
    hello = {"name": f"robomimic {metadata.version('robomimic')} SequenceDataset", "windows": len(timer.data)}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        seconds = getattr(timer, request.pop("do"))(**request)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
