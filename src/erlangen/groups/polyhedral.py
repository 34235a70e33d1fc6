"""The rotation groups of the Platonic solids: finite subgroups of SO(3)."""

import functools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, FiniteGroup, Sampler
from erlangen.groups.elements import as_batch, draw_integers
from erlangen.groups.orthogonal import rotation_angle


def _turn(axis: Sequence[float | int], fraction: float) -> Tensor:
    """The rotation about `axis` by this fraction of a turn, float64."""
    x, y, z = (a / math.hypot(*axis) for a in axis)
    k = torch.tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]], dtype=torch.float64)
    angle = 2 * math.pi * fraction
    return torch.eye(3, dtype=torch.float64) + math.sin(angle) * k + (1 - math.cos(angle)) * (k @ k)


def _snap(m: Tensor) -> Tensor:
    """Entries within rounding of -1, 0, 1 become exact."""
    return torch.where((m - m.round()).abs() < 1e-12, m.round(), m)


def _closure(generators: list[Tensor], order: int) -> Tensor:
    """All products of the generators, `[order, 3, 3]`, identity first."""
    found = torch.eye(3, dtype=torch.float64)[None]
    while len(found) < order:
        for m in [a @ b for a in found for b in generators]:
            if float((found - m).abs().amax((-2, -1)).min()) > 1e-6:
                found = torch.cat([found, _snap(m)[None]])
    return found


_GOLDEN = (1 + math.sqrt(5)) / 2
_GENERATORS: dict[str, tuple[list[Tensor], int]] = {
    "Tetrahedral": ([_turn((1, 1, 1), 1 / 3), _turn((0, 0, 1), 1 / 2)], 12),
    "Octahedral": ([_turn((1, 1, 1), 1 / 3), _turn((0, 0, 1), 1 / 4)], 24),
    "Icosahedral": ([_turn((1, 1, 1), 1 / 3), _turn((0, 1, _GOLDEN), 1 / 5)], 60),
}


@functools.cache
def _matrices(name: str) -> Tensor:
    generators, order = _GENERATORS[name]
    return _closure(generators, order)


@functools.cache
def _table(name: str) -> Tensor:
    m = _matrices(name)
    products = m[:, None] @ m[None, :]
    return torch.einsum("abij,cij->abc", products, m).argmax(-1)


class Polyhedral(FiniteGroup[Tensor]):
    """Rotations of a solid. Element: int64 `()`, the place in `matrices` `[order, 3, 3]` (identity first)."""

    element_kind = "index"
    acts_on_points = True
    point_dim = 3
    matrix_dim = 3

    def __init__(self) -> None:
        self.name = type(self).__name__

    @property
    def matrices(self) -> Tensor:
        """All rotations in float64, `[order, 3, 3]`."""
        return _matrices(self.name)

    @property
    def order(self) -> int:
        return len(self.matrices)

    @property
    def table(self) -> Tensor:
        return _table(self.name)

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return torch.zeros(as_batch(batch), dtype=torch.int64, device=device)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return self.table.to(g.device)[g, h]

    def inverse(self, g: Tensor) -> Tensor:
        return (self.table == 0).to(torch.int64).argmax(-1).to(g.device)[g]

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        return draw_integers(self.order, as_batch(batch), generator, device)

    def elements(self) -> Tensor:
        return torch.arange(self.order)

    def index(self, g: Tensor) -> Tensor:
        return g

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return self.matrices.to(device=g.device, dtype=dtype or torch.get_default_dtype())[g]

    def point_matrix(self, g: Tensor, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        return self.matrix(g, dtype)

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        return (g >= 0) & (g < self.order)

    def project(self, m: Tensor) -> Tensor:
        """Indices pass through; rotation matrices `[*B, 3, 3]` go to the nearest rotation of the solid."""
        if not m.is_floating_point():
            return m % self.order
        return torch.einsum("...ij,cij->...c", m, self.matrices.to(m)).argmax(-1)

    def parts(self) -> dict[str, Sampler]:
        return {"rotations": self.sample}

    def label(self, g: Tensor) -> str:
        return f"rotation {math.degrees(float(rotation_angle(self.matrices[int(g)]))):.4g}°"


class Tetrahedral(Polyhedral):
    """The 12 rotations of the tetrahedron."""


class Octahedral(Polyhedral):
    """The 24 rotations of the cube and the octahedron: signed permutation matrices, exact in every precision."""


class Icosahedral(Polyhedral):
    """The 60 rotations of the icosahedron and the dodecahedron."""
