"""Run by LeRobot's own Python: times its DiffusionPolicy on request, as its trainer and its policy server would call it.

Needs nothing of robolearn. Settings come as JSON in the first argument, requests as lines of JSON on stdin:
``{"do": "train", "steps": 5}`` and ``{"do": "infer", "batch": 64, "draws": 10}`` are answered with ``{"seconds": [...]}``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from importlib import metadata
from typing import Any


def build_policy(settings: dict[str, Any]) -> Any:
    """A U-Net policy on state and environment state, as LeRobot ships it but for the sizes."""
    from lerobot.configs.types import FeatureType, PolicyFeature  # type: ignore[import-not-found]
    from lerobot.policies.diffusion.configuration_diffusion import DiffusionConfig  # type: ignore[import-not-found]
    from lerobot.policies.diffusion.modeling_diffusion import DiffusionPolicy  # type: ignore[import-not-found]

    config = DiffusionConfig(
        input_features={
            "observation.state": PolicyFeature(type=FeatureType.STATE, shape=(settings["state"],)),
            "observation.environment_state": PolicyFeature(type=FeatureType.ENV, shape=(settings["environment_state"],)),
        },
        output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(settings["action"],))},
        device="cpu",
        n_obs_steps=settings["observation_horizon"],
        horizon=settings["prediction_horizon"],
        n_action_steps=settings["action_horizon"],
        down_dims=tuple(settings["down_dims"]),
        noise_scheduler_type="DDIM",
        num_train_timesteps=settings["train_steps"],
        num_inference_steps=settings["inference_steps"],
    )
    return DiffusionPolicy(config)


class Timer:
    """One policy, its optimiser and random batches."""

    def __init__(self, settings: dict[str, Any]) -> None:
        import torch

        self.torch, self.settings = torch, settings
        torch.set_num_threads(settings["threads"])
        torch.manual_seed(0)
        self.policy = build_policy(settings)
        preset = self.policy.config.get_optimizer_preset()
        self.clip = preset.grad_clip_norm
        self.optimizer = preset.build(self.policy.get_optim_params())
        self.scheduler = self.policy.config.get_scheduler_preset().build(self.optimizer, 100_000)
        self.training_batch = self.batch(settings["batch_size"])

    def batch(self, rows: int) -> dict[str, Any]:
        """Observations, actions and padding of ``rows`` windows."""
        torch, sizes = self.torch, self.settings
        history, horizon = sizes["observation_horizon"], sizes["prediction_horizon"]
        return {
            "observation.state": torch.rand(rows, history, sizes["state"]) * 2 - 1,
            "observation.environment_state": torch.rand(rows, history, sizes["environment_state"]) * 2 - 1,
            "action": torch.rand(rows, horizon, sizes["action"]) * 2 - 1,
            "action_is_pad": torch.zeros(rows, horizon, dtype=torch.bool),
        }

    def train(self, steps: int) -> list[float]:
        """Seconds of each gradient step: what ``lerobot-train`` does with a batch that is there already."""
        self.policy.train()
        return [self._train_step() for _ in range(steps)]

    def _train_step(self) -> float:
        begun = time.perf_counter()
        loss, _ = self.policy.forward(self.training_batch)
        loss.backward()
        self.torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.clip)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        return time.perf_counter() - begun

    def infer(self, batch: int, draws: int) -> list[float]:
        """Seconds of each draw of ``batch`` chunks from normalised observations that are tensors already."""
        self.policy.eval()
        observation = self.batch(batch)
        seconds = []
        with self.torch.no_grad():
            for _ in range(draws):
                begun = time.perf_counter()
                self.policy.diffusion.generate_actions(observation)
                seconds.append(time.perf_counter() - begun)
        return seconds


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a library prints is no answer
    timer = Timer(json.loads(sys.argv[1]))
    parameters = sum(weight.numel() for weight in timer.policy.parameters())
    hello = {"name": f"LeRobot {metadata.version('lerobot')} DiffusionPolicy", "parameters": parameters}
    print(json.dumps(hello), file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        seconds = getattr(timer, request.pop("do"))(**request)
        print(json.dumps({"seconds": seconds}), file=answers, flush=True)


if __name__ == "__main__":
    main()
