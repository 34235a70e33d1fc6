"""A representation as a sum of irreducible ones, with the change of basis."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup
from erlangen.groups.characters import max_frequency
from erlangen.groups.elements import block_diagonal
from erlangen.groups.orthogonal import SO
from erlangen.groups.representations import Rep
from erlangen.groups.unitary import SU


@dataclass(frozen=True)
class Decomposition:
    """ρ = Q (⊕ multiplicity copies of each irrep) Qᵀ.

    Attributes:
        irreps: the different irreps that occur, with their multiplicities, in the order of the group's list.
        basis: Q, orthogonal (unitary where complex), `[dim, dim]`, float64: Qᵀ ρ(g) Q is block diagonal, the blocks
            being exactly the matrices of the irreps, copies of one irrep next to each other.
    """

    irreps: tuple[tuple[Rep, int], ...]
    basis: Tensor

    @property
    def multiplicities(self) -> dict[str, int]:
        """How often each irrep occurs, by its name."""
        return {repr(rep): count for rep, count in self.irreps}

    def blocks(self, g: Any) -> Tensor:
        """The block-diagonal matrix Qᵀ ρ(g) Q, `[*B, dim, dim]`, from the irreps alone."""
        return block_diagonal([m for rep, count in self.irreps for m in [rep.matrix(g, torch.float64)] * count])

    def __str__(self) -> str:
        return " + ".join(f"{count} x {rep!r}" if count > 1 else repr(rep) for rep, count in self.irreps)


def decompose(rep: Rep) -> Decomposition:
    """Irreps with multiplicities and Q with Qᵀ ρ(g) Q block diagonal: for orthogonal representations of finite groups,
    SO(2), O(2), SO(3), O(3), and unitary ones of SU(2).

    Equivariant maps from an irrep into ρ are multiples of isometries; their images, one orthogonal to the next, are the
    copies.

    Raises:
        ValueError: the representation is not orthogonal, or the group's irreps are not known.
    """
    from erlangen.groups.solve import hom_basis

    if not rep.is_orthogonal:
        raise ValueError(f"rep: {rep} is not orthogonal; only orthogonal representations split into orthogonal blocks")
    found: list[tuple[Rep, int]] = []
    columns: list[Tensor] = []
    for irrep in _candidates(rep):
        maps = hom_basis(irrep, rep)
        copies = 0
        while len(maps):
            image = maps[0] * (irrep.dim**0.5)
            columns.append(image)
            copies += 1
            left = maps - image @ (image.mH @ maps)
            _, singular, vh = torch.linalg.svd(left.flatten(1), full_matrices=False)
            maps = vh[: int((singular > 1e-6).sum())].reshape(-1, *maps.shape[1:])
        if copies:
            found.append((irrep, copies))
        if sum(r.dim * c for r, c in found) == rep.dim:
            break
    if sum(r.dim * c for r, c in found) != rep.dim:
        raise ValueError(f"rep: the known irreps of {rep.group} fill only part of {rep}")
    kind = torch.complex128 if any(c.is_complex() for c in columns) else torch.float64
    return Decomposition(tuple(found), torch.cat([c.to(kind) for c in columns], -1))


def _candidates(rep: Rep) -> list[Rep]:
    group = rep.group
    if isinstance(group, FiniteGroup):
        if rep.is_complex:
            raise ValueError(f"rep: {rep} is complex; the irreps of finite groups built here are real")
        return list(group.irreps())
    if (isinstance(group, SO) and group.n in (2, 3)) or (isinstance(group, SU) and group.n == 2):
        top = max_frequency(rep)
        return list(group.irreps(round(2 * top) if isinstance(group, SU) else round(top)))
    raise ValueError(f"group: the irreps of {group} are not listed; finite groups, SO(2), O(2), SO(3), O(3), SU(2) are")
