"""Symmetric and exterior powers, and the adjoint representation."""

import functools
import itertools
import math

import torch
from torch import Tensor

from erlangen.groups.base import Group
from erlangen.groups.elements import Elem
from erlangen.groups.representations import Rep


class PowerRep(Rep):
    """Sym^k or Λ^k of a representation, in the orthonormal basis of symmetrised or antisymmetrised products.

    The basis runs over the multisets, or the subsets, of k indices in lexicographic order.
    """

    def __init__(self, rep: Rep, k: int, *, alternating: bool) -> None:
        if k < 1 or (alternating and k > rep.dim):
            allowed = f"1 <= k <= {rep.dim}" if alternating else "k >= 1"
            raise ValueError(f"k: {'wedge' if alternating else 'sym'} needs {allowed}, given {k}")
        if rep.dim**k > 1_000_000:
            raise ValueError(f"k: a power through {rep.dim}^{k} tensor entries is too large; at most 1000000 are built")
        self.rep, self.k, self.alternating = rep, k, alternating
        self.group = rep.group
        self.dim = math.comb(rep.dim, k) if alternating else math.comb(rep.dim + k - 1, k)
        self.is_orthogonal = rep.is_orthogonal
        self.is_complex = rep.is_complex
        self.is_trivial = rep.is_trivial and not alternating

    def _embed(self, like: Tensor) -> Tensor:
        return power_basis(self.rep.dim, self.k, self.alternating).to(like)

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        m = self.rep.matrix(g, dtype)
        basis = self._embed(m)
        moved = basis.expand(*m.shape[:-2], *basis.shape)
        for axis in range(self.k):
            shaped = moved.movedim(-(self.k + 1) + axis, -2)
            shaped = torch.einsum(
                "...ij,...jc->...ic", m.reshape(*m.shape[:-2], *([1] * (self.k - 1)), *m.shape[-2:]), shaped
            )
            moved = shaped.movedim(-2, -(self.k + 1) + axis)
        return basis.flatten(0, -2).mT @ moved.flatten(-(self.k + 1), -2)

    def algebra_matrix(self, v: Tensor) -> Tensor:
        d = self.rep.algebra_matrix(v)
        basis = self._embed(d).reshape(self.rep.dim, -1, self.dim)
        return self.k * torch.einsum("irc,...ij,jrd->...cd", basis, d, basis)

    def __repr__(self) -> str:
        return f"{'wedge' if self.alternating else 'sym'}{self.k}({self.rep!r})"

    @property
    def _key(self) -> tuple[object, ...]:
        return "wedge" if self.alternating else "sym", self.k, self.rep._key


@functools.lru_cache(maxsize=64)
def power_basis(dim: int, k: int, alternating: bool) -> Tensor:
    """Orthonormal (anti)symmetric tensors, `[dim] * k + [count]`, float64."""
    choose = itertools.combinations if alternating else itertools.combinations_with_replacement
    columns = list(choose(range(dim), k))
    out = torch.zeros(*([dim] * k), len(columns), dtype=torch.float64)
    for c, indices in enumerate(columns):
        for order in itertools.permutations(range(k)):
            place = tuple(indices[i] for i in order)
            out[(*place, c)] += _parity(order) if alternating else 1.0
    flat = out.reshape(-1, len(columns))
    return (flat / flat.norm(dim=0)).reshape(out.shape)


def _parity(order: tuple[int, ...]) -> float:
    return (-1.0) ** sum(a > b for a, b in itertools.combinations(order, 2))


class AdjointRep(Rep):
    """g -> Ad(g) on the Lie algebra, in the coordinates of `exp`."""

    def __init__(self, group: Group) -> None:
        if group.dim == 0:
            raise ValueError(f"group: {group} is discrete; its Lie algebra is 0 and has no adjoint representation")
        self.group = group
        self.dim = group.dim
        self.is_orthogonal = group.is_compact

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        m = self.group.adjoint_matrix(g)
        return m if dtype is None else m.to(dtype)

    def __repr__(self) -> str:
        return "adjoint"
