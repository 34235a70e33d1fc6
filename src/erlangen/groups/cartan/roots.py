"""Positive roots and the symmetriser of a Cartan matrix."""

from fractions import Fraction
from math import gcd, lcm

from erlangen.groups.cartan.matrices import Matrix


def symmetrizer(a: Matrix) -> tuple[int, ...]:
    """The smallest positive integers d with d_i A_ij = d_j A_ji, so that (α_i, α_j) = d_i A_ij; one scale a component.

    Raises ValueError where the matrix is not symmetrisable (its Dynkin diagram then has a cycle).
    """
    size = len(a)
    found: list[Fraction | None] = [None] * size
    out = [0] * size
    for start in range(size):
        if found[start] is not None:
            continue
        found[start] = Fraction(1)
        component, queue = [start], [start]
        while queue:
            i = queue.pop()
            for j in range(size):
                if j == i or not a[i][j]:
                    continue
                value = found[i] * Fraction(a[i][j], a[j][i])  # type: ignore[operator]
                if found[j] is None:
                    found[j] = value
                    component.append(j)
                    queue.append(j)
                elif found[j] != value:
                    raise ValueError(
                        f"matrix: not symmetrisable: the cycle through nodes {i} and {j} has no common scale"
                    )
        scale = lcm(*(found[i].denominator for i in component))  # type: ignore[union-attr]
        whole = [int(found[i] * scale) for i in component]  # type: ignore[operator]
        common = gcd(*whole)
        for i, value_i in zip(component, whole, strict=True):
            out[i] = value_i // common
    return tuple(out)


def positive_roots(a: Matrix) -> tuple[tuple[int, ...], ...]:
    """The positive roots of a matrix of finite type, as coefficients of simple roots, by height.

    From the string property: β + α_i is a root iff p > ⟨α_i^∨, β⟩, p the number of times α_i can be taken off β. Never
    ends on a matrix that is not of finite type, so the caller makes sure.
    """
    size = len(a)
    unit = [tuple(int(i == j) for j in range(size)) for i in range(size)]
    # below[root][i]: how many times α_i can be taken off, known once all roots of smaller height are
    level: dict[tuple[int, ...], list[int]] = {u: [0] * size for u in unit}
    out: list[tuple[int, ...]] = []
    while level:
        out += sorted(level, reverse=True)
        following: dict[tuple[int, ...], list[int]] = {}
        for root, below in level.items():
            for i in range(size):
                if root == unit[i]:
                    continue
                if below[i] > sum(a[i][j] * root[j] for j in range(size)):
                    child = tuple(r + (j == i) for j, r in enumerate(root))
                    following.setdefault(child, [0] * size)[i] = below[i] + 1
        level = following
    return tuple(out)
