"""Characters, conjugacy classes and the inner product that counts equivariant maps."""

import functools
import math
from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup, Group, LieGroup
from erlangen.groups.elements import map_elem
from erlangen.groups.orthogonal import SO, O
from erlangen.groups.representations import Rep
from erlangen.groups.unitary import SU

MAX_ORDER = 5000


@functools.lru_cache(maxsize=64)
def conjugacy_classes(group: FiniteGroup[Any]) -> Tensor:
    """The class of every element of `group.elements()`, int64 `[order]`; class 0 is the identity's."""
    table = group.table
    inverse = (table == 0).to(torch.int64).argmax(-1)
    conjugates = table[table, inverse[:, None]]  # [h, g]: h g h^-1
    smallest = conjugates.amin(0)
    return torch.unique(smallest, return_inverse=True)[1]


@functools.lru_cache(maxsize=64)
def character_table(group: FiniteGroup[Any]) -> Tensor:
    """The complex irreducible characters on the classes, complex128 `[classes, classes]`, by ascending dimension; the
    trivial one is first.

    The class sums commute; the eigenvalues of a generic combination of their multiplication matrices are the central
    characters (Burnside's method; J. Dixon, "High speed computation of group characters", 1967).
    """
    classes = conjugacy_classes(group)
    count = int(classes.max()) + 1
    sizes = torch.bincount(classes).to(torch.float64)
    member = torch.stack([(classes == c).to(torch.int64).argmax() for c in range(count)])
    table = group.table
    inverse = (table == 0).to(torch.int64).argmax(-1)
    weight = torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # matrix[s, t] = sum over x of weight[class x] [class(x^-1 z_t) = s], z_t a member of class t.
    rest = classes[table[inverse][:, member]]
    matrix = torch.zeros(count, count, dtype=torch.float64)
    for t in range(count):
        matrix[:, t].index_add_(0, rest[:, t], weight[classes])
    central = torch.linalg.eig(matrix)[1].mT
    central = central / central[:, :1]
    dims = (group.order / (central.abs().square() / sizes).sum(-1)).sqrt()
    characters = central * dims[:, None] / sizes
    characters = torch.complex(_snap(characters.real), _snap(characters.imag))
    rows = sorted(
        range(count),
        key=lambda r: (
            round(float(dims[r])),
            float((characters[r] - dims[r]).abs().max()) > 1e-6,
            [round(-float(v), 6) for v in torch.view_as_real(characters[r]).flatten()],
        ),
    )
    return characters[rows]


def _snap(x: Tensor) -> Tensor:
    return torch.where((x - x.round()).abs() < 1e-9, x.round(), x)


def inner_product(left: Rep, right: Rep) -> Tensor | None:
    """⟨χ, ψ⟩ = ∫ conj(χ(g)) ψ(g) dg: the dimension of the space of equivariant linear maps from one to the other.

    Exact for finite groups up to order 5000, and by Weyl's integration formula for SO(2), O(2), SO(3), O(3) and SU(2);
    None for other groups.
    """
    group = left.group
    if group != right.group:
        raise ValueError(f"reps: belong to different groups: {group}, {right.group}")
    if isinstance(group, FiniteGroup):
        if group.order > MAX_ORDER:
            return None
        found = _chunked(group.elements(), group, lambda g: left.character(g).conj() * right.character(g))
        return found.mean(0).real
    points = _class_points(group, max_frequency(left) + max_frequency(right))
    if points is None:
        return None
    elements, weights = points
    return ((left.character(elements).conj() * right.character(elements)) * weights).sum().real


def max_frequency(rep: Rep) -> float:
    """The highest frequency of a one-parameter subgroup in a representation of SO(2), O(2), SO(3), O(3) or SU(2)."""
    if not _has_class_formula(rep.group):
        return 0.0
    unit = torch.zeros(rep.group.dim, dtype=torch.float64)
    unit[0] = 1.0
    return float(torch.linalg.eigvals(rep.algebra_matrix(unit)).imag.abs().max())


def _has_class_formula(group: Group) -> bool:
    return (isinstance(group, SO) and group.n in (2, 3)) or (isinstance(group, SU) and group.n == 2)


def _class_points(group: Group, frequency: float) -> tuple[Any, Tensor] | None:
    if not _has_class_formula(group):
        return None
    assert isinstance(group, LieGroup)
    period = 4 * math.pi if isinstance(group, SU) else 2 * math.pi
    count = 2 * math.ceil(frequency + 1e-6) + 4
    angle = torch.arange(count, dtype=torch.float64) * (period / count)
    along = torch.zeros(count, group.dim, dtype=torch.float64)
    along[:, 0] = angle
    elements = group.exp(along)
    weights = torch.full((count,), 1.0 / count, dtype=torch.float64)
    if group.dim == 3:
        weights = weights * (1 - torch.cos(angle))
    if isinstance(group, O):
        if group.n == 2:
            other = elements @ group.discrete_generators()[0]
        else:
            other = -elements
        elements, weights = torch.cat([elements, other]), torch.cat([weights, weights]) / 2
    return elements, weights


def _chunked(elements: Any, group: Group, function: Any, size: int = 512) -> Tensor:
    count = group.batch_shape(elements)[0]
    pieces = [function(map_elem(lambda e, i=i: e[i : i + size], elements)) for i in range(0, count, size)]
    return torch.cat(pieces)
