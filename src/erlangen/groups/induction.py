"""Induced representations along inclusions of finite index."""

from typing import Any

import torch
from torch import Tensor

from erlangen.groups.elements import Elem, map_elem
from erlangen.groups.homomorphism import Homomorphism
from erlangen.groups.representations import Rep


class InducedRep(Rep):
    """Ind ρ on one copy of ρ's space for every left coset: g carries copy j to copy i by ρ(h), where g t_j = t_i h.

    Args:
        rep: a representation of the small group.
        hom: the inclusion of the small group, of finite index.

    Raises:
        ValueError: `hom` does not start at the group of `rep`, or its index is not finite.
    """

    def __init__(self, rep: Rep, hom: Homomorphism) -> None:
        if not isinstance(hom, Homomorphism):
            raise TypeError(f"hom: expected a Homomorphism such as group.subgroup('C4'), given {type(hom).__name__}")
        if hom.source != rep.group:
            raise ValueError(f"hom: starts at {hom.source}, but the representation is of {rep.group}")
        self.rep, self.hom = rep, hom
        self.group = hom.target
        self._representatives, self._split = hom.cosets()
        self.index = self.group.batch_shape(self._representatives)[0]
        self.dim = self.index * rep.dim
        self.is_orthogonal = rep.is_orthogonal
        self.is_complex = rep.is_complex

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        where = len(self.group.batch_shape(g))
        wide: Any = map_elem(lambda e: e.unsqueeze(where), g)
        seats: Any = map_elem(lambda t, e: t.to(e), self._representatives, wide)
        coset, inner = self._split(self.group.compose(wide, seats))
        blocks = self.rep.matrix(inner, dtype)
        seat = torch.nn.functional.one_hot(coset, self.index).to(blocks.dtype)
        out = torch.einsum("...ji,...jab->...iajb", seat, blocks)
        return out.flatten(-4, -3).flatten(-2, -1)

    def __repr__(self) -> str:
        return f"({self.rep!r} induced to {self.group})"

    @property
    def _key(self) -> tuple[Any, ...]:
        return "induced", self.rep._key, self.hom._key
