"""Which λ - Σ c_i α_i are weights, level by level along root strings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from erlangen.groups.cartan.cartan_type import CartanType
from erlangen.groups.cartan.errors import InfiniteError
from erlangen.groups.cartan.weyl import Labels, orbit

if TYPE_CHECKING:
    from erlangen.groups.highest_weight.module import HighestWeightModule

Weight = tuple[int, ...]


def walk(module: HighestWeightModule) -> Iterator[Weight]:
    """The weights by depth, for ever where there are infinitely many.

    A weight μ has μ - α_i below it when i is not integrable (f_i is then injective on the parabolic Verma module), or
    when the α_i-string through μ goes on: it is unbroken and symmetric, so it reaches p + ⟨α_i^∨, μ⟩ steps down from μ
    where it reaches p steps up. Every weight but λ has one above it, so levels are complete.
    """
    matrix, rank = module.cartan.matrix, module.cartan.rank
    bounded = sorted(module.integrable)
    free = sorted(module.cartan.nodes - module.integrable)
    columns = [tuple((i, matrix[i][j]) for i in bounded if matrix[i][j]) for j in range(rank)]
    # a level holds, for each weight, its labels and how far each string goes up
    first = [module.weight[i] if i in module.integrable else 0 for i in range(rank)]
    level: dict[Weight, tuple[list[int], list[int]]] = {(0,) * rank: (first, [0] * rank)}
    while level:
        yield from level
        following: dict[Weight, tuple[list[int], list[int]]] = {}
        for weight, (labels, up) in level.items():
            for i in bounded:
                if up[i] + labels[i] > 0:
                    child = (*weight[:i], weight[i] + 1, *weight[i + 1 :])
                    entry = following.get(child)
                    if entry is None:
                        entry = following[child] = (_lower(labels, columns[i]), [0] * rank)
                    entry[1][i] = up[i] + 1
            for i in free:
                child = (*weight[:i], weight[i] + 1, *weight[i + 1 :])
                if child not in following:
                    following[child] = (_lower(labels, columns[i]), [0] * rank)
        level = following


def _lower(labels: list[int], column: tuple[tuple[int, int], ...]) -> list[int]:
    out = labels.copy()
    for i, a in column:
        out[i] -= a
    return out


def weights(module: HighestWeightModule, depth: int | None) -> list[Weight]:
    """The weights up to a depth, or all of a finite module."""
    if depth is None:
        if not module.is_finite:
            raise InfiniteError(f"depth: None given, but {module} has infinitely many weights; {module.why_infinite()}")
        return list(walk(module))
    if isinstance(depth, bool) or not isinstance(depth, int) or depth < 0:
        raise ValueError(f"depth: {depth!r}; expected an integer of at least 0")
    out = []
    for weight in walk(module):
        if sum(weight) > depth:
            break
        out.append(weight)
    return out


def spread(
    block: CartanType, highest: Labels, dominant: dict[Labels, int], order: list[int], rank: int
) -> dict[Weight, int]:
    """Multiplicities of dominant weights carried along their Weyl orbits, keyed by c, by depth."""
    from erlangen.groups.cartan.characters import dominant_weights

    depths = dominant_weights(block, highest)
    found: dict[Weight, int] = {}
    for labels, multiplicity in dominant.items():
        coefficients = {labels: depths[labels]}
        for moved, word in orbit(block, labels).items():
            if word:
                # s_i μ = μ - μ_i α_i: one step from the weight that the rest of the word reaches
                i = word[0]
                before = tuple(x + row[i] * moved[i] * -1 for x, row in zip(moved, block.matrix, strict=True))
                c = coefficients[before]
                coefficients[moved] = (*c[:i], c[i] - moved[i], *c[i + 1 :])
            full = [0] * rank
            for place, value in zip(order, coefficients[moved], strict=True):
                full[place] = value
            found[tuple(full)] = multiplicity
    return dict(sorted(found.items(), key=lambda item: (sum(item[0]), item[0])))
