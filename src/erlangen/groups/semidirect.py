"""Semidirect products: elements are pairs, the second factor acts on the first."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, FiniteGroup, Group, Sampler
from erlangen.groups.elements import as_batch, block_diagonal, map_elem

Pair = tuple[Any, Any]


class Semidirect(Group[Pair]):
    """N ⋊ H: pairs (n, h) with (n₁, h₁)(n₂, h₂) = (n₁ · φ(h₁, n₂), h₁h₂).

    Args:
        normal: N.
        acting: H.
        action: φ(h, n), an automorphism of N for every h, in batches; φ(hk, n) = φ(h, φ(k, n)).
        name: identifies the action: two semidirect products of one name are equal.
        matrix: a faithful matrix representation (n, h), dtype -> `[*B, d, d]` and its size d; for finite N it is built:
            the permutation of N by m -> n φ(h, m), beside H's own matrix.

    A pair of finite groups gives a `FiniteGroup`.
    """

    def __new__(cls, normal: Group, acting: Group, *args: Any, **kwargs: Any) -> "Semidirect":
        if cls is Semidirect and isinstance(normal, FiniteGroup) and isinstance(acting, FiniteGroup):
            return super().__new__(FiniteSemidirect)
        return super().__new__(cls)

    def __init__(
        self,
        normal: Group,
        acting: Group,
        *,
        action: Callable[[Any, Any], Any],
        name: str = "",
        matrix: tuple[Callable[[Pair, torch.dtype | None], Tensor], int] | None = None,
    ) -> None:
        if matrix is None and not isinstance(normal, FiniteGroup):
            raise ValueError(f"matrix: needed, as {normal} is infinite; give ((n, h), dtype) -> matrix and its size")
        self.normal, self.acting, self.action = normal, acting, action
        self._matrix = matrix
        self.name = name or f"{normal} ⋊ {acting} by {getattr(action, '__qualname__', 'an action')}"
        self.dim = normal.dim + acting.dim
        self.is_compact = normal.is_compact and acting.is_compact
        self.is_connected = normal.is_connected and acting.is_connected
        self.element_shape = (normal.element_shape, acting.element_shape)
        self.element_kind = normal.element_kind

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (self.normal, self.acting), {"action": self.action, "name": self.name, "matrix": self._matrix}

    @property
    def matrix_dim(self) -> int:
        if self._matrix is not None:
            return self._matrix[1]
        return int(self.normal.order or 0) + self.acting.matrix_dim

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Pair:
        return (
            self.normal.identity(batch, dtype=dtype, device=device),
            self.acting.identity(batch, dtype=dtype, device=device),
        )

    def compose(self, g: Pair, h: Pair) -> Pair:
        return self.normal.compose(g[0], self.action(g[1], h[0])), self.acting.compose(g[1], h[1])

    def inverse(self, g: Pair) -> Pair:
        back = self.acting.inverse(g[1])
        return self.action(back, self.normal.inverse(g[0])), back

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Pair:
        n = self.normal.sample(batch, generator=generator, dtype=dtype, device=device, radius=radius)
        return n, self.acting.sample(batch, generator=generator, dtype=dtype, device=device, radius=radius)

    def matrix(self, g: Pair, dtype: torch.dtype | None = None) -> Tensor:
        if self._matrix is not None:
            return self._matrix[0](g, dtype)
        normal = self.normal
        assert isinstance(normal, FiniteGroup)
        where = len(self.batch_shape(g))
        wide: Any = map_elem(lambda e: e.unsqueeze(where), g)
        everything: Any = map_elem(
            lambda e: e.to(wide[1][0].device if isinstance(wide[1], tuple) else wide[1].device), normal.elements()
        )
        image = normal.index(normal.compose(wide[0], self.action(wide[1], everything)))
        permutation = torch.nn.functional.one_hot(image, normal.order).mT
        other = self.acting.matrix(g[1], dtype)
        return block_diagonal([permutation.to(other.dtype), other])

    def distance(self, g: Pair, h: Pair) -> Tensor:
        """The length of g⁻¹h by the factors' own distances: left-invariant."""
        n, k = self.compose(self.inverse(g), h)
        batch = self.batch_shape((n, k))
        start = self.identity(batch, dtype=torch.float64)
        ours = self.normal.distance(start[0], n).square() + self.acting.distance(start[1], k).square()
        return ours.sqrt()

    def contains(self, g: Pair, atol: float = 1e-5) -> Tensor:
        return self.normal.contains(g[0], atol) & self.acting.contains(g[1], atol)

    def project(self, m: Pair) -> Pair:
        return self.normal.project(m[0]), self.acting.project(m[1])

    def discrete_generators(self) -> list[Pair]:
        start = self.identity(dtype=torch.float64)
        return [(n, start[1]) for n in self.normal.discrete_generators()] + [
            (start[0], h) for h in self.acting.discrete_generators()
        ]

    def parts(self) -> dict[str, Sampler]:
        out: dict[str, Sampler] = {}
        for place, factor in enumerate((self.normal, self.acting)):
            for name, sampler in factor.parts().items():
                key = name if name not in out else f"{name} {factor.name}"
                out[key] = self._part(place, sampler)
        return out

    def _part(self, place: int, sampler: Sampler) -> Sampler:
        def draw(
            batch: Batch = (),
            *,
            generator: torch.Generator | None = None,
            dtype: torch.dtype | None = None,
            device: Device = None,
            radius: float | int | None = None,
        ) -> Pair:
            rest = self.identity(as_batch(batch), dtype=dtype, device=device)
            mine = sampler(batch, generator=generator, dtype=dtype, device=device, radius=radius)
            return (mine, rest[1]) if place == 0 else (rest[0], mine)

        return draw

    def grid(self, num: int) -> Pair:
        """Identity, then elements of either factor in turn with the other at the identity."""
        half = (num + 1) // 2
        first, second = self.normal.grid(max(half, 1)), self.acting.grid(max(num - half + 1, 1))
        ends = self.normal.batch_shape(first)[0], self.acting.batch_shape(second)[0]
        start = self.identity((1,), dtype=torch.float64)
        stay: Any = map_elem(lambda e: e.expand(ends[1] - 1, *e.shape[1:]), start[0])
        rest: Any = map_elem(lambda e: e.expand(ends[0], *e.shape[1:]), start[1])
        n = map_elem(lambda a, b: torch.cat([a, b.to(a)]), first, stay)
        return n, map_elem(lambda a, b: torch.cat([a, b[1:].to(a)]), rest, second)

    def label(self, g: Pair) -> str:
        return f"{self.normal.label(g[0])}, {self.acting.label(g[1])}"


class FiniteSemidirect(Semidirect, FiniteGroup[Pair]):
    """A semidirect product of finite groups: it lists its elements, H running fastest."""

    @property
    def order(self) -> int:
        return int(self.normal.order or 0) * int(self.acting.order or 0)

    def elements(self) -> Pair:
        self._guard_enumeration()
        assert isinstance(self.normal, FiniteGroup) and isinstance(self.acting, FiniteGroup)
        place = torch.arange(self.order)
        return self.normal.element(place // self.acting.order), self.acting.element(place % self.acting.order)

    def index(self, g: Pair) -> Tensor:
        assert isinstance(self.normal, FiniteGroup) and isinstance(self.acting, FiniteGroup)
        return self.normal.index(g[0]) * self.acting.order + self.acting.index(g[1])

    def grid(self, num: int) -> Pair:
        return self.elements()
