"""Supervised training of one model: steps, averages, validation, checkpoints; resumes to the bit and shares a batch between processes."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from robolearn.batch import WindowBatch
from robolearn.checkpoint import Checkpoint, save_checkpoint
from robolearn.errors import UserError, check_positive, check_share, reading
from robolearn.learning.ema import Ema
from robolearn.learning.optim import adamw, load_optimizer_tensors, optimizer_tensors, warmup_cosine
from robolearn.learning.parallel import Shard, Workers

ALONE = Workers()


@dataclass(frozen=True)
class TrainingSettings:
    """How a model is trained; the defaults suit a 2 M parameter denoiser on two cores (5 to 6 minutes).

    Args:
        steps: gradient steps; null where only ``minutes`` counts.
        minutes: wall-clock budget, evaluation included; the learning rate then follows the clock. Whichever budget ends first.
        batch_size: windows a step, over all processes.
        lr: peak learning rate of AdamW.
        warmup_steps: linear rise to it; then half a cosine to 0 at the end of the budget.
        weight_decay: of AdamW, on matrices.
        max_grad_norm: gradients are clipped to this norm.
        ema_decay: of the averaged weights, which are the ones that act.
        seed: of weights, batches, noise and the held-out split.
        log_every: steps between two lines of metrics.
        validate_every: steps between two validation losses.
        checkpoint_every: steps between two checkpoints; a crash costs no more.
        keep_every: also keep the checkpoints at multiples of this many steps; null keeps the last and the best alone.
    """

    steps: int | None = 15_000
    minutes: float | None = None
    batch_size: int = 256
    lr: float = 6e-4
    warmup_steps: int = 500
    weight_decay: float = 1e-6
    max_grad_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    log_every: int = 100
    validate_every: int = 1000
    checkpoint_every: int = 1000
    keep_every: int | None = None

    def __post_init__(self) -> None:
        if not (self.steps or self.minutes):
            raise UserError("training would never end: give training.steps or training.minutes")
        for name in ("steps", "minutes"):
            if (getattr(self, name) or 0) < 0:
                raise UserError(f"training.{name} must not be negative, got {getattr(self, name)}")
        for name in ("batch_size", "log_every", "validate_every", "checkpoint_every"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} must be at least 1, got {getattr(self, name)}")
        check_positive(training__lr=self.lr, training__max_grad_norm=self.max_grad_norm)
        check_share(0.0, math.inf, training__weight_decay=self.weight_decay, training__warmup_steps=self.warmup_steps)
        check_share(training__ema_decay=self.ema_decay)


class Windows(Protocol):
    """A data set of windows."""

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray[np.int64]) -> WindowBatch:
        """The windows at ``indices (B,)``."""
        ...


class Sampler(Protocol):
    """An endless stream of this process's window indices, with a position."""

    def __iter__(self) -> Iterator[NDArray[np.int64]]: ...

    def __next__(self) -> NDArray[np.int64]: ...

    def state_dict(self) -> dict[str, int]:
        """JSON-ready position."""
        ...

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on from a position."""
        ...


class Augmentation(Protocol):
    """A change of windows that are learned from; it draws from the training's generator, so a resumed run sees the same."""

    def __call__(self, batch: WindowBatch, generator: torch.Generator, shard: Shard | None = None) -> WindowBatch:
        """Another batch of tensors, of the same shapes; ``shard`` says which rows of a global batch these are."""
        ...


@dataclass
class Record:
    """What a training has come to; saved in every checkpoint.

    Args:
        step: gradient steps done.
        seconds: wall-clock time spent, evaluation included, over all resumptions.
        validation_loss: last one, of the averaged weights on held-out episodes.
        success: last success rate on search seeds.
        best_success: highest success rate.
        best_validation_loss: the validation loss of that checkpoint; it breaks ties.
        best_step: its step.
    """

    step: int = 0
    seconds: float = 0.0
    validation_loss: float | None = None
    success: float | None = None
    best_success: float | None = None
    best_validation_loss: float | None = None
    best_step: int | None = None


class Trainer:
    """One model in training.

    Args:
        model: has ``loss(batch, generator, shard)``, ``env_spec`` and ``normalizer``.
        config: the node that rebuilds it.
        data: windows to learn from.
        sampler: which of them, batch by batch.
        settings: see :class:`TrainingSettings`.
        held_out: windows of episodes that are not learned from; None for no validation.
        workers: processes that share each batch.
        augmentation: changes of the windows learned from, in this order; held-out ones stay as they are.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Mapping[str, Any],
        data: Windows,
        sampler: Sampler,
        settings: TrainingSettings,
        held_out: Windows | None = None,
        workers: Workers = ALONE,
        augmentation: Sequence[Augmentation] = (),
    ) -> None:
        self.model, self.config, self.data, self.sampler, self.settings = model.train(), config, data, sampler, settings
        self.held_out, self.workers, self.augmentation = held_out, workers, tuple(augmentation)
        self.shard = workers.shard(settings.batch_size)
        self.ema = Ema(model, settings.ema_decay)
        self.optimizer = adamw(model, settings.lr, settings.weight_decay)
        self.generator = torch.Generator().manual_seed(settings.seed)
        self.record = Record()
        self._weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._device = str(self._weights[0].device)

    @property
    def progress(self) -> float:
        """Share of the budget used; the larger one where steps and minutes are both limited."""
        shares = [self.record.step / self.settings.steps if self.settings.steps else 0.0]
        if self.settings.minutes:
            seconds = self.workers.average(torch.tensor(self.record.seconds, dtype=torch.float64))
            shares.append(float(seconds) / (60 * self.settings.minutes))
        return max(shares)

    def step(self) -> dict[str, float]:
        """One gradient step on the next batch; metrics.

        Raises:
            UserError: loss or gradient is not finite; the weights are those before the step.
        """
        begun = time.perf_counter()
        lr = self.settings.lr * warmup_cosine(self.record.step, self.progress, self.settings.warmup_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)
        metrics = self.backward(self.data.batch(next(self.sampler)))
        norm = self._clip()
        if not (math.isfinite(norm) and math.isfinite(metrics["loss"])):
            raise UserError(
                f"step {self.record.step + 1}: the loss is {metrics['loss']}, its gradient's norm {norm}; the last checkpoint is good: "
                f"go on from it with resume=true and training.lr below {self.settings.lr:g}, or check the data (robolearn data check)"
            )
        self.optimizer.step()
        self.ema.update(self.model, self.record.step)
        self.record.step += 1
        self.record.seconds += time.perf_counter() - begun
        return {**metrics, "grad_norm": norm, "lr": lr}

    def _clip(self) -> float:
        """Norm of the gradient, which is scaled down where it exceeds the limit, and left alone where it does not."""
        gradients = [weight.grad for weight in self._weights if weight.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if norm > self.settings.max_grad_norm:
            nn.utils.clip_grads_with_norm_(self._weights, self.settings.max_grad_norm, norm)
        return float(norm)

    def backward(self, batch: WindowBatch) -> dict[str, float]:
        """Gradients and metrics of a batch, averaged over the processes."""
        batch = batch.torch(self._device)
        for change in self.augmentation:
            batch = change(batch, self.generator, self.shard)
        loss, metrics = self.model.loss(batch, self.generator, self.shard)  # type: ignore[operator]
        loss.backward()
        self.workers.average_gradients(self._weights)
        values = self.workers.average(torch.stack([value.detach().float().cpu() for value in metrics.values()]))
        return dict(zip(metrics, values.tolist(), strict=True))

    @torch.no_grad()
    def validate(self, limit: int = 4096) -> float | None:
        """Mean loss of the averaged weights on the held-out windows, at most ``limit`` of them, always with the same noise."""
        if self.held_out is None:
            return None
        generator = torch.Generator().manual_seed(self.settings.seed)
        chosen = np.random.default_rng(self.settings.seed).permutation(len(self.held_out))[:limit]
        total = 0.0
        for indices in np.array_split(chosen, max(1, len(chosen) // self.settings.batch_size)):
            loss, _ = self.ema.model.loss(self.held_out.batch(indices).torch(self._device), generator)  # type: ignore[operator]
            total += float(loss) * len(indices)
        self.record.validation_loss = total / len(chosen)
        return self.record.validation_loss

    def judge(self, success: float) -> bool:
        """Note a success rate; true for a new best, by success and then by validation loss."""
        record = self.record
        record.success = success
        loss = record.validation_loss if record.validation_loss is not None else math.inf
        best_loss = record.best_validation_loss if record.best_validation_loss is not None else math.inf
        if record.best_success is not None and (success, -loss) <= (record.best_success, -best_loss):
            return False
        record.best_success, record.best_validation_loss, record.best_step = success, record.validation_loss, record.step
        return True

    def save(self, checkpoints: Path, links: tuple[str, ...] = ("last",), **meta: Any) -> Path:
        """Write a checkpoint from which this training goes on to the bit."""
        model: Any = self.model
        return save_checkpoint(
            checkpoints,
            self.record.step,
            config=self.config,
            env_spec=model.env_spec,
            normalizer=model.normalizer,
            tensors={
                "model": self.model.state_dict(),
                "ema": self.ema.model.state_dict(),
                "optimizer": optimizer_tensors(self.optimizer),
                "rng": {"generator": self.generator.get_state(), "torch": torch.get_rng_state()},
            },
            meta={**meta, "record": asdict(self.record), "sampler": self.sampler.state_dict(), "training": asdict(self.settings)},
            links=links,
        )

    def load(self, checkpoint: Checkpoint) -> None:
        """Go on from :meth:`save`.

        Raises:
            UserError: the checkpoint is of another model, or of other data.
        """
        try:
            self.model.load_state_dict(checkpoint.tensors("model"))
            self.ema.model.load_state_dict(checkpoint.tensors("ema"))
        except RuntimeError as error:
            raise UserError(f"{checkpoint.path} does not fit these policy options; resume with the ones it was begun with") from error
        load_optimizer_tensors(self.optimizer, checkpoint.tensors("optimizer"))
        state = checkpoint.tensors("rng")
        self.generator.set_state(state["generator"])
        torch.set_rng_state(state["torch"])
        with reading(checkpoint.path / "checkpoint.json"):
            self.sampler.load_state_dict(checkpoint.meta["sampler"])
            self.record = Record(**checkpoint.meta["record"])
