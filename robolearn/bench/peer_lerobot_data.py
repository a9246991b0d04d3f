"""Run by LeRobot's own Python: times its LeRobotDataset through torch's DataLoader on request, on one core.

Needs nothing of robolearn. Settings come as JSON in the first argument, requests as lines of JSON on stdin:
``{"do": "batches", "count": 3, "backend": "pyav"}`` is answered with ``{"seconds": [...]}``, that of each batch.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from typing import Any


class Timer:
    """One data set, and an endless shuffled loader for each way of decoding video."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch

        torch.set_num_threads(1)
        self.torch, self.settings = torch, settings
        self.loaders: dict[str, Any] = {}

    def batches(self, count: int, backend: str) -> list[float]:
        """Seconds of each of ``count`` batches; none where this way of decoding does not work here."""
        try:
            if backend not in self.loaders:
                self.loaders[backend] = self._endless(backend)
                next(self.loaders[backend])
        except Exception as error:
            print(f"{backend}: {error}", file=sys.stderr)
            return []
        return [self._next(self.loaders[backend]) for _ in range(count)]

    def _endless(self, backend: str) -> Any:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset  # type: ignore[import-not-found]

        horizon, hz = self.settings["horizon"], self.settings["hz"]
        data = LeRobotDataset(
            "local/bench",
            root=self.settings["path"],
            video_backend=backend,
            delta_timestamps={"action": [step / hz for step in range(horizon)]},
        )
        while True:
            yield from self.torch.utils.data.DataLoader(data, self.settings["batch_size"], shuffle=True, drop_last=True)

    def _next(self, loader: Any) -> float:
        begun = time.perf_counter()
        next(loader)
        return time.perf_counter() - begun


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    os.environ["HF_HUB_OFFLINE"] = "1"
    timer = Timer(json.loads(sys.argv[1]))
    print(json.dumps({"name": f"LeRobot {metadata.version('lerobot')} LeRobotDataset"}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        seconds = getattr(timer, request.pop("do"))(**request)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
