"""Messages of a potential as products of functions on the sphere, added up at the points before they are projected."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.groups.harmonics.product_grid import full_grid, values
from erlangen.nn.points.exact_tables import ExactTables


class GauntMessage(ExactTables):
    """A_i = Σ_{j near i} f_j · Σ_l w_ijl Y_l(r_ij), coefficients up to `l_out` of functions on the sphere.

    Features are evaluated once an atom, harmonics once an edge for all channels, products are added up where they are, and
    the sum is projected once an atom: per edge and channel there is one small matrix product and one multiplication. Equal to
    adding up `GauntTensorProduct(h_j, w_ij Y(r_ij))`.
    """

    def __init__(self, l_in: int, l_edge: int, l_out: int) -> None:
        super().__init__()
        size, self.l_edge = (l_edge + 1) ** 2, l_edge
        if l_in == 0:  # a number times a function: its coefficients will do as "points"
            there = torch.full((1, size), 1 / math.sqrt(4 * math.pi), dtype=torch.float64)
            harmonics = torch.eye(size, dtype=torch.float64)
            back = torch.eye(size, dtype=torch.float64)[:, : (l_out + 1) ** 2]
        else:
            points, back = full_grid(l_in + l_edge, l_out)
            there, harmonics = values(l_in, points), values(l_edge, points)
        self.add_table("there", there)
        self.add_table("back", back)
        by_degree = torch.zeros(size, l_edge + 1, len(back), dtype=torch.float64)
        for degree in range(l_edge + 1):
            part = slice(degree**2, (degree + 1) ** 2)
            by_degree[part, degree] = harmonics[part]
        self.add_table("edge", by_degree.flatten(1))

    def forward(
        self,
        h: Float[Tensor, "atoms channels dim"],
        harmonics: Float[Tensor, "edges components"],
        weights: Float[Tensor, "edges channels degrees"],
        sender: Int[Tensor, " edges"],
        receiver: Int[Tensor, " edges"],
    ) -> Float[Tensor, "atoms channels dim_out"]:
        f = h @ self.table("there", h)
        g = weights @ (harmonics @ self.table("edge", h)).unflatten(-1, (self.l_edge + 1, -1))
        summed = torch.zeros_like(f).index_add(0, receiver, f[sender] * g)
        return summed @ self.table("back", h)
