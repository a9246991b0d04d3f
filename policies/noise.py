"""Noise schedules: diffusers' schedulers, made once and shared by calls that must not disturb one another."""

from __future__ import annotations

import copy
from typing import Any

from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from torch import Tensor

from robolearn.errors import UserError

PREDICTION_TYPES = {"v": "v_prediction", "epsilon": "epsilon", "sample": "sample"}
INFERENCE_SCHEDULERS = ("ddim", "dpm-solver++")


class NoiseSchedule:
    """The forward process (DDPM, squared cosine; Nichol and Dhariwal 2021) and a sampler of its reverse.

    Args:
        train_steps: steps of the forward process.
        prediction_type: what the network predicts: ``v`` (Salimans and Ho 2022), ``epsilon``, or ``sample``, the clean chunk, which a
            small network learns with the least noise left in it.
        inference_scheduler: ``ddim`` (Song et al. 2021, eta 0) or ``dpm-solver++`` (Lu et al. 2022, second order, multistep).
        inference_steps: network passes a sample costs.
        clip: magnitude the predicted clean sample is clipped to.

    Raises:
        UserError: an unknown name, or more inference than training steps.
    """

    def __init__(self, train_steps: int, prediction_type: str, inference_scheduler: str, inference_steps: int, clip: float) -> None:
        if prediction_type not in PREDICTION_TYPES:
            raise UserError(f"no prediction_type {prediction_type!r}; there are {', '.join(PREDICTION_TYPES)}")
        if inference_scheduler not in INFERENCE_SCHEDULERS:
            raise UserError(f"no inference_scheduler {inference_scheduler!r}; there are {', '.join(INFERENCE_SCHEDULERS)}")
        if not 1 <= inference_steps <= train_steps:
            raise UserError(f"inference_steps must be 1 to train_steps = {train_steps}, got {inference_steps}")
        self.prediction_type, self.scheduler = prediction_type, inference_scheduler
        shared = {
            "num_train_timesteps": train_steps,
            "beta_schedule": "squaredcos_cap_v2",
            "prediction_type": PREDICTION_TYPES[prediction_type],
        }
        self.forward = DDPMScheduler(**shared, clip_sample=True, clip_sample_range=clip)
        if inference_scheduler == "ddim":
            self._reverse: Any = DDIMScheduler(**shared, clip_sample=True, clip_sample_range=clip)
        else:
            from robolearn.policies.dpm_solver import ClippedDPMSolver  # takes seconds to load, and few ask for it

            self._reverse = ClippedDPMSolver(**shared, algorithm_type="dpmsolver++", solver_order=2, thresholding=True)
            self._reverse.clip = clip
        self._reverse.set_timesteps(inference_steps)
        self.timesteps: list[int] = self._reverse.timesteps.tolist()

    def target(self, clean: Tensor, noise: Tensor, steps: Tensor) -> Tensor:
        """What the network should say of ``clean`` with that noise at these steps ``(B,)``."""
        if self.prediction_type == "v":
            velocity: Tensor = self.forward.get_velocity(clean, noise, steps)
            return velocity
        return noise if self.prediction_type == "epsilon" else clean

    def reverse(self) -> Any:
        """A scheduler at its first step, for one sample: ``step(output, timestep, sample).prev_sample``."""
        scheduler = copy.copy(self._reverse)
        if self.scheduler == "dpm-solver++":  # its history is the only thing a step changes
            scheduler.model_outputs = list(scheduler.model_outputs)
        return scheduler
