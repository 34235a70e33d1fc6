"""Real irreps of any finite group, and Young's orthogonal form for permutations."""

import functools
import itertools
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup
from erlangen.groups.elements import Elem
from erlangen.groups.finite import Symmetric
from erlangen.groups.representations import Rep

MAX_ORDER = 1500
Partition = tuple[int, ...]

# Mulliken's names, in the order of ascending dimension with the vectors' irrep first among those of dimension 3.
NAMES = {
    "Tetrahedral": ("A", "E", "T"),
    "Octahedral": ("A1", "A2", "E", "T1", "T2"),
    "Icosahedral": ("A", "T1", "T2", "G", "H"),
}


class TableRep(Rep):
    """A representation of a finite group by the list of its matrices, `[order, dim, dim]`, float64."""

    def __init__(self, group: FiniteGroup[Any], matrices: Tensor, *, name: str) -> None:
        if matrices.shape[0] != group.order:
            raise ValueError(f"matrices: {group} has {group.order} elements, given {matrices.shape[0]} matrices")
        self.group: FiniteGroup[Any] = group
        self.matrices = matrices
        self.dim = matrices.shape[-1]
        self.name = name
        self.is_trivial = self.dim == 1 and bool((matrices == 1).all())

    def matrix(self, g: Elem, dtype: torch.dtype | None = None) -> Tensor:
        place = self.group.index(g)
        return self.matrices.to(place.device)[place].to(dtype or torch.get_default_dtype())

    def __repr__(self) -> str:
        return self.name


@functools.lru_cache(maxsize=64)
def real_irreps(group: FiniteGroup[Any]) -> tuple[Rep, ...]:
    """All real irreps, by ascending dimension, the trivial one first: Young's form for S_n (n ≤ 6), else the
    eigenspaces of a generic symmetric element of the commutant of the regular representation.

    Raises:
        ValueError: the group has more than 1500 elements.
    """
    if isinstance(group, Symmetric):
        return tuple(young_irrep(group, shape) for shape in partitions(group.size))
    if group.order > MAX_ORDER:
        raise ValueError(f"group: irreps are computed up to {MAX_ORDER} elements; {group} has {group.order}")
    matrices = _split_regular(group)
    names = NAMES.get(group.name, tuple(str(i) for i in range(len(matrices))))
    return tuple(TableRep(group, m, name=f"irrep({n})") for m, n in zip(matrices, names, strict=True))


def _split_regular(group: FiniteGroup[Any]) -> list[Tensor]:
    table = group.table
    inverse = (table == 0).to(torch.int64).argmax(-1)
    # Right multiplication commutes with left; weights equal on g and g^-1 make the combination symmetric.
    weight = torch.randn(group.order, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weight = weight + weight[inverse]
    commuting = weight[table[inverse]]
    values, vectors = torch.linalg.eigh(commuting)
    cuts = ((values[1:] - values[:-1]) > 1e-7 * values.abs().max()).nonzero()[:, 0] + 1
    found: dict[tuple[float, ...], Tensor] = {}
    for space in torch.tensor_split(vectors, cuts, dim=1):
        moved = space[table.argsort(-1)]  # (g·f)(x) = f(g^-1 x): row x of g holds f at the place that g sends to x
        matrices = space.mT @ moved
        if matrices.shape[-1] == 1:
            matrices = matrices.round()  # real and of modulus one
        character = torch.diagonal(matrices, dim1=-2, dim2=-1).sum(-1)
        found.setdefault(tuple((character * 1e4).round().tolist()), matrices)
    vector = torch.diagonal(group.matrix(group.elements(), torch.float64), dim1=-2, dim2=-1).sum(-1)

    def place(key: tuple[float, ...]) -> tuple[Any, ...]:
        character = torch.tensor(key) / 1e4
        return (
            round(float(character[0])),
            not bool((character > 0.99).all()),
            float((character - vector).abs().max()) > 1e-3,
            key,
        )

    out = [found[key] for key in sorted(found, key=place)]
    standard = group.matrix(group.elements(), torch.float64)
    # The group's own matrices serve where they are irreducible, so that irrep(T1) of the cube is its rotations.
    same = [i for i, m in enumerate(out) if m.shape == standard.shape and _same_character(m, standard)]
    for i in same:
        out[i] = standard
    return out


def _same_character(a: Tensor, b: Tensor) -> bool:
    difference = torch.diagonal(a, dim1=-2, dim2=-1).sum(-1) - torch.diagonal(b, dim1=-2, dim2=-1).sum(-1)
    return float(difference.abs().max()) < 1e-6


def partitions(n: int) -> list[Partition]:
    """The partitions of n in decreasing lexicographic order: (n) first, (1, ..., 1) last."""

    def under(rest: int, top: int) -> Any:
        if rest == 0:
            yield ()
        for first in range(min(rest, top), 0, -1):
            for tail in under(rest - first, first):
                yield (first, *tail)

    return list(under(n, n))


@functools.lru_cache(maxsize=128)
def young_irrep(group: Symmetric, shape: Partition) -> Rep:
    """Young's orthogonal form: a basis of standard tableaux; an adjacent transposition (i, i + 1) mixes two tableaux
    with 1 / d and sqrt(1 - 1 / d²), d the axial distance from i to i + 1.

    A. Young, "On quantitative substitutional analysis VI", 1932. The shape (n) is the trivial irrep, (1, ..., 1) the
    sign, (n - 1, 1) the standard one.
    """
    n = group.size
    if n > 6:
        raise ValueError(f"group: Young's form is tabulated for n <= 6, given {group}")
    if sum(shape) != n or list(shape) != sorted(shape, reverse=True) or min(shape) < 1:
        raise ValueError(f"label: {shape} is no partition of {n}; allowed: {partitions(n)}")
    tableaux = _standard_tableaux(shape)
    place = {t: k for k, t in enumerate(tableaux)}
    adjacent = torch.zeros(max(n - 1, 0), len(tableaux), len(tableaux), dtype=torch.float64)
    for i in range(n - 1):
        for t, k in place.items():
            (r, c), (s, e) = t[i], t[i + 1]
            distance = (e - s) - (c - r)
            adjacent[i, k, k] = 1.0 / distance
            swapped = (*t[:i], t[i + 1], t[i], *t[i + 2 :])
            if swapped in place:
                adjacent[i, place[swapped], k] = (1 - 1.0 / distance**2) ** 0.5
    everything = list(itertools.permutations(range(n)))
    known: dict[tuple[int, ...], Tensor] = {tuple(range(n)): torch.eye(len(tableaux), dtype=torch.float64)}
    for g in sorted(everything, key=lambda p: sum(a > b for a, b in itertools.combinations(p, 2))):
        if g not in known:
            i = next(i for i in range(n - 1) if g[i] > g[i + 1])
            before = (*g[:i], g[i + 1], g[i], *g[i + 2 :])  # g = before ∘ (i, i + 1)
            known[g] = known[before] @ adjacent[i]
    matrices = torch.stack([known[g] for g in everything])
    return TableRep(group, matrices, name=f"irrep{shape}".replace(",)", ")"))


def _standard_tableaux(shape: Partition) -> list[tuple[tuple[int, int], ...]]:
    """The cell (row, column) of every number 0 .. n - 1, for all standard tableaux."""

    def fill(rows: Partition, cells: tuple[tuple[int, int], ...]) -> Any:
        if rows == shape:
            yield cells
        for r in range(len(shape)):
            if rows[r] < shape[r] and (r == 0 or rows[r] < rows[r - 1]):
                yield from fill((*rows[:r], rows[r] + 1, *rows[r + 1 :]), (*cells, (r, rows[r])))

    return list(fill((0,) * len(shape), ()))
