"""The Gaunt product with one weight for every path (l1, l2, l3) and channel."""

import torch
from torch import Tensor, nn

from erlangen.groups.harmonics.product_grid import full_grid, values
from erlangen.nn.points.exact_tables import ExactTables
from erlangen.nn.points.sphere_types import SphereType


class PathRoute(ExactTables):
    """z_l3 = Σ_{l1 l2} w_{l1 l2 l3} G(x_l1, y_l2): every degree evaluated by itself, combined point by point, projected.

    O(L⁵) a sample where the dense table takes O(L⁶): the weights act between (l1, l2) and l3 at every point.
    """

    def __init__(self, a: SphereType, b: SphereType, out: SphereType, *, channels: int) -> None:
        super().__init__()
        points, back = full_grid(a.l_max + b.l_max, out.l_max)
        self.a, self.b, self.out = a, b, out
        self.add_table("first", _by_degree(a, points))
        self.add_table("second", _by_degree(b, points))
        stacked = torch.zeros(len(out.degrees), len(points), out.dim, dtype=torch.float64)
        for term, part in enumerate(torch.arange(out.dim).split(out.sizes)):
            stacked[term][:, part] = back[:, out.index[part]]
        self.add_table("back", stacked.flatten(0, 1))
        paths = [
            (i, j, k)
            for i, l1 in enumerate(a.degrees)
            for j, l2 in enumerate(b.degrees)
            for k, l3 in enumerate(out.degrees)
            if abs(l1 - l2) <= l3 <= l1 + l2 and (l1 + l2 + l3) % 2 == 0
        ]
        i, j, k = torch.tensor(paths).T
        flat = (k * len(b.degrees) + j) * len(a.degrees) + i
        self.register_buffer("_path", flat, persistent=False)
        self.path_weight = nn.Parameter(torch.ones(channels, len(paths)))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        out, b, a = len(self.out.degrees), len(self.b.degrees), len(self.a.degrees)
        weight = self.path_weight.new_zeros(len(self.path_weight), out * b * a)
        weight = weight.index_copy(1, self.get_buffer("_path"), self.path_weight).to(x.dtype).unflatten(1, (out, b, a))
        f = (x @ self.table("first", x)).unflatten(-1, (a, -1))
        g = (y @ self.table("second", y)).unflatten(-1, (b, -1))
        mixed = torch.einsum("ckba,...cap->...ckbp", weight, f)
        return (mixed * g[..., None, :, :]).sum(-2).flatten(-2) @ self.table("back", x)


def _by_degree(kind: SphereType, points: Tensor) -> Tensor:
    """`[dim, degrees * points]`: every degree has its own copy of the grid."""
    table = torch.zeros(kind.dim, len(kind.degrees), len(points), dtype=torch.float64)
    harmonics = values(kind.l_max, points)[kind.index]
    for term, part in enumerate(torch.arange(kind.dim).split(kind.sizes)):
        table[part, term] = harmonics[part]
    return table.flatten(1)
