"""The equivariant linear maps (R^n)^⊗k_in -> (R^n)^⊗k_out, one for each way of wiring input and output slots."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from erlangen.groups.permutations.partitions import Partition, labels_of, set_partitions

Pattern = tuple[int, ...]


@dataclass(frozen=True)
class Diagram:
    """One partition of the slots (inputs first, then outputs), read as a linear map.

    Slots in one block carry one index: `pattern_in` and `pattern_out` label the slots by block. A block of inputs only is
    summed over, a block of outputs only is free (a broadcast), a block of both carries values across.
    """

    pattern_in: Pattern
    pattern_out: Pattern

    @property
    def carried(self) -> Pattern:
        """Labels on both sides, in the order in which the input meets them."""
        return tuple(label for label in dict.fromkeys(self.pattern_in) if label in self.pattern_out)

    @property
    def summed(self) -> int:
        """How many indices are summed over."""
        return len(set(self.pattern_in) - set(self.pattern_out))

    @property
    def partition(self) -> Partition:
        labels = (*self.pattern_in, *self.pattern_out)
        return tuple(tuple(i for i, other in enumerate(labels) if other == label) for label in dict.fromkeys(labels))


@functools.cache
def diagrams(k_in: int, k_out: int) -> tuple[Diagram, ...]:
    """One diagram for every partition of the k_in + k_out slots, in the order of `set_partitions`: Bell(k_in + k_out).

    0 -> 1 has 1, 1 -> 1 has 2 (DeepSets), 2 -> 1 has 5, 2 -> 2 has 15. They are a basis of the equivariant maps for
    n >= k_in + k_out and a spanning set below.

    Raises ValueError for negative orders and for more than 12 slots.

    Source: Maron, Ben-Hamu, Shamir, Lipman, Invariant and equivariant graph networks, 2019, arXiv:1812.09902.
    """
    if k_in < 0 or k_out < 0:
        raise ValueError(f"k_in, k_out: orders are at least 0, given {k_in} and {k_out}")
    found = []
    for partition in set_partitions(k_in + k_out):
        labels = labels_of(partition)
        found.append(Diagram(labels[:k_in], labels[k_in:]))
    return tuple(found)
