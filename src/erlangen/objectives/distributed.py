"""Losses over several processes: what is gathered, declared by name, and gradients that are those of one process.

A data-parallel wrapper averages the gradients of the processes. A loss whose every process returns the same global
value therefore needs a gather whose backward pass *sums* over the processes; a mean over the local batch needs none.
"""

from enum import Enum
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Shaped
from torch import Tensor


class ReductionKind(Enum):
    """How the loss over several processes combines.

    LOCAL_MEAN: the mean over the local batch; averaging over processes gives the global mean.
    GLOBAL_STATS: a function of statistics of the whole batch (variance, covariance).
    GATHER_NEGATIVES: every sample is compared with those of all processes.
    """

    LOCAL_MEAN = "local_mean"
    GLOBAL_STATS = "global_stats"
    GATHER_NEGATIVES = "gather_negatives"


def world_size() -> int:
    """How many processes train together; 1 without a process group."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def batch_sizes(x: Tensor) -> list[int]:
    """The batch size on every process, by rank."""
    if world_size() == 1:
        return [len(x)]
    sizes = [torch.zeros(1, dtype=torch.int64, device=x.device) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor([len(x)], dtype=torch.int64, device=x.device))
    return [int(size) for size in sizes]


def local_weight(x: Tensor) -> float:
    """The factor that makes the average over processes of local means the mean over all samples.

    It is local batch size times processes over samples in all: 1 where all batches are equally large.
    """
    sizes = batch_sizes(x)
    return len(x) * len(sizes) / sum(sizes)


class _GatherSum(torch.autograd.Function):
    """Concatenate over the processes; backward sums the gradients of all processes and keeps the local part."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, sizes: list[int]) -> Tensor:
        ctx.sizes = sizes
        longest = max(sizes)
        padded = x.new_zeros(longest, *x.shape[1:])
        padded[: len(x)] = x
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        gradient = gradients[0].contiguous().clone()
        dist.all_reduce(gradient)
        return gradient.split(ctx.sizes)[dist.get_rank()], None


def gather_batch(x: Shaped[Tensor, "local ..."], kind: ReductionKind) -> Shaped[Tensor, "batch ..."]:
    """The batch that a loss of this kind must see: the local one, or that of all processes in order of rank.

    Batches may differ in size over the processes. The gradient that reaches the parameters, once averaged over the
    processes, is that of one process on the concatenated batch. Peers got this wrong by a factor of the number of
    processes, which the loss curve does not show.

    Arguments:
        x: the local batch.
        kind: as declared by the loss; LOCAL_MEAN, or a single process, returns `x` itself.
    """
    if kind is ReductionKind.LOCAL_MEAN or world_size() == 1:
        return x
    return _GatherSum.apply(x, batch_sizes(x))
