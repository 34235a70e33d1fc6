"""Inclusions of one group in another, and characters' inner product."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.affine import SE, E, Euclidean, Translation, homogeneous
from erlangen.groups.base import FiniteGroup, Group
from erlangen.groups.finite import Cyclic, Dihedral
from erlangen.groups.orthogonal import SO, O
from erlangen.groups.polyhedral import Polyhedral
from erlangen.groups.representations import Rep


def inclusion(subgroup: Group, group: Group) -> Callable[[Any], Any]:
    """The homomorphism that sees an element of `subgroup` as one of `group`.

    Known: G in G; C_m in C_n and D_n, D_m in D_n (m divides n); C_n, D_n and SO(2) in SO(2) or O(2) as matrices; the
    rotation groups of solids in SO(3), O(3); SO(n) in O(n); SO(n), O(n), T(n), SE(n) in SE(n) or E(n).

    Raises:
        ValueError: no inclusion is known; pass your own map to `Rep.restrict`.
    """
    found = _finite(subgroup, group) or _matrices(subgroup, group)
    if found is None:
        raise ValueError(f"subgroup: no inclusion of {subgroup} in {group} is known; pass embed=")
    return found


def _finite(small: Group, big: Group) -> Callable[[Any], Any] | None:
    if small == big:
        return lambda g: g
    if not isinstance(small, (Cyclic, Dihedral)) or not isinstance(big, (Cyclic, Dihedral)) or big.n % small.n:
        return None
    step = big.n // small.n
    if isinstance(small, Cyclic):
        if isinstance(big, Cyclic):
            return lambda g: g * step
        return lambda g: (g * step, torch.zeros_like(g))
    return (lambda g: (g[0] * step, g[1])) if isinstance(big, Dihedral) else None


def _matrices(small: Group, big: Group) -> Callable[[Any], Any] | None:
    same_space = small.acts_on_points and small.point_dim == big.point_dim
    if not same_space:
        return None
    proper = isinstance(small, (Cyclic, Polyhedral, Translation, SE)) or type(small) is SO
    if isinstance(big, SO) and not isinstance(small, Euclidean):
        return small.matrix if proper or isinstance(big, O) else None
    if isinstance(big, (SE, E)) and (proper or isinstance(big, E)):

        def embed(g: Any) -> Tensor:
            linear = small.point_matrix(g)
            shift = small.point_translation(g)
            return homogeneous(linear, linear.new_zeros(linear.shape[:-1]) if shift is None else shift)

        return embed
    return None


def character_product(left: Rep, right: Rep) -> Tensor:
    """⟨χ, ψ⟩ = (1 / |G|) Σ_g χ(g) ψ(g): the dimension of the space of linear maps from one to the other that commute
    with a finite group."""
    group = left.group
    if not isinstance(group, FiniteGroup):
        raise ValueError(f"group: the average over a group is exact only for finite ones, given {group}")
    everything = group.elements()
    return (left.character(everything) * right.character(everything)).mean()
