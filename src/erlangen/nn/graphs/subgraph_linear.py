"""Equivariant linear maps on many sub-graphs of different sizes at once, flat and without padding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from erlangen.data.graphs.ego import EgoBatch
from erlangen.groups.permutations import bell
from erlangen.nn.graphs.equivariant_linear import stages

Sharing = Literal["all", "bucket", "size"]
BUCKETS = (2, 3, 4, 6, 9, 13, 19, 28)


@dataclass(frozen=True)
class Layout:
    """What a layer needs to know of an `EgoBatch` whose sub-graphs are sorted by size, found once for all layers."""

    egos: EgoBatch
    row: Tensor
    column: Tensor
    transposed: Tensor
    diagonal: Tensor
    place_subgraph: Tensor
    sizes: Tensor
    kind: Tensor
    splits: tuple[tuple[int, ...], ...]  # sub-graphs, places and pairs of every kind, in this order

    @classmethod
    def of(cls, egos: EgoBatch, classes: SizeClasses) -> Layout:
        sizes = egos.sizes
        kind = classes(sizes)
        if bool((kind.diff() < 0).any()):
            raise ValueError("egos: sub-graphs must be sorted by size; use egos.reordered(egos.sizes.argsort())")
        splits = []
        for weight in (torch.ones_like(sizes), sizes, sizes**2):
            counts = torch.zeros(classes.count, dtype=torch.int64, device=sizes.device).index_add(0, kind, weight)
            splits.append(tuple(counts.tolist()))
        row, column = egos.pairs
        return cls(egos, row, column, egos.transposed, egos.diagonal, egos.place_subgraph, sizes, kind, tuple(splits))


class SizeClasses(nn.Module):
    """Which weights a sub-graph of m nodes uses: `"all"` share one set, `"size"` has one set a size up to `max_size`, and
    `"bucket"` one for each range 1, 2, 3, 4-5, 6-8, 9-12, 13-18, 19-27, 28 and more. A size that training never met uses
    the set of its bucket, or that of `max_size`: the nearest."""

    bounds: Tensor

    def __init__(self, sharing: Sharing, max_size: int = 32) -> None:
        super().__init__()
        if sharing not in ("all", "bucket", "size"):
            raise ValueError(f"sharing: got {sharing!r}; allowed are 'all', 'bucket', 'size'")
        bounds = {"all": (), "bucket": BUCKETS, "size": tuple(range(2, max_size + 1))}[sharing]
        self.count = len(bounds) + 1
        self.register_buffer("bounds", torch.tensor(bounds, dtype=torch.int64), persistent=False)

    def forward(self, sizes: Tensor) -> Tensor:
        return torch.bucketize(sizes, self.bounds, right=True)


class SubgraphLinear(nn.Module):
    """All equivariant maps between node vectors (order 1) and pair matrices (order 2) of every sub-graph.

    The same maps as `EquivariantLinear` for each pair of orders (2 -> 2: 15, 1 -> 2 and 2 -> 1: 5, 1 -> 1: 2, to order 0: 2
    and 1), sums being means over the sub-graph, on flat arrays: `[places, C]` for order 1, `[pairs, C]` for order 2,
    `[subgraphs, C]` for order 0. `weight["2->1"]` is `[kinds, maps, out, in]`, in the order of `groups.permutations.diagrams`.
    Channels are mixed before values are spread, so the largest arrays are a few times `[Σ m², C]`.
    """

    def __init__(
        self, in_channels: dict[int, int], out_orders: tuple[int, ...], out_channels: int, *, kinds: int = 1
    ) -> None:
        super().__init__()
        self.in_channels, self.out_orders, self.out_channels = dict(in_channels), out_orders, out_channels
        self.weight = nn.ParameterDict()
        self.bias = nn.ParameterDict()
        for after in out_orders:
            fan_in = sum(bell(before + after) * width for before, width in in_channels.items())
            for before, width in in_channels.items():
                weight = torch.randn(1, bell(before + after), out_channels, width) * fan_in**-0.5
                self.weight[f"{before}->{after}"] = nn.Parameter(weight.repeat(kinds, 1, 1, 1))
            self.bias[str(after)] = nn.Parameter(torch.zeros(kinds, bell(after), out_channels))

    def forward(self, fields: dict[int, Tensor], layout: Layout) -> dict[int, Tensor]:
        known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor] = {}
        return {after: self._to(after, fields, layout, known) for after in self.out_orders}

    def _to(
        self,
        after: int,
        fields: dict[int, Tensor],
        layout: Layout,
        known: dict[tuple[int, tuple[int, ...], tuple[int, ...]], Tensor],
    ) -> Tensor:
        sums: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor] = {}
        for before, x in fields.items():
            for p, stage in enumerate(stages(before, after)):
                reduced = []
                for source in stage.sources:
                    if (before, *source) not in known:
                        known[(before, *source)] = _reduce(x, source[0], source[1], layout)
                    reduced.append(known[(before, *source)])
                together = torch.cat(reduced, 1) if len(reduced) > 1 else reduced[0]
                weight = self.weight[f"{before}->{after}"][:, stage.index.to(x.device)]
                weight = (
                    weight.permute(0, 3, 5, 1, 2, 4).flatten(3).flatten(1, 2)
                )  # kinds, sources·in, targets·orders·out
                mixed = _mix(together, weight, layout.splits[p]).split(self.out_channels, 1)
                for t, target in enumerate(stage.targets):
                    value = mixed[t * len(stage.orders)]
                    if p == 2:
                        value = value + mixed[t * 2 + 1][layout.transposed]
                    sums[target] = sums[target] + value if target in sums else value
        return _place(after, sums, self.bias[str(after)][layout.kind], layout)


def _mix(x: Tensor, weight: Tensor, splits: tuple[int, ...]) -> Tensor:
    """Rows times the matrix of their kind; rows of one kind stand together."""
    if len(weight) == 1 or not len(x):
        return x @ weight[0]
    return torch.cat([part @ weight[kind] for kind, part in enumerate(x.split(list(splits))) if len(part)])


def _segment_sum(x: Tensor, index: Tensor, size: int) -> Tensor:
    return x.new_zeros(size, x.shape[1]).index_add(0, index, x)


def _reduce(x: Tensor, inner: tuple[int, ...], carried: tuple[int, ...], layout: Layout) -> Tensor:
    """Diagonals and means of one field: rows of places, of pairs or of sub-graphs, by how many indices are carried."""
    if len(carried) == len(inner):
        return x
    size = layout.sizes.clamp(min=1).to(x.dtype)[:, None]
    if inner == (0, 0):
        x = x[layout.diagonal]
        return x if carried else _segment_sum(x, layout.place_subgraph, len(layout.sizes)) / size
    if len(inner) == 2:
        index = layout.column if carried == (1,) else layout.row
        x = _segment_sum(x, index, len(layout.place_subgraph)) / size[layout.place_subgraph]
        if carried:
            return x
    return _segment_sum(x, layout.place_subgraph, len(layout.sizes)) / size


def _place(
    after: int, sums: dict[tuple[tuple[int, ...], tuple[int, ...]], Tensor], bias: Tensor, layout: Layout
) -> Tensor:
    """Add everything that goes to one output: order-0 values join order 1 first, and only then the pairs."""
    if after == 0:
        return sums[(), ()] + bias[:, 0]
    if after == 1:
        constant = sums[(0,), ()] + bias[:, 0]
        return sums[(0,), (0,)] + constant[layout.place_subgraph]
    rows = sums[(0, 1), (0,)] + (sums[(0, 1), ()] + bias[:, 1])[layout.place_subgraph]
    out = rows[layout.row] + sums[(0, 1), (1,)][layout.column]
    if ((0, 1), (0, 1)) in sums:
        out = out + sums[(0, 1), (0, 1)]
    diagonal = sums[(0, 0), (0,)] + (sums[(0, 0), ()] + bias[:, 0])[layout.place_subgraph]
    return out.index_add(0, layout.diagonal, diagonal)
