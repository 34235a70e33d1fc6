"""Equivariant polynomials of a graph as features of its nodes, of its edges or of the whole graph."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.groups.graph_polynomials import polynomial_plan
from erlangen.groups.multigraphs import Multigraph, multigraphs
from erlangen.groups.tensor_contraction import MAX_BYTES
from erlangen.nn.graphs.single_polynomial import check_square

Level = Literal["node", "edge", "graph"]
Transform = Literal["none", "log1p"]
OUTPUTS = {"graph": 0, "node": 1, "edge": 2}


def _check(graphs: Sequence[Multigraph], level: str, transform: str) -> None:
    if level not in OUTPUTS:
        raise ValueError(f"level: got {level!r}; allowed are 'node', 'edge', 'graph'")
    if transform not in ("none", "log1p"):
        raise ValueError(f"transform: got {transform!r}; allowed are 'none', 'log1p'")
    wrong = next((graph for graph in graphs if len(graph.outputs) != OUTPUTS[level]), None)
    if wrong is not None or not graphs:
        raise ValueError(
            f"graphs: {level}-level features come from multigraphs with {OUTPUTS[level]} outputs, given "
            f"{wrong if wrong is not None else 'none'}"
        )
    loose = sum(not graph.is_connected for graph in graphs)
    if loose:
        warnings.warn(
            f"{loose} of {len(graphs)} multigraphs are disconnected: their polynomials are products of those of their parts",
            stacklevel=3,
        )


def dense_features(
    adjacency: Float[Tensor, "batch *colours n n2"],
    graphs: Sequence[Multigraph],
    *,
    mask: Bool[Tensor, "batch n"] | None = None,
    normalize: bool = False,
    transform: Transform = "log1p",
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """The values of all P_H on dense matrices `[batch, n, n]` or `[batch, colours, n, n]`, H on the last axis.

    `normalize` divides by n^(inner nodes), n the number of real nodes; `"log1p"` is sign(p) log(1 + |p|), which tames
    counts that grow like (degree)^(edges).
    """
    check_square(adjacency, mask if adjacency.ndim == 3 else None)
    x = adjacency[:, None] if adjacency.ndim == 3 else adjacency
    plan = polynomial_plan(tuple(graphs), torch.equal(x, x.mT))
    values = torch.stack(plan(x, mask, max_bytes=max_bytes), -1)
    if normalize:
        size = torch.full((len(x),), x.shape[-1]) if mask is None else mask.sum(-1).clamp(min=1)
        power = torch.tensor([graph.summed for graph in graphs], dtype=x.dtype, device=x.device)
        scale = size.to(x)[:, None] ** -power
        values = values * scale.reshape(len(x), *[1] * (values.ndim - 2), -1)
    return torch.sign(values) * torch.log1p(values.abs()) if transform == "log1p" else values


def polynomial_features(
    data: Any,
    graphs: Sequence[Multigraph],
    level: Level = "node",
    *,
    mask: Bool[Tensor, "batch n"] | None = None,
    normalize: bool = False,
    transform: Transform = "log1p",
    max_bytes: int = MAX_BYTES,
) -> Tensor:
    """Features P_H of every node, edge or graph, one column for each H.

    `data` is a PyG `Data` or `Batch` (its `edge_weight` is used where there is one) and the features are `[nodes, H]`,
    `[edges, H]` in the order of `edge_index`, or `[graphs, H]`; or a dense `[batch, n, n]` tensor, with `mask` where it is
    padded, and they are `[batch, n, H]`, `[batch, n, n, H]` or `[batch, H]`. What the H have in common is computed once.
    Warns for a disconnected H.

    Raises ValueError for an H whose number of outputs does not match the level, and where the evaluation would hold more
    than `max_bytes` (dense matrices of the largest graph: split the batch).

    Source: Puny, Lim, Kiani, Maron, Lipman, Equivariant polynomials for graph neural networks, 2023, arXiv:2302.11556.
    """
    _check(graphs, level, transform)
    options: dict[str, Any] = {"normalize": normalize, "transform": transform, "max_bytes": max_bytes}
    if isinstance(data, Tensor):
        return dense_features(data, graphs, mask=mask, **options)
    dense, real, batch, place = to_dense(data)
    values = dense_features(dense, graphs, mask=real, **options)
    if level == "node":
        return values[batch, place]
    if level == "edge":
        source, target = data.edge_index
        return values[batch[source], place[source], place[target]]
    return values


def to_dense(data: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A PyG graph as padded matrices `[graphs, n, n]`, their mask, and for every node its graph and its row.

    Edges that occur twice add up; `edge_weight` (or ones) is what a matrix entry holds. Nodes come out sorted by graph.
    """
    edge_index, total = data.edge_index, int(data.num_nodes)
    batch = getattr(data, "batch", None)
    if batch is None:
        batch = edge_index.new_zeros(total)
    graphs = int(data.num_graphs) if hasattr(data, "num_graphs") else int(batch.max()) + 1 if total else 0
    sizes = torch.bincount(batch, minlength=graphs)
    order = torch.argsort(batch, stable=True)
    place = torch.empty_like(batch)
    starts = sizes.cumsum(0) - sizes
    place[order] = torch.arange(total, device=batch.device) - starts[batch[order]]
    n = int(sizes.max()) if graphs else 0
    weight = getattr(data, "edge_weight", None)
    if weight is None:
        kept = getattr(data, "x", None)
        dtype = kept.dtype if kept is not None and kept.is_floating_point() else torch.get_default_dtype()
        weight = torch.ones(edge_index.shape[1], dtype=dtype, device=edge_index.device)
    source, target = edge_index
    flat = (batch[source] * n + place[source]) * n + place[target]
    dense = weight.new_zeros(graphs * n * n).index_add(0, flat, weight).reshape(graphs, n, n)
    mask = torch.arange(n, device=batch.device) < sizes[:, None]
    return dense, mask, batch, place


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    x = torch.randn(2, 5, 5, generator=torch.Generator().manual_seed(0))
    return [
        Case(PolynomialFeatures(multigraphs(2, 1, connected=True)), (x,), name="node"),
        Case(PolynomialFeatures(multigraphs(2, 0, connected=True), level="graph", normalize=True), (x,), name="graph"),
        Case(
            PolynomialFeatures(multigraphs(1, 2, connected=True), level="edge", transform="none"),
            (x + x.mT,),
            name="edge",
        ),
    ]


@modules.register("polynomial_features", cases=_cases)
class PolynomialFeatures(nn.Module):
    """Polynomial features as a layer, standardised with the statistics of the graphs it was fitted on.

    `[batch, n, n] -> [batch, n, H]` (node), `[batch, n, n, H]` (edge) or `[batch, H]` (graph); with `mask`, padding gives
    zeros. Before `fit` nothing is shifted or scaled. See `polynomial_features` for the features, the errors and the source.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        graphs: Sequence[Multigraph],
        *,
        level: Level = "node",
        normalize: bool = False,
        transform: Transform = "log1p",
    ) -> None:
        super().__init__()
        _check(graphs, level, transform)
        self.graphs, self.level = tuple(graphs), level
        self.normalize, self.transform = normalize, transform
        self.register_buffer("mean", torch.zeros(len(self.graphs)))
        self.register_buffer("scale", torch.ones(len(self.graphs)))

    @property
    def out_channels(self) -> int:
        return len(self.graphs)

    @property
    def symmetries(self) -> list[Any]:
        """Renaming the nodes renames the features of nodes and pairs, and leaves those of graphs alone."""
        from erlangen.groups import Symmetric
        from erlangen.groups.actions.permute import Permute
        from erlangen.groups.symmetry import Symmetry

        pairs = Permute(Symmetric(None), axes=(-2, -1))
        outputs: dict[str, Any] = {
            "graph": "invariant",
            "node": "rows",
            "edge": Permute(Symmetric(None), axes=(-3, -2)),
        }
        return [Symmetry("S(n)", input=pairs, output=outputs[self.level])]

    @torch.no_grad()
    def fit(self, adjacency: Tensor, mask: Bool[Tensor, "batch n"] | None = None) -> PolynomialFeatures:
        """Take mean and standard deviation of every feature over the real nodes, pairs or graphs; returns itself.

        A feature that is constant keeps the scale 1.
        """
        values = self._raw(adjacency, mask)
        real = self._real(values, mask)
        rows = values[real] if real is not None else values.flatten(0, -2)
        spread = rows.std(0, unbiased=False)
        self.mean.copy_(rows.mean(0))
        self.scale.copy_(torch.where(spread > 1e-6 * (1 + rows.abs().amax(0)), spread, 1.0))
        return self

    def forward(
        self, adjacency: Float[Tensor, "batch *colours n n2"], mask: Bool[Tensor, "batch n"] | None = None
    ) -> Float[Tensor, "batch *nodes features"]:
        values = self._raw(adjacency, mask)
        values = (values - self.mean.to(values.dtype)) / self.scale.to(values.dtype)
        real = self._real(values, mask)
        return values if real is None else values * real[..., None]

    def _raw(self, adjacency: Tensor, mask: Tensor | None) -> Tensor:
        return dense_features(adjacency, self.graphs, mask=mask, normalize=self.normalize, transform=self.transform)

    def _real(self, values: Tensor, mask: Tensor | None) -> Tensor | None:
        if mask is None or self.level == "graph":
            return None
        return mask if self.level == "node" else mask[:, :, None] & mask[:, None, :]

    def extra_repr(self) -> str:
        return f"{len(self.graphs)} polynomials, level={self.level!r}, transform={self.transform!r}"
