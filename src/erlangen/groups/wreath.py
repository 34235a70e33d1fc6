"""Wreath products: n interchangeable copies of a group, and the permutations of them."""

from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, FiniteGroup, Group, Sampler
from erlangen.groups.elements import as_batch
from erlangen.groups.finite import Symmetric

Pair = tuple[Any, Any]


class Wreath(Group[Pair]):
    """G ≀ S_n: n elements of G and a permutation of the places, (a, σ)(b, τ) = (a_i b_{σ⁻¹(i)}, στ).

    Element: `(a, σ)`, a with a leading axis of n in front of G's element shape, σ int64 `[n]` in image notation. The
    symmetry of n interchangeable objects that each carry their own G. `matrix` is the block-monomial one on n copies of
    G's.
    """

    def __new__(cls, group: Group, n: int) -> "Wreath":
        return super().__new__(FiniteWreath if cls is Wreath and isinstance(group, FiniteGroup) else cls)

    def __init__(self, group: Group, n: int) -> None:
        if isinstance(group.element_shape, tuple) and any(isinstance(s, tuple) for s in group.element_shape):
            raise ValueError(f"group: wreath products of groups with tuples as elements are not built, given {group}")
        self.base, self.n = group, n
        self.places = Symmetric(n)
        self.name = f"{group} ≀ S{n}"
        self.dim = n * group.dim
        self.is_compact = group.is_compact
        self.is_abelian = group.is_abelian and n == 1
        self.element_kind = group.element_kind
        self.element_shape = ((n, *group.element_shape), (n,))

    def __getnewargs__(self) -> tuple[Group, int]:
        return self.base, self.n

    @property
    def matrix_dim(self) -> int:
        return self.n * self.base.matrix_dim

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Pair:
        shape = as_batch(batch)
        return (
            self.base.identity((*shape, self.n), dtype=dtype, device=device),
            self.places.identity(shape, device=device),
        )

    def compose(self, g: Pair, h: Pair) -> Pair:
        return self.base.compose(g[0], self._carried(g[1], h[0])), self.places.compose(g[1], h[1])

    def _carried(self, places: Tensor, a: Tensor) -> Tensor:
        """b with b_i = a_{σ⁻¹(i)}."""
        tail = len(self.base.element_shape)
        back = self.places.inverse(places)
        lead = torch.broadcast_shapes(back.shape, a.shape[: a.ndim - tail])
        a = a.expand(*lead, *a.shape[a.ndim - tail :])
        index = back.expand(lead).reshape(*lead, *([1] * tail)).expand_as(a)
        return torch.gather(a, len(lead) - 1, index)

    def inverse(self, g: Pair) -> Pair:
        back = self.places.inverse(g[1])
        return self._carried(back, self.base.inverse(g[0])), back

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Pair:
        shape = as_batch(batch)
        a = self.base.sample((*shape, self.n), generator=generator, dtype=dtype, device=device, radius=radius)
        return a, self.places.sample(shape, generator=generator, device=device)

    def log_prob(self, g: Pair, *, radius: float | int | None = None) -> Tensor:
        return self.base.log_prob(g[0], radius=radius).sum(-1)

    def exp(self, v: Tensor) -> Pair:
        """Coordinates of the n factors one after the other, on the component of the identity."""
        a = self.base.exp(v.unflatten(-1, (self.n, self.base.dim)))
        return a, self.places.identity(tuple(v.shape[:-1]), device=v.device)

    def discrete_generators(self) -> list[Pair]:
        start = self.identity(dtype=torch.float64)
        out = [(start[0], s) for s in self.places.discrete_generators()]
        for h in self.base.discrete_generators():
            a = start[0].clone()
            a[0] = h
            out.append((a, start[1]))
        return out

    def matrix(self, g: Pair, dtype: torch.dtype | None = None) -> Tensor:
        blocks = self.base.matrix(g[0], dtype)
        seat = self.places.matrix(g[1], torch.float64).to(blocks.dtype)
        return torch.einsum("...ij,...iab->...iajb", seat, blocks).flatten(-4, -3).flatten(-2, -1)

    def distance(self, g: Pair, h: Pair) -> Tensor:
        n, k = self.compose(self.inverse(g), h)
        start = self.identity(self.batch_shape((n, k)), dtype=torch.float64)
        inner = self.base.distance(start[0], n).square().sum(-1)
        return (inner + self.places.distance(start[1], k).square()).sqrt()

    def contains(self, g: Pair, atol: float = 1e-5) -> Tensor:
        return self.base.contains(g[0], atol).all(-1) & self.places.contains(g[1], atol)

    def project(self, m: Pair) -> Pair:
        return self.base.project(m[0]), self.places.project(m[1])

    def parts(self) -> dict[str, Sampler]:
        out: dict[str, Sampler] = {name: self._inner(sampler) for name, sampler in self.base.parts().items()}
        return {**out, "places": self._outer}

    def _inner(self, sampler: Sampler) -> Sampler:
        def draw(
            batch: Batch = (),
            *,
            generator: torch.Generator | None = None,
            dtype: torch.dtype | None = None,
            device: Device = None,
            radius: float | int | None = None,
        ) -> Pair:
            shape = as_batch(batch)
            a = sampler((*shape, self.n), generator=generator, dtype=dtype, device=device, radius=radius)
            return a, self.places.identity(shape, device=device)

        return draw

    def _outer(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Pair:
        start = self.identity(batch, dtype=dtype, device=device)
        return start[0], self.places.sample(batch, generator=generator, device=device)

    def grid(self, num: int) -> Pair:
        """Identity, then one element of the base at all places with the places turned along."""
        a = self.base.grid(num)
        count = self.base.batch_shape(a)[0]
        tail = tuple(a.shape[1:])
        turns = (torch.arange(self.n) + torch.arange(count)[:, None]) % self.n
        return a[:, None].expand(count, self.n, *tail).clone(), turns

    def label(self, g: Pair) -> str:
        inner = ", ".join(self.base.label(g[0][i]) for i in range(self.n))
        return f"({inner}) {self.places.label(g[1])}"


class FiniteWreath(Wreath, FiniteGroup[Pair]):
    """The wreath product of a finite group: it lists its elements, the permutation running fastest."""

    @property
    def order(self) -> int:
        return int(self.base.order or 0) ** self.n * self.places.order

    def elements(self) -> Pair:
        self._guard_enumeration()
        base = self.base
        assert isinstance(base, FiniteGroup)
        place = torch.arange(self.order)
        sigma, rest = self.places.element(place % self.places.order), place // self.places.order
        digits = torch.stack([rest // base.order ** (self.n - 1 - i) % base.order for i in range(self.n)], -1)
        return base.element(digits), sigma

    def index(self, g: Pair) -> Tensor:
        base = self.base
        assert isinstance(base, FiniteGroup)
        weight = torch.tensor([base.order ** (self.n - 1 - i) for i in range(self.n)], device=g[1].device)
        return (base.index(g[0]) * weight).sum(-1) * self.places.order + self.places.index(g[1])

    def grid(self, num: int) -> Pair:
        return self.elements()
