"""The representations every group has by name: trivial, standard, sign, regular; and any function of its elements."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group, LieGroup
from erlangen.groups.elements import Elem
from erlangen.groups.representations.rep import Rep


class TrivialRep(Rep):
    dim = 1
    is_trivial = True

    def __init__(self, group: Group) -> None:
        self.group = group

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)[..., :1, :1].abs() * 0 + 1

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return v.new_zeros(*v.shape[:-1], 1, 1)

    def __repr__(self) -> str:
        return "trivial"


class StandardRep(Rep):
    """g -> group.matrix(g): the plane for C_n and D_n, permutation matrices for S_n, R^n for SO(n) and O(n)."""

    def __init__(self, group: Group) -> None:
        self.group = group
        self.dim = group.matrix_dim
        self.is_orthogonal = group.is_compact
        self.is_complex = group.element_kind == "complex"

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.group.matrix(g, dtype)

    def algebra_matrix(self, v: Tensor) -> Tensor:
        return self.group.hat(v) if isinstance(self.group, LieGroup) else super().algebra_matrix(v)

    def __repr__(self) -> str:
        return "standard"


class SignRep(Rep):
    """The sign of the determinant: parity of permutations, -1 on reflections."""

    dim = 1

    def __init__(self, group: Group) -> None:
        self.group = group

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return torch.sign(torch.linalg.det(self.group.matrix(g, dtype)))[..., None, None]

    def __repr__(self) -> str:
        return "sign"


class RegularRep(Rep):
    """Left multiplication on functions on a finite group: e_h -> e_{gh}, in the order of `group.elements()`."""

    def __init__(self, group: Group) -> None:
        if not isinstance(group, FiniteGroup):
            raise ValueError(f"group: only finite groups have a finite regular representation, not {group}")
        self.group: FiniteGroup = group
        self.dim = group.order

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        index = self.group.index(g)
        image = self.group.table.to(index.device)[index]
        return torch.nn.functional.one_hot(image, self.dim).mT.to(dtype or torch.get_default_dtype())

    def __repr__(self) -> str:
        return "regular"


class FunctionRep(Rep):
    """A representation given by a function `(g, dtype) -> matrix`, under a name that identifies it."""

    def __init__(
        self, group: Group, dim: int, function: Callable[[Any, torch.dtype | None], Tensor], *, name: str
    ) -> None:
        self.group = group
        self.dim = dim
        self.function = function
        self.name = name

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        return self.function(g, dtype)

    def __repr__(self) -> str:
        return self.name
