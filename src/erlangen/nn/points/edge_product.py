"""Multiply by a filter that looks along one direction: turn that direction to the pole, where only order 0 survives."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen._registry import modules
from erlangen.groups import Irreps
from erlangen.groups.harmonics import wigner_D_all
from erlangen.groups.harmonics.gaunt import _gaunt
from erlangen.nn.points.exact_tables import ExactTables, at_least_float32
from erlangen.nn.points.sphere_types import product_type, sphere_type


def _cases() -> list[Any]:
    from erlangen.groups.symmetry import Case

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)))

    module = EdgeGauntProduct("0e+1o+2e", "0e+1o+2e", "0e+1o", channels=2)
    return [Case(module, (noise(5, 2, 9), noise(5, 3), noise(5, 2, 3)))]


@modules.register(
    "edge_gaunt_product", paper="arXiv:2302.03655", summary="product with a filter on a direction", cases=_cases
)
class EdgeGauntProduct(ExactTables):
    """The Gaunt product of features with the filter Σ_l h_l Y_l(r / |r|) of an edge r, without its harmonics.

    In a frame whose pole is the edge, the filter has order m = 0 only, and the product maps orders ±m to themselves:

        z_{l3 m} = Σ_{l1} x_{l1 m} Σ_{l2} h_l2 √((2 l2 + 1) / 4π) G^{l3 m}_{l1 m, l2 0},

    so O(L³) arithmetic and a rotation there and back replace the product. The frame is the half turn about the bisector of
    the edge and the nearer pole; the other choices differ by a turn about the edge, which drops out. The frame has a jump at
    the equator, the result none. Equal to `GauntTensorProduct` with y = h Y(r).

    `x [..., channels, dim], direction [..., 3], radial [..., channels, filter degrees] -> [..., channels, dim_out]`; a zero
    direction gives NaN. Raises ValueError for irreps as `GauntTensorProduct` does, for a pseudo filter, and for wrong shapes.

    Source: Passaro and Zitnick, "Reducing SO(3) Convolutions to SO(2) for Efficient Equivariant GNNs", 2023,
    arXiv:2302.03655, there for general paths; here for the Gaunt coupling.
    """

    def __init__(
        self, irreps: str | Irreps, filter: str | Irreps, irreps_out: str | Irreps | None = None, *, channels: int = 1
    ) -> None:
        super().__init__()
        if channels < 1:
            raise ValueError(f"channels: got {channels}; at least 1")
        self.type_in, self.filter = sphere_type(irreps, "irreps"), sphere_type(filter, "filter")
        if self.filter.pseudo:
            raise ValueError(f"filter: {self.filter} is a pseudo-function, which no direction gives; use 0e+1o+2e+...")
        self.type_out = product_type(self.type_in, self.filter, irreps_out)
        self.channels = channels
        self._add_couplings()
        self.add_table("flip", torch.tensor([(-1.0) ** l for l in self.filter.degrees], dtype=torch.float64))

    def _add_couplings(self) -> None:
        """One number for every input component, filter degree and output component of the same order, as indices."""
        rows, columns, filters, numbers = [], [], [], []
        start_in = 0
        for l1 in self.type_in.degrees:
            start_out = 0
            for l3 in self.type_out.degrees:
                for position, l2 in enumerate(self.filter.degrees):
                    table = _gaunt(l1, l2, l3)[:, l2] * math.sqrt((2 * l2 + 1) / (4 * math.pi))
                    a, b = table.nonzero(as_tuple=True)
                    rows.append(a + start_in)
                    columns.append(b + start_out)
                    filters.append(torch.full_like(a, position))
                    numbers.append(table[a, b])
                start_out += 2 * l3 + 1
            start_in += 2 * l1 + 1
        dense = torch.zeros(len(self.filter.degrees), self.type_in.dim, self.type_out.dim, dtype=torch.float64)
        dense[torch.cat(filters), torch.cat(rows), torch.cat(columns)] = torch.cat(numbers)
        mixing = []
        for m in range(-max(self.type_in.l_max, self.type_out.l_max), max(self.type_in.l_max, self.type_out.l_max) + 1):
            a = torch.tensor(
                [p for p, order in enumerate(_orders(self.type_in.degrees)) if order == m], dtype=torch.int64
            )
            b = torch.tensor(
                [p for p, order in enumerate(_orders(self.type_out.degrees)) if order == m], dtype=torch.int64
            )
            if len(a) and len(b):
                mixing.append((a, b, dense[:, a][:, :, b]))
        self._blocks = len(mixing)
        for number, (a, _, block) in enumerate(mixing):
            self.add_table(f"in_{number}", a)
            self.add_table(f"block_{number}", block.flatten(1))
        self._block_sizes = [(len(a), len(b)) for a, b, _ in mixing]
        reached = torch.cat([b for _, b, _ in mixing])
        absent = torch.tensor(
            [p for p in range(self.type_out.dim) if p not in set(reached.tolist())], dtype=torch.int64
        )
        self._absent = len(absent)
        self.add_table("order", torch.argsort(torch.cat([reached, absent])))

    @property
    def symmetries(self) -> list[Any]:
        from erlangen.groups.symmetry import Symmetry

        return [Symmetry("O(3)", input=(str(self.type_in), "1o", "invariant"), output=str(self.type_out))]

    def forward(
        self,
        x: Float[Tensor, "*batch channels dim"],
        direction: Float[Tensor, "*batch 3"],
        radial: Float[Tensor, "*batch channels degrees"],
    ) -> Float[Tensor, "*batch channels dim_out"]:
        expected = (self.channels, self.type_in.dim), (self.channels, len(self.filter.degrees))
        if x.shape[-2:] != expected[0] or radial.shape[-2:] != expected[1]:
            raise ValueError(
                f"irreps, radial: expected [..., {self.channels}, {self.type_in.dim}] for {self.type_in} and "
                f"[..., {self.channels}, {len(self.filter.degrees)}], given {list(x.shape)} and {list(radial.shape)}"
            )
        given = x.dtype
        x, direction, radial = (at_least_float32(t) for t in (x, direction, radial))
        turn, above = _to_the_nearer_pole(direction)
        matrices = wigner_D_all(max(self.type_in.l_max, self.type_out.l_max), turn)
        x = _rotate(x, matrices, self.type_in.degrees)
        radial = torch.where(above[..., None, None], radial, radial * self.table("flip", x))
        parts = []
        for number, sizes in enumerate(self._block_sizes):
            mine = x.index_select(-1, self.get_buffer(f"in_{number}"))
            mix = (radial @ self.table(f"block_{number}", x)).unflatten(-1, sizes)
            parts.append((mine[..., None, :] @ mix)[..., 0, :])
        if self._absent:
            parts.append(x.new_zeros(*x.shape[:-1], self._absent))
        z = torch.cat(parts, -1).index_select(-1, self.get_buffer("order"))
        return _rotate(z, matrices, self.type_out.degrees).to(given)

    def extra_repr(self) -> str:
        return f"{self.type_in} * filter {self.filter} -> {self.type_out}, channels={self.channels}"


def _to_the_nearer_pole(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Half turns (symmetric matrices) that take each direction to +y or -y, and whether it is +y."""
    unit = direction / direction.norm(dim=-1, keepdim=True)
    above = unit[..., 1] >= 0
    pole = torch.zeros_like(unit)
    pole[..., 1] = torch.where(above, 1.0, -1.0).to(unit.dtype)
    bisector = unit + pole
    bisector = bisector / bisector.norm(dim=-1, keepdim=True)
    eye = torch.eye(3, dtype=unit.dtype, device=unit.device)
    return 2 * bisector[..., :, None] * bisector[..., None, :] - eye, above


def _rotate(x: Tensor, matrices: list[Tensor], degrees: tuple[int, ...]) -> Tensor:
    """Half turns are their own inverses, so the same matrices lead there and back."""
    blocks = x.split([2 * l + 1 for l in degrees], -1)
    return torch.cat([block @ matrices[l] for l, block in zip(degrees, blocks, strict=True)], -1)


def _orders(degrees: tuple[int, ...]) -> list[int]:
    return [m for l in degrees for m in range(-l, l + 1)]
