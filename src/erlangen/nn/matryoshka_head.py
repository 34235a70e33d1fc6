"""Classifiers on every prefix of an embedding."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def nesting_dims(dims: Sequence[int], embedding_dim: int | None = None) -> tuple[int, ...]:
    """The prefix lengths, checked: increasing, at least 1, and the last one the whole embedding where that is known.

    Raises:
        ValueError: names the length that is out of place.
    """
    found = tuple(dims)
    if not found:
        raise ValueError("dims: empty; give at least one prefix length")
    for before, value in zip((0, *found), found, strict=False):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"dims: {value!r}; a prefix length is a whole number of at least 1")
        if value <= before:
            raise ValueError(f"dims: {value} after {before}; prefix lengths increase and none comes twice")
    if embedding_dim is not None and found[-1] > embedding_dim:
        raise ValueError(f"dims: {found[-1]} is longer than the embedding, which has {embedding_dim} dimensions")
    if embedding_dim is not None and found[-1] < embedding_dim:
        raise ValueError(
            f"dims: the longest is {found[-1]} and the embedding has {embedding_dim}; "
            f"add {embedding_dim}, or nothing would train the rest"
        )
    return found


def default_dims(embedding_dim: int, least: int = 8) -> tuple[int, ...]:
    """`embedding_dim` and its halves down to `least`: 64 gives 8, 16, 32, 64."""
    found = [embedding_dim]
    while found[-1] % 2 == 0 and found[-1] // 2 >= least:
        found.append(found[-1] // 2)
    return tuple(reversed(found))


class MatryoshkaHead(nn.Module):
    """Logits from every prefix of an embedding, `[batch, d] -> [batch, len(dims), classes]`.

    Untied: `logits_m = W^(m) z_{1:m} + b^(m)`. Tied: one map whose columns are cut, `W^(m) = W_{:, 1:m}`, and one bias;
    it is computed as one cumulative pass, `logits_m = logits_{m'} + W_{:, m'+1:m} z_{m'+1:m}` with m' the length before
    m, which costs as much as the longest head alone.

    Source: A. Kusupati et al., "Matryoshka representation learning", 2022, arXiv:2205.13147; tied is its MRL-E.

    Arguments:
        dims: the prefix lengths, increasing; the last is the embedding.
        num_classes: at least 2.
        tied: one shared map, or one for each length.
    """

    def __init__(self, dims: Sequence[int], num_classes: int, *, tied: bool = False) -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes: {num_classes}; a classifier needs at least 2")
        self.dims, self.num_classes, self.tied = nesting_dims(dims), num_classes, tied
        lengths = self.dims[-1:] if tied else self.dims
        self.heads = nn.ModuleList(nn.Linear(m, num_classes) for m in lengths)

    def forward(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch lengths classes"]:
        if z.shape[-1] != self.dims[-1]:
            raise ValueError(f"z: {z.shape[-1]} dimensions; the head was made for {self.dims[-1]}")
        if not self.tied:
            return torch.stack([head(z[:, :m]) for head, m in zip(self.heads, self.dims, strict=True)], 1)
        head = self.heads[0]
        assert isinstance(head, nn.Linear)
        if torch.is_autocast_enabled(z.device.type):  # partial sums are kept: not in half precision
            z = z.to(head.weight.dtype)
        return _Cumulative.apply(z, head.weight, head.bias, self.dims)

    def at(self, z: Float[Tensor, "batch _"], dim: int) -> Float[Tensor, "batch classes"]:
        """Logits from the first `dim` components; `z` may be cut already. The dim must be one of `dims` unless tied."""
        if z.shape[-1] < dim:
            raise ValueError(f"z: {z.shape[-1]} dimensions; at least dim = {dim} are needed")
        if self.tied:
            if not 1 <= dim <= self.dims[-1]:
                raise ValueError(f"dim: {dim}; allowed: 1 to {self.dims[-1]}")
            head = self.heads[0]
            assert isinstance(head, nn.Linear)
            return nn.functional.linear(z[:, :dim], head.weight[:, :dim], head.bias)
        if dim not in self.dims:
            raise ValueError(f"dim: {dim}; this head has {', '.join(map(str, self.dims))}")
        return self.heads[self.dims.index(dim)](z[:, :dim])

    def extra_repr(self) -> str:
        return f"dims={self.dims}, num_classes={self.num_classes}, tied={self.tied}"


class _Cumulative(torch.autograd.Function):
    """All tied logits in one pass over the blocks; backward sums the gradients of the longer lengths once."""

    @staticmethod
    def forward(ctx, z, weight, bias, dims):  # type: ignore[no-untyped-def]
        with torch.autocast(z.device.type, enabled=False):
            return _Cumulative._summed(ctx, z, weight, bias, dims)

    @staticmethod
    def _summed(ctx, z, weight, bias, dims):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(z, weight)
        ctx.dims = dims
        out = torch.empty(len(dims), len(z), len(weight), dtype=torch.result_type(z, weight), device=z.device)
        before: Tensor = bias
        for row, (start, stop) in zip(out, zip((0, *dims), dims, strict=False), strict=True):
            torch.addmm(before, z[:, start:stop], weight[:, start:stop].T, out=row)
            before = row
        return out.transpose(0, 1)

    @staticmethod
    def backward(ctx, gradient):  # type: ignore[no-untyped-def]
        z, weight = ctx.saved_tensors
        dims = ctx.dims
        cut = list(zip((0, *dims), dims, strict=False))
        at_z, at_weight = [], []
        total = torch.zeros_like(gradient[:, 0])
        for index in range(len(dims) - 1, -1, -1):
            start, stop = cut[index]
            total = total + gradient[:, index]
            at_z.append(total @ weight[:, start:stop])
            at_weight.append(total.T @ z[:, start:stop])
        return torch.cat(at_z[::-1], 1), torch.cat(at_weight[::-1], 1), total.sum(0), None
