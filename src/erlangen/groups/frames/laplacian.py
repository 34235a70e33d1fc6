"""The frame of S_n for graphs: nodes sorted by what the eigenspaces of the Laplacian say of them."""

from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.frames.base import FrameBatch, choice, first_sample
from erlangen.groups.frames.ties import all_orders, dense_rank, lexicographic_rank, order_count, random_orders

CLOSE = 1e-7


class LaplacianFrame:
    """The orders of the nodes of a graph that sort the rows of S, whose columns are the eigenspaces of `D - A`.

    A column holds, for every node, the length of its row in an orthonormal basis of one eigenspace (`|v|` where the
    eigenvalue is simple): all that does not depend on the choice of basis. Adjacency matrices `[*B, N, N]`, symmetric,
    with any weights, -> elements `[*B, F, N]`, int64. Nodes that S does not tell apart leave `∏ m_i!` orders.

    Args:
        samples: "all" orders (exact, at most `max_size` of them), or how many are drawn uniformly at every call (the
            published choice is 10): exact in expectation only.
        on_degenerate: with more than `max_size` orders, "raise", or "perturb": one random order.
        tolerance: eigenvalues, and entries of S, this close count as equal. The released code rounds S to two decimals,
            which merges nodes that differ.

    Frame Averaging for Invariant and Equivariant Network Design (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman,
    2022, arXiv 2110.03336).
    """

    continuous = False

    def __init__(
        self,
        *,
        samples: int | Literal["all"] = "all",
        on_degenerate: Literal["raise", "perturb"] = "raise",
        tolerance: float = CLOSE,
        max_size: int = 5040,
        generator: torch.Generator | None = None,
    ) -> None:
        choice("on_degenerate", on_degenerate, ("raise", "perturb"))
        if samples != "all" and (not isinstance(samples, int) or samples < 1):
            raise ValueError(f"samples: {samples!r}; allowed: 'all' or a number of at least 1")
        self.samples = samples
        self.on_degenerate = on_degenerate
        self.tolerance = tolerance
        self.max_size = max_size
        self.generator = generator
        self.exact = samples == "all" and on_degenerate == "raise"
        self.size: int | None = None if samples == "all" else int(samples)

    def __call__(self, x: Tensor, mask: Tensor | None = None, rows: Tensor | None = None) -> FrameBatch:
        """The frame of adjacency matrices; node features `rows: [*B, N, C]`, which move with them, break ties."""
        rank = self.rank(x, mask, rows)
        dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
        if self.samples != "all":
            return _uniform(random_orders(rank, int(self.samples), self.generator), dtype)
        many = order_count(rank) > self.max_size
        if not bool(many.any()):
            orders, weights = all_orders(rank)
            return FrameBatch(orders, weights.to(dtype))
        if self.on_degenerate == "raise":
            raise ValueError(
                f"x: the symmetries of graph {first_sample(many)} leave more than max_size={self.max_size} orders open; "
                "use samples=10, on_degenerate='perturb', or node features that tell the nodes apart"
            )
        return _uniform(random_orders(rank, 1, self.generator), dtype)

    def rank(self, x: Tensor, mask: Tensor | None = None, rows: Tensor | None = None) -> Tensor:
        """The rank `[*B, N]` of every node; nodes that nothing tells apart share one."""
        _, key = self._spectrum(x, mask)
        size = key.shape[-1]
        levels = dense_rank(key.mT.reshape(-1, size), self.tolerance).reshape(key.mT.shape).mT.double()
        if rows is not None:
            levels = torch.cat([levels, rows.double()], -1)
        return lexicographic_rank(levels, mask)

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The smallest gap between distinct eigenvalues over the largest, `[*B]` (1 where there is a single one)."""
        values, _ = self._spectrum(x, mask)
        scale = values.abs().amax(-1).clamp_min(1e-300)
        gaps = (values[..., 1:] - values[..., :-1]) / scale[..., None]
        gaps = torch.where(gaps > self.tolerance, gaps, 1.0)
        return gaps.amin(-1) if gaps.shape[-1] else torch.ones_like(scale)

    def _spectrum(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """Eigenvalues `[*B, N]` and the lengths of the nodes' rows in every eigenspace `[*B, N, N]`, in float64."""
        a = _checked(x)
        if mask is not None:
            if mask.shape != x.shape[:-1]:
                raise ValueError(f"mask: shape {tuple(mask.shape)}; needs {tuple(x.shape[:-1])}, one entry a node")
            mask = mask.bool()
            a = torch.where(mask[..., None] & mask[..., None, :], a, 0.0)
        laplacian = torch.diag_embed(a.sum(-1)) - a
        if mask is not None:
            above = 2 * laplacian.abs().sum(-1).amax(-1, keepdim=True) + 1
            laplacian = laplacian + torch.diag_embed(torch.where(mask, 0.0, above.expand(mask.shape)))
        values, vectors = torch.linalg.eigh(laplacian)
        scale = values.abs().amax(-1, keepdim=True).clamp_min(1e-300)
        space = dense_rank(values, self.tolerance * scale)
        square = torch.zeros_like(vectors).scatter_add_(-1, space[..., None, :].expand_as(vectors), vectors.square())
        if mask is not None:
            square = torch.where(mask[..., None], square, 0.0)
        return values, square

    def __repr__(self) -> str:
        return f"LaplacianFrame(samples={self.samples!r}, on_degenerate={self.on_degenerate!r})"


def _uniform(orders: Tensor, dtype: torch.dtype) -> FrameBatch:
    shape = orders.shape[:-1]
    return FrameBatch(orders, torch.full(shape, 1 / shape[-1], dtype=dtype, device=orders.device))


def _checked(x: Tensor) -> Tensor:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] == 0:
        raise ValueError(f"x: shape {tuple(x.shape)}; needs adjacency matrices [..., N, N]")
    a = x.detach().double()
    bad = ~torch.isfinite(a).flatten(-2).all(-1)
    if bool(bad.any()):
        raise ValueError(f"x: NaN or infinity in graph {first_sample(bad)}; give finite weights")
    scale = a.abs().amax((-2, -1)) if a.numel() else a.new_zeros(a.shape[:-2])
    lopsided = (a - a.mT).abs().flatten(-2).amax(-1) > 1e-6 * scale if a.numel() else scale > 0
    if bool(lopsided.any()):
        raise ValueError(f"x: graph {first_sample(lopsided)} is not symmetric; symmetrise directed graphs first")
    return a
