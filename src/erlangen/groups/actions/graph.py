"""Symmetries of a PyG graph: node order, coordinates, vector attributes."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.actions.base import Action
from erlangen.groups.actions.linear import Points, Vectors
from erlangen.groups.base import Group
from erlangen.groups.elements import map_elem
from erlangen.groups.finite import Symmetric
from erlangen.groups.product import Product


class Graph(Action):
    """A group on a `torch_geometric.data.Data` or `Batch`.

    S_n renames the nodes: every node attribute `x` becomes (g·x)[g[i]] = x[i], `edge_index` becomes `g[edge_index]`,
    edges keep their order. In a batch of B graphs of n nodes each, S_n acts inside every graph (one element for all,
    or a batch of B elements), so that `batch` stays sorted. A group of space moves `points` (coordinates) and
    `vectors` (velocities, forces); in a product each factor does its own part.

    Args:
        group: S_n, a group that acts on points, or a product of one of each.
        points: names of node attributes that hold coordinates.
        vectors: names of node attributes that hold vectors.
    """

    def __init__(
        self,
        group: Group,
        *,
        points: Sequence[str] = ("pos",),
        vectors: Sequence[str] = ("vel", "velocity", "force", "forces"),
    ) -> None:
        factors = group.factors if isinstance(group, Product) else (group,)
        stranger = [f.name for f in factors if not (isinstance(f, Symmetric) or f.acts_on_points)]
        if stranger:
            raise ValueError(f"group: {', '.join(stranger)} does not act on graph; S_n and groups of points do")
        self.group: Group = group
        self.points = tuple(points)
        self.vectors = tuple(vectors)

    def __call__(self, g: Any, x: Any) -> Any:
        factors = self.group.factors if isinstance(self.group, Product) else (self.group,)
        elements = g if isinstance(self.group, Product) else (g,)
        out = x.clone()
        for factor, element in zip(factors, elements, strict=True):
            if isinstance(factor, Symmetric):
                self._rename(element, out)
            else:
                self._move(factor, element, out)
        return out

    def _move(self, group: Group, g: Any, data: Any) -> None:
        batched = len(group.batch_shape(g)) == 1
        if batched:
            batch = data.batch if getattr(data, "batch", None) is not None else None
            if batch is None:
                raise ValueError("g: a batch of elements acts on a PyG Batch (one element a graph), given one graph")
            g = map_elem(lambda e: e[batch], g)
        for names, action in ((self.points, Points(group)), (self.vectors, Vectors(group))):
            for name in names:
                if name in data and data[name] is not None:
                    data[name] = action(g, data[name])

    def _rename(self, g: Tensor, data: Any) -> None:
        total = int(data.num_nodes)
        old_batch = getattr(data, "batch", None)
        new_name = self._global_names(g, total, old_batch)
        source = torch.argsort(new_name)
        for name in list(data.keys()):
            value = data[name]
            if name in ("edge_index", "face"):
                data[name] = new_name.to(value.device)[value]
            elif isinstance(value, Tensor) and data.is_node_attr(name):
                data[name] = value[source.to(value.device)]

    def _global_names(self, g: Tensor, total: int, batch: Tensor | None) -> Tensor:
        n = g.shape[-1]
        graphs = 1 if batch is None or batch.numel() == 0 else int(batch.max()) + 1
        if g.ndim == 1 and n == total:
            return g
        if graphs * n != total or g.ndim > 2 or (g.ndim == 2 and g.shape[0] != graphs):
            raise ValueError(f"g: permutations {tuple(g.shape)} do not fit {graphs} graphs with {total} nodes in all")
        offsets = torch.arange(graphs, device=g.device)[:, None] * n
        return (g.expand(graphs, n) + offsets).flatten()
