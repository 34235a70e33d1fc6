"""Direct products: elements are tuples, one entry a factor."""

import math
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, FiniteGroup, Group, Sampler
from erlangen.groups.elements import as_batch, block_diagonal, map_elem
from erlangen.groups.finite import Symmetric

Tuple = tuple[Any, ...]


class Product(Group[Tuple]):
    """G1 x G2 x ...: nested products are flattened; a product of finite groups is a `FiniteProduct`."""

    def __new__(cls, *factors: Group) -> "Product":
        if cls is Product and factors and all(_is_listable(f) for f in factors):
            return super().__new__(FiniteProduct)
        return super().__new__(cls)

    def __init__(self, *factors: Group) -> None:
        flat: list[Group] = []
        for f in factors:
            flat.extend(f.factors if isinstance(f, Product) else [f])
        if len(flat) < 2:
            raise ValueError(f"factors: a product needs at least two groups, given {len(flat)}")
        self.factors: tuple[Group, ...] = tuple(flat)
        self.name = " x ".join(f.name for f in flat)
        self.dim = sum(f.dim for f in flat)
        self.is_compact = all(f.is_compact for f in flat)
        self.is_abelian = all(f.is_abelian for f in flat)
        self.is_connected = all(f.is_connected for f in flat)
        movers = [f for f in flat if f.acts_on_points]
        self.acts_on_points = len(movers) > 0
        dims = {f.point_dim for f in movers} - {None}
        self.point_dim = dims.pop() if len(dims) == 1 else None

    @property
    def element_shape(self) -> tuple[Any, ...]:  # type: ignore[override]
        return tuple(f.element_shape for f in self.factors)

    @property
    def order(self) -> int | None:
        orders = [f.order for f in self.factors]
        return None if any(o is None for o in orders) else math.prod(o for o in orders if o is not None)

    @property
    def matrix_dim(self) -> int:
        return sum(f.matrix_dim for f in self.factors)

    def infer_size(self, n: int) -> "Group":
        return Product(*(f.infer_size(n) for f in self.factors))

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tuple:
        return tuple(f.identity(batch, dtype=dtype, device=device) for f in self.factors)

    def compose(self, g: Tuple, h: Tuple) -> Tuple:
        return tuple(f.compose(a, b) for f, a, b in zip(self.factors, g, h, strict=True))

    def inverse(self, g: Tuple) -> Tuple:
        return tuple(f.inverse(a) for f, a in zip(self.factors, g, strict=True))

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tuple:
        return tuple(
            f.sample(batch, generator=generator, dtype=dtype, device=device, radius=radius) for f in self.factors
        )

    def log_prob(self, g: Tuple, *, radius: float | int | None = None) -> Tensor:
        terms = [f.log_prob(a, radius=radius) for f, a in zip(self.factors, g, strict=True)]
        return torch.stack(torch.broadcast_tensors(*terms)).sum(0)

    def exp(self, v: Tensor) -> Tuple:
        """Coordinates of the factors one after the other."""
        if v.shape[-1] != self.dim:
            raise ValueError(f"v: {self.name} has {self.dim} algebra coordinates, given {v.shape[-1]}")
        pieces = v.split([f.dim for f in self.factors], -1)
        return tuple(f.exp(piece) for f, piece in zip(self.factors, pieces, strict=True))

    def adjoint_matrix(self, g: Tuple) -> Tensor:
        return block_diagonal([f.adjoint_matrix(a) for f, a in zip(self.factors, g, strict=True) if f.dim])

    def discrete_generators(self) -> list[Tuple]:
        """Those of every factor, with the other factors at the identity."""
        start = [f.identity(dtype=torch.float64) for f in self.factors]
        return [(*start[:i], h, *start[i + 1 :]) for i, f in enumerate(self.factors) for h in f.discrete_generators()]

    def matrix(self, g: Tuple, dtype: torch.dtype | None = None) -> Tensor:
        return block_diagonal([f.matrix(a, dtype) for f, a in zip(self.factors, g, strict=True)])

    def point_matrix(self, g: Tuple, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        """The product of the factors' linear parts; they have to commute, so only Scaling may join another factor."""
        movers = [(f, a) for f, a in zip(self.factors, g, strict=True) if f.acts_on_points]
        fixed = [f for f, _ in movers if f.point_dim is not None]
        if len(fixed) > 1 or not movers:
            raise ValueError(f"group: {self.name} does not act on points: {[f.name for f in fixed]} do not commute")
        n = self.point_dim if n is None else n
        out = movers[0][0].point_matrix(movers[0][1], n, dtype)
        for f, a in movers[1:]:
            out = out @ f.point_matrix(a, n, dtype)
        return out

    def point_translation(self, g: Tuple, dtype: torch.dtype | None = None) -> Tensor | None:
        shifts = [f.point_translation(a, dtype) for f, a in zip(self.factors, g, strict=True)]
        found = [s for s in shifts if s is not None]
        movers = sum(f.acts_on_points for f in self.factors)
        if found and movers > 1:
            raise ValueError(f"group: {self.name} does not act on points: translations do not commute with the rest")
        return found[0] if found else None

    def distance(self, g: Tuple, h: Tuple) -> Tensor:
        squares = [f.distance(a, b).square() for f, a, b in zip(self.factors, g, h, strict=True)]
        return torch.stack(torch.broadcast_tensors(*squares)).sum(0).sqrt()

    def contains(self, g: Tuple, atol: float = 1e-5) -> Tensor:
        checks = [f.contains(a, atol) for f, a in zip(self.factors, g, strict=True)]
        return torch.stack(torch.broadcast_tensors(*checks)).all(0)

    def project(self, m: Tuple) -> Tuple:
        return tuple(f.project(a) for f, a in zip(self.factors, m, strict=True))

    def parts(self) -> dict[str, Sampler]:
        """The parts of each factor with the other factors at the identity; a name used twice gets its factor added."""
        found = [(i, name) for i, f in enumerate(self.factors) for name in f.parts()]
        names = [name for _, name in found]
        out: dict[str, Sampler] = {}
        for i, name in found:
            key = name if names.count(name) == 1 else f"{name} {self.factors[i].name}"
            out[key if key not in out else f"{key} #{i}"] = self._part_sampler(i, self.factors[i].parts()[name])
        return out

    def _part_sampler(self, i: int, sampler: Sampler) -> Sampler:
        def draw(
            batch: Batch = (),
            *,
            generator: torch.Generator | None = None,
            dtype: torch.dtype | None = None,
            device: Device = None,
            radius: float | int | None = None,
        ) -> Tuple:
            mine = sampler(batch, generator=generator, dtype=dtype, device=device, radius=radius)
            rest = [f.identity(as_batch(batch), dtype=dtype, device=device) for f in self.factors]
            return tuple(mine if j == i else e for j, e in enumerate(rest))

        return draw

    def grid(self, num: int) -> Tuple:
        """Identity, then grid elements of each factor in turn with the others at the identity."""
        share = [1 + len(range(i, max(num - 1, 0), len(self.factors))) for i in range(len(self.factors))]
        pieces = [self.identity((1,), dtype=torch.float64)]
        for i, f in enumerate(self.factors):
            mine = map_elem(lambda e, k=share[i]: e[1:k], f.grid(share[i]))
            count = f.batch_shape(mine)[0]
            rest = [other.identity((count,), dtype=torch.float64) for other in self.factors]
            pieces.append(tuple(mine if j == i else e for j, e in enumerate(rest)))
        return map_elem(lambda *e: torch.cat(e), *pieces)

    def label(self, g: Tuple) -> str:
        return ", ".join(f.label(a) for f, a in zip(self.factors, g, strict=True))


class FiniteProduct(Product, FiniteGroup[Tuple]):
    """A product of finite groups: it can list its elements, the last factor running fastest."""

    @property
    def order(self) -> int:
        return math.prod(f.order for f in self.factors if f.order is not None)

    def elements(self) -> Tuple:
        self._guard_enumeration()
        place = torch.arange(self.order)
        out: list[Tuple] = []
        for f in reversed(self.factors):
            assert isinstance(f, FiniteGroup)
            out.append(f.element(place % f.order))
            place = place // f.order
        return tuple(reversed(out))

    def index(self, g: Tuple) -> Tensor:
        total = torch.zeros((), dtype=torch.int64)
        for f, a in zip(self.factors, g, strict=True):
            assert isinstance(f, FiniteGroup)
            mine = f.index(a)
            total = total.to(mine.device) * f.order + mine
        return total

    def grid(self, num: int) -> Tuple:
        return self.elements()


def _is_listable(group: Group) -> bool:
    if isinstance(group, Symmetric):
        return group.n is not None
    return isinstance(group, FiniteGroup)
