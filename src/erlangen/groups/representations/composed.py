"""Representations made of others: sums, tensor products, duals, restrictions."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import Group
from erlangen.groups.elements import Elem, block_diagonal
from erlangen.groups.representations.rep import Rep


class SumRep(Rep):
    """The direct sum: blocks along the diagonal."""

    def __init__(self, *parts: Rep) -> None:
        _same_group(parts)
        self.parts: tuple[Rep, ...] = tuple(q for p in parts for q in (p.parts if isinstance(p, SumRep) else (p,)))
        self.group = self.parts[0].group
        self.dim = sum(p.dim for p in self.parts)
        self.is_orthogonal = all(p.is_orthogonal for p in self.parts)
        self.is_trivial = all(p.is_trivial for p in self.parts)
        self.is_complex = any(p.is_complex for p in self.parts)

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return _blocks([p.matrix(g, dtype) for p in self.parts])

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return _blocks([p.algebra_matrix(v) for p in self.parts])

    def restrict(self, subgroup: Any, embed: Callable[[Any], Any] | None = None) -> Rep:
        return SumRep(*[p.restrict(subgroup, embed) for p in self.parts])

    @property
    def _key(self) -> tuple[Any, ...]:
        return "+", *(p._key for p in self.parts)

    def __repr__(self) -> str:
        return " + ".join(map(repr, self.parts))


class TensorRep(Rep):
    """The tensor product: ρ(g) ⊗ σ(g), the second index running fastest."""

    def __init__(self, left: Rep, right: Rep) -> None:
        _same_group((left, right))
        self.left, self.right = left, right
        self.group = left.group
        self.dim = left.dim * right.dim
        self.is_orthogonal = left.is_orthogonal and right.is_orthogonal
        self.is_trivial = left.is_trivial and right.is_trivial
        self.is_complex = left.is_complex or right.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        a, b = self.left.matrix(g, dtype), self.right.matrix(g, dtype)
        return _kronecker(*_one_field(a, b))

    def algebra_matrix(self, v: Tensor) -> Tensor:
        a, b = _one_field(self.left.algebra_matrix(v), self.right.algebra_matrix(v))
        left, right = torch.eye(self.left.dim).to(a), torch.eye(self.right.dim).to(b)
        return _kronecker(a, right) + _kronecker(left, b)

    @property
    def _key(self) -> tuple[Any, ...]:
        return "@", self.left._key, self.right._key

    def __repr__(self) -> str:
        return f"({self.left!r} @ {self.right!r})"


class DualRep(Rep):
    def __init__(self, rep: Rep) -> None:
        self.rep = rep
        self.group = rep.group
        self.dim = rep.dim
        self.is_orthogonal = rep.is_orthogonal
        self.is_complex = rep.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.group.inverse(g), dtype).mT

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return -self.rep.algebra_matrix(v).mT

    @property
    def _key(self) -> tuple[Any, ...]:
        return "dual", self.rep._key

    def dual(self) -> Rep:
        return self.rep

    def __repr__(self) -> str:
        return f"dual({self.rep!r})"


class RestrictedRep(Rep):
    def __init__(self, rep: Rep, subgroup: Group, embed: Callable[[Any], Any]) -> None:
        self.rep = rep
        self.embed = embed
        self.group = subgroup
        self.dim = rep.dim
        self.is_orthogonal = rep.is_orthogonal
        self.is_trivial = rep.is_trivial
        self.is_complex = rep.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.rep.matrix(self.embed(g), dtype)

    @property
    def _key(self) -> tuple[Any, ...]:
        way = self.embed.name if hasattr(self.embed, "name") else self.embed
        return "restricted", self.rep.group.name, self.rep._key, way

    def __repr__(self) -> str:
        return f"({self.rep!r} restricted to {self.group})"


def _one_field(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    kind = torch.promote_types(a.dtype, b.dtype)
    return a.to(kind), b.to(kind)


def _kronecker(a: Tensor, b: Tensor) -> Tensor:
    return torch.einsum("...ij,...kl->...ikjl", a, b).flatten(-4, -3).flatten(-2, -1)


def _blocks(blocks: list[Tensor]) -> Tensor:
    kind = blocks[0].dtype
    for b in blocks:
        kind = torch.promote_types(kind, b.dtype)
    return block_diagonal([b.to(kind) for b in blocks])


def _same_group(reps: tuple[Any, ...]) -> None:
    groups = {r.group.name for r in reps}
    if len(groups) != 1:
        raise ValueError(f"reps: belong to different groups: {', '.join(sorted(groups))}")
