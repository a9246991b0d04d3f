"""Diffusion policy: draws action chunks by denoising, given the observation (Chi et al. 2023, arXiv:2303.04137)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robolearn.batch import WindowBatch
from robolearn.errors import UserError
from robolearn.learning.parallel import Shard, randint, randn
from robolearn.normalize import Normalizer
from robolearn.policies.chunk_model import ChunkModel
from robolearn.policies.encoders import Encoder
from robolearn.policies.networks.mlp_denoiser import MlpDenoiser
from robolearn.policies.networks.unet import Unet
from robolearn.policies.noise import NoiseSchedule
from robolearn.protocols import Observation
from robolearn.seeding import addressed_normal
from robolearn.spec import EnvSpec


class DiffusionPolicy(ChunkModel):
    """Chunk sampler ``p(actions (Tp, A) | observations (To, ...))``.

    Args:
        env_spec: observations and actions of the task.
        normalizer: fitted on the demonstrations.
        observation_keys: arrays it is conditioned on.
        observation_horizon: To.
        prediction_horizon: Tp.
        action_horizon: actions meant to be executed of each chunk.
        network: ``mlp`` (the default for processors) or ``unet``.
        hidden: width of the MLP denoiser.
        blocks: residual blocks of the MLP denoiser.
        step_size: width of the denoising step's embedding.
        dropout: of the MLP denoiser.
        down_dims: channels of each level of the U-Net.
        kernel: of the U-Net's convolutions.
        groups: of the U-Net's group norms.
        prediction_type: ``v``, ``epsilon`` or ``sample``.
        train_steps: steps of the forward process.
        inference_scheduler: ``ddim`` or ``dpm-solver++``.
        inference_steps: network passes per chunk; free at run time through :meth:`set_inference`.
        observation_noise: see :class:`ChunkModel`, as are the rest.
        clamp: of normalised observations.
        action_clamp: of normalised actions, and of the denoised sample at every step.
        mask_padding: padded actions do not count in the loss.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        actions: ``absolute``, ``relative`` or ``delta``.
        encoder: of images.
        task_embedding: size of the vector of each of ``tasks``.
        tasks: names of the tasks it is for, where they are several.
        relations: pairs of positions whose differences are also read, finely coded.
        wavelengths: [m] of that code.
        distractors: numbers that are not read.
        loss_weights: how much the error of a channel counts, by its units.

    Raises:
        UserError: an unknown name among the options, or sizes that do not fit.
    """

    network: MlpDenoiser | Unet

    def __init__(
        self,
        *,
        env_spec: EnvSpec,
        normalizer: Normalizer,
        observation_keys: Sequence[str],
        observation_horizon: int = 1,
        prediction_horizon: int = 16,
        action_horizon: int = 8,
        network: str = "mlp",
        hidden: int = 512,
        blocks: int = 3,
        step_size: int = 64,
        dropout: float = 0.0,
        down_dims: Sequence[int] = (128, 256),
        kernel: int = 5,
        groups: int = 8,
        prediction_type: str = "v",
        train_steps: int = 100,
        inference_scheduler: str = "ddim",
        inference_steps: int = 4,
        observation_noise: float = 0.0,
        clamp: float = 3.0,
        action_clamp: float = 1.0,
        mask_padding: bool = True,
        precision: str = "auto",
        actions: str = "absolute",
        encoder: Encoder | None = None,
        task_embedding: int = 0,
        tasks: Sequence[str] = (),
        relations: Sequence[Sequence[str]] = (),
        wavelengths: Sequence[float] = (0.32, 0.08),
        distractors: Sequence[str] = (),
        loss_weights: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(
            env_spec=env_spec,
            normalizer=normalizer,
            observation_keys=observation_keys,
            observation_horizon=observation_horizon,
            prediction_horizon=prediction_horizon,
            action_horizon=action_horizon,
            observation_noise=observation_noise,
            clamp=clamp,
            action_clamp=action_clamp,
            mask_padding=mask_padding,
            precision=precision,
            actions=actions,
            encoder=encoder,
            task_embedding=task_embedding,
            tasks=tasks,
            relations=relations,
            wavelengths=wavelengths,
            distractors=distractors,
            loss_weights=loss_weights,
        )
        self.train_steps, self.prediction_type = train_steps, prediction_type
        self.schedule = NoiseSchedule(train_steps, prediction_type, inference_scheduler, inference_steps, action_clamp)
        sizes = (env_spec.action.size, prediction_horizon, self.observation_size)
        if network == "mlp":
            self.network = MlpDenoiser(*sizes, hidden=hidden, blocks=blocks, step_size=step_size, dropout=dropout)
        elif network == "unet":
            self.network = Unet(*sizes, down_dims=tuple(down_dims), kernel=kernel, groups=groups, step_size=step_size)
        else:
            raise UserError(f"no network {network!r}; there are mlp, unet")

    def set_inference(self, scheduler: str | None = None, steps: int | None = None) -> None:
        """Choose how chunks are drawn from now on; the weights serve any choice. What is None stays."""
        steps = len(self.schedule.timesteps) if steps is None else steps
        self.schedule = NoiseSchedule(
            self.train_steps, self.prediction_type, scheduler or self.schedule.scheduler, steps, self.action_clamp
        )

    def loss(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Denoising error of a batch of tensors (Ho et al. 2020, eq. 14): a scalar, and metrics by name.

        Args:
            batch: windows.
            generator: draws observation noise, diffusion noise and steps.
            shard: which rows of a global batch these are, where processes train together.
        """
        condition, clean = self.noisy_condition(batch, generator, shard), self.normalise_actions(batch.actions, batch.observations)
        noise = randn(clean.shape, generator, shard).to(clean)
        steps = randint(self.train_steps, len(clean), generator, shard).to(clean.device)
        noisy = self.schedule.forward.add_noise(clean, noise, steps)
        target = self.schedule.target(clean, noise, steps)
        with self.autocast():
            predicted = self.network(noisy, self.network.modulate(steps), self.network.prepare(condition)).float()
        loss = self.masked_mean((predicted - target).square(), batch.is_pad)
        return loss, {"loss": loss.detach()}

    @torch.inference_mode()
    def sample(
        self, observation: Observation, seeds: NDArray[np.int64], decisions: NDArray[np.int64], candidates: int = 1
    ) -> NDArray[np.float32]:
        """Draw K chunks a row: ``{name: (B, To, ...)} -> (B, K, Tp, A)`` in environment units.

        ``seeds (B,)`` and ``decisions (B,)`` address the noise; candidate 0 is what ``candidates=1`` draws, up to rounding.
        """
        shape = (candidates, self.prediction_horizon, self.env_spec.action.size)
        noise = torch.from_numpy(addressed_normal("policy", seeds, decisions, shape)).to(self.device)
        chunk = noise.flatten(0, 1)  # (B * K, Tp, A)
        scheduler = self.schedule.reverse()
        network, modulations = self.serving_network()
        with self.autocast():
            prepared = network.prepare(self.encode_numpy(observation)).repeat_interleave(candidates, 0)
            for step in self.schedule.timesteps:
                if step not in modulations:
                    modulations[step] = network.modulate(torch.tensor([step], device=chunk.device))
                predicted = network(chunk, modulations[step], prepared)
                chunk = scheduler.step(predicted.float(), step, chunk).prev_sample
        return self.chunks_numpy(torch.unflatten(chunk, 0, (-1, candidates)), observation)
