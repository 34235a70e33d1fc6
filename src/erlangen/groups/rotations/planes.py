"""Batches of small vectors as a few long rows: elementwise arithmetic then streams through memory."""

from collections.abc import Callable

import torch
from torch import Tensor

BLOCK = 16_384


def in_blocks(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """`function(*rows)` a block of rows at a time, so that what it computes in between stays in the cache.

    Where gradients are recorded everything is kept anyway, and the call is one.
    """
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in rows)
    if len(rows[0]) <= 2 * BLOCK or recorded:
        return function(*rows)
    first = function(*(x[:BLOCK] for x in rows))
    out = first.new_empty(len(rows[0]), *first.shape[1:])
    out[:BLOCK] = first
    for start in range(BLOCK, len(out), BLOCK):
        out[start : start + BLOCK] = function(*(x[start : start + BLOCK] for x in rows))
    return out


def to_planes(x: Tensor) -> Tensor:
    """`[*B, k]` -> contiguous `[k, prod(B)]`."""
    return x.reshape(-1, x.shape[-1]).t().contiguous()


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
