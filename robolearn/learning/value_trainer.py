"""Training one chunk critic: gradient steps, a slowly following target that serves, held-out figures, and exact resume."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robolearn.checkpoint import open_checkpoint, save_checkpoint
from robolearn.errors import UserError, check_share, reading
from robolearn.learning.value_data import BatchSampler, CriticData, branched
from robolearn.learning.value_metrics import auc, calibration_error, reliability, within_group_order
from robolearn.learning.value_objectives import Objective

ASSESS_BATCH = 4096


def check_training(options: Mapping[str, Any]) -> None:
    """Raise ``UserError`` where a count or rate of ``training`` is not positive."""
    for name in ("steps", "batch_size", "every", "lr"):
        if not options[name] > 0:
            raise UserError(f"training.{name} must be positive, got {options[name]}")
    check_share(0.0, math.inf, training__weight_decay=options.get("weight_decay"))
    check_share(training__polyak=options.get("polyak"), training__branch_share=options.get("branch_share"))


class CriticTrainer:
    """One critic in training.

    Args:
        critic: fresh network.
        config: its node (``_target_`` and arguments), saved with it.
        objective: what to learn.
        data: transitions as features.
        held_out: ``(M,)`` rows that are judged on and not trained on.
        seed: of the batches.
        steps: gradient steps.
        batch_size: transitions a step.
        lr: AdamW's learning rate, decaying by a cosine to a tenth.
        weight_decay: AdamW's.
        polyak: share of the network that the target takes over each step; the target is what serves.
        branch_share: share of a batch from first decisions of branches, where there are any.
        every: steps between held-out figures and checkpoints.
        patience: stop after so many of them without a better AUC; 0 never stops early.
        minutes: stop after so many, over all resumptions, or None.

    Raises:
        UserError: a count or a rate that is not positive.
    """

    def __init__(
        self,
        critic: Any,
        config: dict[str, Any],
        objective: Objective,
        data: CriticData,
        held_out: NDArray[np.bool_],
        seed: int,
        *,
        steps: int = 5000,
        batch_size: int = 512,
        lr: float = 3e-4,
        weight_decay: float = 1e-3,
        polyak: float = 0.005,
        branch_share: float = 0.5,
        every: int = 500,
        patience: int = 0,
        minutes: float | None = None,
    ) -> None:
        import torch

        from robolearn.learning.optim import adamw

        check_training({"steps": steps, "batch_size": batch_size, "lr": lr, "every": every})
        self.critic, self.config, self.objective, self.data = critic, config, objective, data
        self.steps, self.batch_size, self.lr, self.polyak = steps, batch_size, lr, polyak
        self.every, self.patience, self.minutes = every, patience, minutes
        self.generator = torch.Generator().manual_seed(seed)
        rows = np.flatnonzero(~held_out)
        self.judged = np.flatnonzero(held_out)
        critic.fit_features(data.state[torch.from_numpy(data.transitions.start[rows])], data.chunks(rows))
        self.target = copy.deepcopy(critic).requires_grad_(False)
        self.optimizer = adamw(critic, lr, weight_decay)
        self.sampler = BatchSampler(rows, data.transitions, branch_share, self.generator)
        self.step, self.best, self.since_best, self.seconds = 0, -math.inf, 0, 0.0

    def train_step(self) -> dict[str, float]:
        """One gradient step.

        Raises:
            UserError: the loss is not finite.
        """
        import torch

        batch = self.data.batch(self.sampler(self.batch_size))
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (0.55 + 0.45 * math.cos(math.pi * self.step / self.steps))
        loss, metrics = self.objective.loss(self.critic, self.target, batch, self.generator)
        if not torch.isfinite(loss):
            raise UserError(f"the critic's loss became {loss.item()} at step {self.step}; try a lower training.lr than {self.lr}")
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.critic.parameters(), 10.0)
        self.optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                slow.lerp_(fast, max(self.polyak, 1 / (self.step + 1)))  # a plain mean at first, so that early steps fade
        self.step += 1
        return {name: float(value) for name, value in metrics.items()}

    def predict(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The serving network's mean value of what was executed: ``(B,) -> (B,)``."""
        import torch

        parts = []
        with torch.inference_mode():
            for part in np.array_split(rows, max(1, math.ceil(len(rows) / ASSESS_BATCH))):
                state = self.data.state[torch.from_numpy(self.data.transitions.start[part])]
                parts.append(self.target.values(self.target(state, self.data.chunks(part)[:, None])).mean((0, 2)).numpy())
        return np.concatenate(parts)

    def assess(self) -> dict[str, float]:
        """Held-out figures, without those that the held-out episodes cannot tell (all of one kind, no branches)."""
        if not len(self.judged):
            return {}
        made = self.data.transitions
        predicted, returns = self.predict(self.judged), made.returns[self.judged]
        forks = self.judged[branched(made)[self.judged]]
        order, pairs = within_group_order(self.predict(forks), made.returns[forks], made.group[forks]) if len(forks) else (math.nan, 0)
        figures = {
            "auc": auc(predicted, returns > 0),
            "calibration_error": calibration_error(predicted, returns),
            "bias": float((predicted - returns).mean()),
            "squared_error": float(np.square(predicted - returns).mean()),
            "branch_order": order,
            "branch_pairs": float(pairs),
        }
        return {name: value for name, value in figures.items() if math.isfinite(value)}

    def reliability(self) -> list[list[float]]:
        """Reliability diagram on held-out episodes: rows of (mean prediction, mean return, count)."""
        if not len(self.judged):
            return []
        table: list[list[float]] = reliability(self.predict(self.judged), self.data.transitions.returns[self.judged]).tolist()
        return table

    def train(self, folder: Path, log: Callable[[int, dict[str, float]], None], advance: Callable[..., None]) -> dict[str, Any]:
        """Train to the end (or patience, or time), leaving checkpoints; returns the held-out figures of the last step."""
        begun, figures = time.monotonic() - self.seconds, self.assess()
        sums: dict[str, float] = {}
        counted = 0
        while not self._finished():
            counted += 1
            for name, value in self.train_step().items():
                sums[name] = sums.get(name, 0.0) + value
            advance(1)
            self.seconds = time.monotonic() - begun
            if self.step % self.every and not self._finished():
                continue
            figures = self.assess()
            log(self.step, {**{name: value / counted for name, value in sums.items()}, **{f"held_out/{k}": v for k, v in figures.items()}})
            sums, counted = {}, 0
            self._keep(folder, figures)
        return {"steps": self.step, **figures, "reliability": self.reliability()}

    def _finished(self) -> bool:
        late = self.minutes is not None and self.seconds >= 60 * self.minutes
        return late or self.step >= self.steps or bool(self.patience and self.since_best >= self.patience)

    def _keep(self, folder: Path, figures: dict[str, float]) -> None:
        score = figures.get("auc", math.nan)
        better = not score <= self.best  # also when there is no score: then the last is the best
        self.best, self.since_best = (score, 0) if better else (self.best, self.since_best + 1)
        self.save(folder, figures, ("last", "best") if better else ("last",))

    def save(self, folder: Path, figures: dict[str, float], links: tuple[str, ...] = ("last",)) -> Path:
        """Write a checkpoint; ``ema`` is the target network, which serves."""
        from robolearn.learning.optim import optimizer_tensors

        return save_checkpoint(
            folder,
            self.step,
            config=self.config,
            env_spec=self.critic.env_spec,
            normalizer=self.critic.normalizer,
            tensors={
                "model": self.critic.state_dict(),
                "ema": self.target.state_dict(),
                "optimizer": optimizer_tensors(self.optimizer),
                "rng": {"generator": self.generator.get_state()},
            },
            meta={
                "held_out": figures,
                "best": self.best if math.isfinite(self.best) else None,
                "since_best": self.since_best,
                "seconds": self.seconds,
            },
            links=links,
        )

    def resume(self, folder: Path) -> None:
        """Go on from ``folder/last``: the rest of training is then what it would have been, and none where it was finished.

        Raises:
            UserError: the checkpoint is of another critic.
        """
        from robolearn.learning.optim import load_optimizer_tensors

        saved = open_checkpoint(folder / "last")
        try:
            self.critic.load_state_dict(saved.tensors("model"))
            self.target.load_state_dict(saved.tensors("ema"))
        except RuntimeError as error:
            raise UserError(f"{saved.path} does not fit these critic options; resume with the ones it was begun with") from error
        load_optimizer_tensors(self.optimizer, saved.tensors("optimizer"))
        self.generator.set_state(saved.tensors("rng")["generator"])
        with reading(saved.path / "checkpoint.json"):
            best = saved.meta["best"]
            self.step, self.since_best, self.seconds = int(saved.meta["step"]), int(saved.meta["since_best"]), float(saved.meta["seconds"])
        self.best = -math.inf if best is None else float(best)
