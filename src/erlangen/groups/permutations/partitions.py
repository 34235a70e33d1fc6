"""Set partitions: all of them in one fixed order, their refinement order and its Möbius function."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence

Partition = tuple[tuple[int, ...], ...]
LARGEST = 12


@functools.cache
def bell(m: int) -> int:
    """The number of partitions of a set of m elements: 1, 1, 2, 5, 15, 52, 203, ...

    Raises ValueError for a negative m.
    """
    if m < 0:
        raise ValueError(f"m: a set has at least 0 elements, given {m}")
    return 1 if m == 0 else sum(math.comb(m - 1, k) * bell(k) for k in range(m))


def growth_strings(m: int, start: Sequence[int] = ()) -> Iterator[tuple[int, ...]]:
    """Strings with s[0] = 0 and s[i] <= 1 + max(s[:i]), in lexicographic order: each names one set partition."""
    if len(start) == m:
        yield tuple(start)
        return
    for label in range(max(start, default=-1) + 2):
        yield from growth_strings(m, (*start, label))


def blocks_of(labels: Sequence[int]) -> Partition:
    """The partition of 0..m-1 whose blocks are the places with equal labels, ordered by their smallest element."""
    first: dict[int, list[int]] = {}
    for place, label in enumerate(labels):
        first.setdefault(label, []).append(place)
    return tuple(tuple(block) for block in first.values())


def labels_of(partition: Partition) -> tuple[int, ...]:
    """For every element the number of its block: the inverse of `blocks_of`."""
    of = {element: number for number, block in enumerate(partition) for element in block}
    return tuple(of[element] for element in range(len(of)))


@functools.cache
def set_partitions(m: int) -> tuple[Partition, ...]:
    """All partitions of {0, ..., m-1}, from the one block to the singletons, in the lexicographic order of labels.

    Blocks are sorted and ordered by their smallest element; the partition of the empty set is `()`.

    Raises ValueError for m < 0 and for m > 12 (there are 27,644,437 partitions of 13 elements).
    """
    if not 0 <= m <= LARGEST:
        raise ValueError(f"m: from 0 to {LARGEST}, given {m} (the number of partitions is the Bell number of m)")
    return tuple(blocks_of(labels) for labels in growth_strings(m))


def is_coarser(coarse: Partition, fine: Partition) -> bool:
    """Whether every block of `fine` lies inside one block of `coarse`.

    Raises ValueError for partitions of different sets.
    """
    label = {element: number for number, block in enumerate(coarse) for element in block}
    if set(label) != {element for block in fine for element in block}:
        raise ValueError(f"coarse, fine: {coarse} and {fine} are partitions of different sets")
    return all(len({label[element] for element in block}) == 1 for block in fine)


def mobius(fine: Partition, coarse: Partition) -> int:
    """The Möbius function of the refinement order.

        μ(fine, coarse) = Π_B (-1)^(k_B - 1) (k_B - 1)!,     k_B blocks of `fine` inside the block B of `coarse`

    Zero where `coarse` is not coarser. Source: Rota, On the foundations of combinatorial theory I, 1964.
    """
    if not is_coarser(coarse, fine):
        return 0
    value = 1
    for block in coarse:
        inside = sum(part[0] in block for part in fine)
        value *= (-1) ** (inside - 1) * math.factorial(inside - 1)
    return value
