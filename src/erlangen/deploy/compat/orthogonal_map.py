"""The orthogonal map that best carries one space onto another, in closed form."""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen.deploy.compat.pairs import check_pairs
from erlangen.nn.matryoshka_head import nesting_dims


class OrthogonalMap(nn.Module):
    """`scale (x - source_mean) Q + target_mean`, `[..., d_in] -> [..., d_out]`, with orthonormal rows or columns in Q."""

    weight: Tensor
    scale: Tensor
    source_mean: Tensor
    target_mean: Tensor

    def __init__(self, weight: Tensor, *, scale: Tensor, source_mean: Tensor, target_mean: Tensor) -> None:
        super().__init__()
        for name, value in (("weight", weight), ("scale", scale)):
            self.register_buffer(name, value)
        self.register_buffer("source_mean", source_mean)
        self.register_buffer("target_mean", target_mean)

    def forward(self, x: Float[Tensor, "*batch source"]) -> Float[Tensor, "*batch target"]:
        return self.scale * ((x - self.source_mean) @ self.weight) + self.target_mean

    def extra_repr(self) -> str:
        return f"{self.weight.shape[0]} -> {self.weight.shape[1]}, scale={float(self.scale):.4g}"


def procrustes(
    source: Float[Tensor, "samples source"],
    target: Float[Tensor, "_ target"],
    *,
    scale: bool = False,
    center: bool = True,
    blocks: Sequence[int] | None = None,
) -> OrthogonalMap:
    """The orthogonal Q that minimises `||source Q - target||_F`: `Q = U V'` of `source' target = U S V'`.

    Solved in float64. Where the sizes differ Q is semi-orthogonal: an isometric embedding into more dimensions, a
    projection into fewer. Fewer pairs than dimensions leave directions open; they are filled orthogonally with what the
    decomposition happens to give, and a warning says how many.

    `blocks` are the prefix lengths of a Matryoshka space. The orthogonal maps that keep every prefix's geometry are
    exactly those that are block-diagonal for the nesting, so each block is then solved by itself; the map without
    `blocks` mixes the prefixes and destroys them.

    Source: P. Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966.

    Arguments:
        source, target: the same samples in both spaces.
        scale: fit one factor too.
        center: take the means apart first and map one onto the other.
        blocks: prefix lengths, increasing, ending at the dimension, which both spaces must then share.

    Raises:
        ValueError: unpaired rows, values that are not finite, `scale` for a source that is one point.
    Warns:
        RuntimeWarning: the pairs do not determine the map.
    """
    check_pairs(source, target, ("source", "target"))
    x, y = source.detach().double(), target.detach().double()
    x_mean = x.mean(0) if center else torch.zeros_like(x[0])
    y_mean = y.mean(0) if center else torch.zeros_like(y[0])
    x, y = x - x_mean, y - y_mean
    d_in, d_out = x.shape[1], y.shape[1]
    if blocks is not None and d_in != d_out:
        raise ValueError(f"blocks: the spaces have {d_in} and {d_out} dimensions; a block needs the same in both")
    ends = (d_in,) if blocks is None else nesting_dims(blocks, d_in)
    weight, total, lost = x.new_zeros(d_in, d_out), x.new_zeros(()), 0
    for start, stop in zip((0, *ends), ends, strict=False):
        columns = slice(start, d_out if blocks is None else stop)
        u, s, vt = torch.linalg.svd(x[:, start:stop].T @ y[:, columns], full_matrices=False)
        weight[start:stop, columns] = u @ vt
        total = total + s.sum()
        largest = s.max().clamp(min=torch.finfo(s.dtype).tiny)
        lost += int((s <= 1e-12 * len(s) * largest).sum())
    if lost:
        warnings.warn(
            f"procrustes: {len(x)} pairs leave {lost} of {min(d_in, d_out)} directions open; they are filled arbitrarily",
            RuntimeWarning,
            stacklevel=2,
        )
    factor = torch.ones_like(total)
    if scale:
        spread = x.square().sum()
        if not bool(spread > 0):
            raise ValueError("source: all rows are equal; no scale can be fitted")
        factor = total / spread
    dtype = source.dtype
    return OrthogonalMap(
        weight.to(dtype), scale=factor.to(dtype), source_mean=x_mean.to(dtype), target_mean=y_mean.to(dtype)
    )
