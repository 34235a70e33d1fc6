"""Batches of small vectors as a few long rows: elementwise arithmetic then streams through memory."""

from collections.abc import Sequence

import torch
from torch import Tensor


def to_planes(x: Tensor) -> Tensor:
    """`[*B, k]` -> contiguous `[k, prod(B)]`."""
    return x.reshape(-1, x.shape[-1]).t().contiguous()


def from_planes(entries: Sequence[Tensor], shape: tuple[int, ...]) -> Tensor:
    """k tensors `[N]` -> `shape`, k fastest."""
    return torch.stack(tuple(entries), -1).view(shape)


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar products over the leading axis of size 3, without a temporary for the products."""
    return torch.addcmul(torch.addcmul(a[0] * b[0], a[1], b[1]), a[2], b[2])


def cross(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Vector products over the leading axis of size 3."""
    return (
        torch.addcmul(a[1] * b[2], a[2], b[1], value=-1),
        torch.addcmul(a[2] * b[0], a[0], b[2], value=-1),
        torch.addcmul(a[0] * b[1], a[1], b[0], value=-1),
    )
