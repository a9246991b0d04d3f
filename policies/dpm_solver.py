"""DPM-Solver++ as policies use it: diffusers' scheduler, with the clean sample clipped to what actions may be."""

from __future__ import annotations

from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from torch import Tensor


class ClippedDPMSolver(DPMSolverMultistepScheduler):
    """Clips the predicted clean sample at every step, as DDIM does: early on it is a small number divided by a tiny one."""

    clip = 1.0

    def _threshold_sample(self, sample: Tensor) -> Tensor:
        return sample.clamp(-self.clip, self.clip)
