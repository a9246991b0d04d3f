"""Run by EnvPool's own Python: times one of its environments under random actions on request.

Needs nothing of robolearn. Settings come as JSON in the first argument, requests as lines of JSON on stdin:
``{"do": "steps", "count": 20}`` is answered with ``{"seconds": 0.3}``, of so many steps of all its worlds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


class Worlds:
    """N worlds, one thread; rows that end begin anew by themselves."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import envpool  # type: ignore[import-not-found]
        import numpy as np

        self.name = f"EnvPool {envpool.__version__} {settings['env']}"
        self.env = envpool.make_gymnasium(settings["env"], num_envs=settings["num_envs"], num_threads=1, seed=0)
        self.rng, self.shape = np.random.default_rng(0), (settings["num_envs"], *self.env.action_space.shape)
        self.env.reset()

    def steps(self, count: int) -> float:
        """Seconds of so many steps."""
        actions = self.rng.uniform(-1, 1, (count, *self.shape)).astype("float32")
        begun = time.perf_counter()
        for action in actions:
            self.env.step(action)
        return time.perf_counter() - begun


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    worlds = Worlds(json.loads(sys.argv[1]))
    print(json.dumps({"name": worlds.name}), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps({"seconds": getattr(worlds, request.pop("do"))(**request)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
