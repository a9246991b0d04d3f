"""What a chunk critic is trained on: Monte-Carlo returns, implicit Q-learning (IQL), or calibrated conservative Q-learning (Cal-QL)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from robolearn.errors import UserError

if TYPE_CHECKING:
    from torch import Generator, Tensor


@dataclass(frozen=True)
class CriticBatch:
    """B transitions as a critic's features.

    Args:
        state: ``(B, S)``.
        chunk: ``(B, F)`` that was executed.
        reward: ``(B,)`` within the chunk.
        discount: ``(B,)`` of the next state's value, 0 where the episode is over.
        returns: ``(B,)`` discounted return of the rest of the episode.
        next_state: ``(B, S)``.
        proposals: ``(B, n, F)`` what the frozen base would draw in the state, or None.
        next_proposals: ``(B, n, F)`` and in the next state.
    """

    state: Tensor
    chunk: Tensor
    reward: Tensor
    discount: Tensor
    returns: Tensor
    next_state: Tensor
    proposals: Tensor | None = None
    next_proposals: Tensor | None = None


class Objective(Protocol):
    """A loss over a critic and its slowly following copy."""

    needs_proposals: bool

    def loss(self, critic: Any, target: Any, batch: CriticBatch, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Scalar loss and what to plot."""
        ...


def lower_of_some(values: Tensor, subset: int, generator: Generator) -> Tensor:
    """Minimum over a random subset of members (REDQ, Chen et al. 2021): ``(E, ...) -> (...)``."""
    import torch

    members = torch.randperm(len(values), generator=generator)[:subset]
    return values[members].amin(0)


def _check_subset(subset: int) -> None:
    if subset < 1:
        raise UserError(f"subset is a number of ensemble members, at least 1; got {subset}")


@dataclass(frozen=True)
class MonteCarlo:
    """Regression on the return that followed: the value of the policies that made the data, without any bootstrap."""

    needs_proposals: bool = False

    def loss(self, critic: Any, target: Any, batch: CriticBatch, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Head loss against the return."""
        outputs = critic(batch.state, batch.chunk[:, None])
        loss = critic.loss(outputs, batch.returns[None, :, None]).mean()
        return loss, {"loss": loss.detach()}


@dataclass(frozen=True)
class LookAhead:
    """V by regression on the return; Q on the V of where the chunk led.

    What follows a chunk is as random as the policy; where it led is not. A Q of V(s_{t+h}) therefore tells chunks of one state apart
    from far fewer episodes than one of returns, while V still bootstraps on nothing.

    Args:
        blend: share of V(s_{t+h}) in Q's target; the rest is the return.
    """

    blend: float = 1.0
    needs_proposals: bool = False

    def loss(self, critic: Any, target: Any, batch: CriticBatch, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Head loss of Q plus squared error of V; they share no parameters."""
        import torch

        with torch.no_grad():
            ahead = (batch.reward + batch.discount * target.state_value(batch.next_state)).clamp(0.0, 1.0)
            wanted = self.blend * ahead + (1 - self.blend) * batch.returns
        value_loss = (batch.returns - critic.state_value(batch.state)).square().mean()
        q_loss = critic.loss(critic(batch.state, batch.chunk[:, None]), wanted[None, :, None]).mean()
        return q_loss + value_loss, {"loss": q_loss.detach(), "value_loss": value_loss.detach(), "backup": wanted.mean()}


@dataclass(frozen=True)
class ImplicitQ:
    """IQL (Kostrikov et al. 2022, eq. 5-6): V by expectile regression on Q, Q by R_h + discount^h V; asks for no action outside the data.

    Args:
        expectile: 0.5 is the mean over the data's chunks, towards 1 their best.
        subset: members whose minimum V looks at.
    """

    expectile: float = 0.8
    subset: int = 2
    needs_proposals: bool = False

    def __post_init__(self) -> None:
        _check_subset(self.subset)

    def loss(self, critic: Any, target: Any, batch: CriticBatch, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Head loss of Q plus expectile loss of V; they share no parameters."""
        import torch

        with torch.no_grad():
            judged = lower_of_some(target.values(target(batch.state, batch.chunk[:, None]))[..., 0], self.subset, generator)  # (B,)
            backed_up = (batch.reward + batch.discount * critic.state_value(batch.next_state)).clamp(0.0, 1.0)
        error = judged - critic.state_value(batch.state)
        weight = torch.where(error > 0, self.expectile, 1 - self.expectile)
        value_loss = (weight * error.square()).mean()
        q_loss = critic.loss(critic(batch.state, batch.chunk[:, None]), backed_up[None, :, None]).mean()
        return q_loss + value_loss, {"loss": q_loss.detach(), "value_loss": value_loss.detach(), "backup": backed_up.mean()}


@dataclass(frozen=True)
class CalibratedQ:
    """Cal-QL (Nakamoto et al. 2023, eq. 5.1) whose negatives are the frozen base's own draws, as in PA-RL.

    No side actor proposes them, and no importance weights enter, because a diffusion policy has no likelihood.

    Args:
        alpha: weight of the conservative term.
        temperature: of its log-mean-exp, in value units.
        subset: members whose minimum is backed up.
        backup: ``mean`` over the proposals is the value of the base, ``max`` that of the base steered among them.
    """

    alpha: float = 0.5
    temperature: float = 0.1
    subset: int = 2
    backup: str = "mean"
    needs_proposals: bool = True

    def __post_init__(self) -> None:
        if self.backup not in ("mean", "max"):
            raise UserError(f"no backup {self.backup!r}; there are mean, max")
        _check_subset(self.subset)

    def loss(self, critic: Any, target: Any, batch: CriticBatch, generator: Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Head loss of the backup plus alpha times (soft maximum over proposals - the data's value)."""
        import math

        import torch

        assert batch.proposals is not None and batch.next_proposals is not None
        with torch.no_grad():
            ahead = lower_of_some(target.values(target(batch.next_state, batch.next_proposals)), self.subset, generator)  # (B, n)
            best = ahead.amax(1) if self.backup == "max" else ahead.mean(1)
            backed_up = (batch.reward + batch.discount * best).clamp(0.0, 1.0)
        outputs = critic(batch.state, torch.cat([batch.chunk[:, None], batch.proposals], 1))  # (E, B, 1 + n, m)
        q_loss = critic.loss(outputs[:, :, :1], backed_up[None, :, None]).mean()
        values = critic.values(outputs)
        # Calibration: a proposal is pushed down no further than what the data's return shows to be possible.
        proposed = torch.maximum(values[:, :, 1:], batch.returns[None, :, None])
        count = math.log(proposed.shape[-1])
        soft_maximum = self.temperature * (torch.logsumexp(proposed / self.temperature, -1) - count)
        gap = (soft_maximum - values[:, :, 0]).mean()
        metrics = {"loss": q_loss.detach(), "conservative_gap": gap.detach(), "backup": backed_up.mean()}
        return q_loss + self.alpha * gap, metrics


OBJECTIVES: dict[str, type[Any]] = {"mc": MonteCarlo, "ahead": LookAhead, "iql": ImplicitQ, "calql": CalibratedQ}
