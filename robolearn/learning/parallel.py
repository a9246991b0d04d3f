"""Data parallel training: each process computes its share of the global batch, with the noise that one process would have drawn."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from robolearn.errors import UserError


@dataclass(frozen=True)
class Shard:
    """Rows ``start`` to ``start + size`` of a global batch of ``total``: one process's share."""

    start: int
    size: int
    total: int

    def take(self, values: Sequence[int]) -> Sequence[int]:
        """This shard's part of something with ``total`` rows."""
        return values[self.start : self.start + self.size]


def randn(shape: Sequence[int], generator: torch.Generator, shard: Shard | None = None) -> Tensor:
    """Standard normal numbers ``(B, ...)``; with a shard, its rows of what the whole batch draws."""
    if shard is None:
        return torch.randn(tuple(shape), generator=generator, device=generator.device)
    everyone = torch.randn((shard.total, *shape[1:]), generator=generator, device=generator.device)
    return everyone[shard.start : shard.start + shard.size]


def rand(shape: Sequence[int], generator: torch.Generator, shard: Shard | None = None) -> Tensor:
    """Uniform numbers in [0, 1), ``(B, ...)``; with a shard, its rows of what the whole batch draws."""
    if shard is None:
        return torch.rand(tuple(shape), generator=generator, device=generator.device)
    everyone = torch.rand((shard.total, *shape[1:]), generator=generator, device=generator.device)
    return everyone[shard.start : shard.start + shard.size]


def randint(high: int, rows: int, generator: torch.Generator, shard: Shard | None = None) -> Tensor:
    """Integers in [0, high), ``(B,)``; with a shard, its rows of what the whole batch draws."""
    everyone = torch.randint(high, (shard.total if shard else rows,), generator=generator, device=generator.device)
    return everyone if shard is None else everyone[shard.start : shard.start + shard.size]


@dataclass(frozen=True)
class Workers:
    """The processes that train together, as ``torchrun`` started them; one alone otherwise."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and evaluates."""
        return self.rank == 0

    def shard(self, total: int) -> Shard | None:
        """This process's share of a global batch; None when alone.

        Raises:
            UserError: the batch does not divide by the number of processes.
        """
        if self.count == 1:
            return None
        if total % self.count:
            raise UserError(f"batch_size {total} must be divisible by the {self.count} processes that torchrun started")
        return Shard(self.rank * (total // self.count), total // self.count, total)

    def average(self, values: Tensor) -> Tensor:
        """Mean over the processes, in place."""
        if self.count > 1:
            torch.distributed.all_reduce(values)
            values /= self.count
        return values

    def average_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace every gradient by its mean over the processes: one message for all of them."""
        if self.count == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = self.average(torch.cat([gradient.flatten() for gradient in gradients]))
        for gradient, mean in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def agree(self, flag: bool) -> bool:
        """True on every process when it is on any: all stop at the same step."""
        if self.count == 1:
            return flag
        votes = torch.tensor(float(flag))
        torch.distributed.all_reduce(votes)
        return bool(votes > 0)

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            torch.distributed.barrier()


@contextmanager
def workers(device: str = "cpu") -> Iterator[Workers]:
    """Join the processes of ``torchrun``: gloo between CPUs, NCCL between GPUs."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Workers()
        return
    torch.distributed.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Workers(torch.distributed.get_rank(), count)
    finally:
        torch.distributed.destroy_process_group()
