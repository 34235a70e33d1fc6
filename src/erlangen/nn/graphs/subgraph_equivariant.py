"""SPEN: higher-order equivariant maps on every ego-network instead of on the whole graph."""

from __future__ import annotations

from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import modules
from erlangen.data.graphs.ego import EgoBatch, ego_networks
from erlangen.nn.graphs.subgraph_linear import Layout, Sharing, SizeClasses, SubgraphLinear

Directed = Literal["error", "symmetrize"]


class SegmentNorm(nn.Module):
    """Standardise every channel within each graph, the mean scaled by a learned share.

    y = γ (x - α μ_g) / sqrt(var_g(x - α μ_g) + 1e-5) + β. Source: Cai et al., GraphNorm, 2021, arXiv:2009.03294.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.mean_scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor, segment: Tensor, count: int) -> Tensor:
        x = x - self.mean_scale * segment_mean(x, segment, count)[segment]
        return self.weight * x * (segment_mean(x * x, segment, count) + 1e-5).rsqrt()[segment] + self.bias


def segment_mean(x: Tensor, segment: Tensor, count: int) -> Tensor:
    """The mean of the rows of every segment; zero for one without rows."""
    total = x.new_zeros(count, x.shape[1]).index_add(0, segment, x)
    return total / torch.bincount(segment, minlength=count).clamp(min=1).to(x.dtype)[:, None]


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0))
    edges = torch.tensor([[0, 1, 1, 2, 2, 0, 2, 3, 3, 4], [1, 0, 2, 1, 0, 2, 3, 2, 4, 3]])
    return [
        Case(SubgraphPermEquivariant(2, 4, 3, layers=2, head=(8,)), (x, edges), name="orders 1 and 2, buckets"),
        Case(
            SubgraphPermEquivariant(2, 4, 2, hops=2, order=(2,), sharing="all", layers=1, head=(8,)),
            (x, edges),
            name="pairs",
        ),
        Case(SubgraphPermEquivariant(2, 4, 2, order=(1,), sharing="size", layers=2, head=()), (x, edges), name="nodes"),
    ]


@modules.register("subgraph_perm_equivariant", cases=_cases)
class SubgraphPermEquivariant(nn.Module):
    """A graph classifier that works on the ego-network of every node with all equivariant maps between orders 1 and 2.

    Each layer: the maps 1->1, 1->2, 2->1, 2->2 on every ego-network (`SubgraphLinear`), ELU, graph norm, the mean over all
    ego-networks that contain a node (or a pair of nodes), and that mean read back into each. Then the maps to order 0, the
    mean over ego-networks of a graph, and a perceptron. It separates graphs that the 1-WL test does not (C6 and two
    triangles) with memory linear in Σ m², not n². Linear maps of order 2 see inside an ego-network what 1-WL sees there:
    Rook 4x4 and Shrikhande, whose neighbourhoods are two triangles and a hexagon, stay together (with one hop all pairs of
    equal, joined and apart nodes keep equal features in both), and so do triangle-free graphs of equal degree.

    `x [nodes, in_channels]`, `edge_index [2, edges]` (every edge both ways), `batch [nodes] -> [graphs, out]`, as in PyG;
    `edge_attr [edges, edge_channels]`.

    Args:
        hops: radius of the ego-networks.
        order: which features a sub-graph has: node vectors (1), pair matrices (2). With 2 alone node features sit on the
            diagonal.
        sharing: which ego-networks share weights: all, those of a range of sizes, or those of one size up to `max_size`
            (sizes beyond, met in use only, share those of the nearest).
        directed: refuse edges without a reverse, or add it.
        head: widths of the final perceptron.

    Raises ValueError for orders that are not 1 and 2, channels, layers or hops below 1, and the errors of `ego_networks`.

    Source: Mitton, Murray-Smith, Subgraph permutation equivariant networks, 2023, arXiv:2111.11840. Their ego-networks of
    one hop leave the centre out unless there are loops, and their table of weights by size has the wrong length; here the
    centre is inside and every size has weights.
    """

    def __init__(
        self,
        in_channels: int,
        hidden: int,
        out: int,
        *,
        hops: int = 1,
        order: tuple[int, ...] = (1, 2),
        sharing: Sharing = "bucket",
        layers: int = 3,
        edge_channels: int = 0,
        directed: Directed = "error",
        head: tuple[int, ...] = (256, 128),
        max_size: int = 32,
    ) -> None:
        super().__init__()
        if not order or not set(order) <= {1, 2}:
            raise ValueError(f"order: (1,), (2,) or (1, 2), given {order}")
        if min(in_channels, hidden, out, layers, hops) < 1 or edge_channels < 0:
            raise ValueError(
                "in_channels, hidden, out, layers, hops: at least 1, given "
                f"{in_channels}, {hidden}, {out}, {layers}, {hops}"
            )
        self.hops, self.order, self.directed = hops, tuple(sorted(set(order))), directed
        self.in_channels, self.edge_channels = in_channels, edge_channels
        self.classes = SizeClasses(sharing, max_size)
        widths = {1: in_channels, 2: 1 + edge_channels + (0 if 1 in order else in_channels)}
        first = {k: widths[k] for k in self.order}
        later = dict.fromkeys(self.order, hidden)
        kinds = self.classes.count
        self.maps = nn.ModuleList(
            SubgraphLinear(later if index else first, self.order, hidden, kinds=kinds) for index in range(layers)
        )
        self.norms = nn.ModuleList(
            nn.ModuleDict({str(k): SegmentNorm(hidden) for k in self.order}) for _ in range(layers)
        )
        self.read = SubgraphLinear(later, (0,), hidden, kinds=kinds)
        sizes = [hidden, *head]
        steps: list[nn.Module] = []
        for before, after in zip(sizes, [*head, out], strict=True):
            steps += [nn.Linear(before, after), nn.ELU()]
        self.head = nn.Sequential(*steps[:-1])

    @property
    def symmetries(self) -> list[Any]:
        """Renaming the nodes changes nothing."""
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("S(n)", input=("rows", _rename_edges), output="invariant")]

    def forward(
        self,
        x: Float[Tensor, "nodes channels"],
        edge_index: Int[Tensor, "2 edges"],
        batch: Int[Tensor, " nodes"] | None = None,
        *,
        edge_attr: Tensor | None = None,
        egos: EgoBatch | None = None,
        num_graphs: int | None = None,
    ) -> Float[Tensor, "graphs out"]:
        """`egos` may bring ego-networks found before (they depend on the graph only), in any order."""
        if x.shape[1] != self.in_channels:
            raise ValueError(f"x: expected {self.in_channels} channels, given {x.shape[1]}")
        if edge_attr is not None and tuple(edge_attr.shape) != (edge_index.shape[1], self.edge_channels):
            raise ValueError(
                f"edge_attr: expected {(edge_index.shape[1], self.edge_channels)}, given {tuple(edge_attr.shape)}"
            )
        if batch is None:
            batch = edge_index.new_zeros(len(x))
            num_graphs = 1 if num_graphs is None else num_graphs
        graphs = num_graphs if num_graphs is not None else (int(batch.max()) + 1 if len(batch) else 0)
        if egos is None:
            egos = ego_networks(edge_index, len(x), self.hops, directed=self.directed)
        egos = egos.reordered(torch.argsort(egos.sizes, stable=True))
        layout = Layout.of(egos, self.classes)
        source, target = egos.nodes[layout.row], egos.nodes[layout.column]
        known, same_pair = torch.unique(source * len(x) + target, return_inverse=True)
        merge = {1: (egos.nodes, len(x)), 2: (same_pair, len(known))}
        owner = {1: batch[egos.nodes], 2: batch[source]}
        fields = self._inputs(x, edge_attr, egos, layout)
        for maps, norms in zip(self.maps, self.norms, strict=True):
            fields = maps(fields, layout)
            for k, norm in norms.items():  # type: ignore[operator]
                value = norm(nn.functional.elu(fields[int(k)]), owner[int(k)], graphs)
                index, count = merge[int(k)]
                fields[int(k)] = segment_mean(value, index, count)[index]
        per_subgraph = self.read(fields, layout)[0]
        return self.head(segment_mean(per_subgraph, batch[egos.center], graphs))

    def _inputs(self, x: Tensor, edge_attr: Tensor | None, egos: EgoBatch, layout: Layout) -> dict[int, Tensor]:
        nodes = x[egos.nodes]
        if 2 not in self.order:
            return {1: nodes}
        parts = [egos.adjacency.to(x.dtype)[:, None]]
        if self.edge_channels:
            none = x.new_zeros(1, self.edge_channels)  # read by -1, the pairs without an edge
            attributes = none if edge_attr is None else torch.cat([edge_attr.to(x.dtype), none])
            parts.append(attributes[egos.edge if edge_attr is not None else torch.zeros_like(egos.edge)])
        if 1 not in self.order:
            parts.append(x.new_zeros(len(egos.edge), x.shape[1]).index_add(0, layout.diagonal, nodes))
        pairs = torch.cat(parts, 1)
        return {1: nodes, 2: pairs} if 1 in self.order else {2: pairs}


def _rename_edges(g: Tensor, edge_index: Tensor) -> Tensor:
    return g[edge_index]
