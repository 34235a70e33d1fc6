"""Finite groups: elements in a list, a multiplication table, conjugacy classes and characters."""

from abc import abstractmethod

import torch
from torch import Tensor

from erlangen.groups.base.group import Element, Group
from erlangen.groups.elements import map_elem


class FiniteGroup(Group[Element]):
    """A group that can list its elements."""

    max_enumeration = 1_000_000

    @property
    @abstractmethod
    def order(self) -> int: ...

    @abstractmethod
    def elements(self) -> Element:
        """All elements along one batch dimension, `[order, *E]`, identity first."""

    @abstractmethod
    def index(self, g: Element) -> Tensor:
        """The place of an element in `elements()`, int64 `[*B]`."""

    @property
    def table(self) -> Tensor:
        """The multiplication table, int64 `[order, order]`: `table[i, j] = index(compose(e_i, e_j))`."""
        if self.order > 5000:
            raise ValueError(f"group: the table of {self.name} has {self.order}^2 entries; at most 5000^2 are built")
        everything = self.elements()
        rows = map_elem(lambda e: e[:, None], everything)
        columns = map_elem(lambda e: e[None, :], everything)
        return self.index(self.compose(rows, columns))

    def discrete_generators(self) -> list[Element]:
        """A small generating set: elements in order, each one that the earlier ones do not reach."""
        table = self.table
        reached = torch.zeros(self.order, dtype=torch.bool)
        reached[0] = True
        chosen: list[int] = []
        while not bool(reached.all()):
            chosen.append(int((~reached).to(torch.int64).argmax()))
            while True:
                members = reached.nonzero()[:, 0]
                products = table[members][:, torch.tensor(chosen)].flatten()
                fresh = reached.clone()
                fresh[products] = True
                if bool((fresh == reached).all()):
                    break
                reached = fresh
        return [self.element(i) for i in chosen]

    @property
    def classes(self) -> Tensor:
        """The conjugacy class of every element of `elements()`, int64 `[order]`; 0 is the identity's."""
        from erlangen.groups.characters import conjugacy_classes

        return conjugacy_classes(self)

    @property
    def character_table(self) -> Tensor:
        """The complex irreducible characters on the classes, complex128 `[classes, classes]`, the trivial one first."""
        from erlangen.groups.characters import character_table

        return character_table(self)

    def element(self, index: int | Tensor) -> Element:
        """The elements at these places of `elements()`."""
        return map_elem(lambda e: e[index], self.elements())

    def grid(self, num: int) -> Element:
        return self.elements()

    def distance(self, g: Element, h: Element) -> Tensor:
        """Frobenius distance of the matrices: bi-invariant, because they are orthogonal."""
        return (self.matrix(g, torch.float64) - self.matrix(h, torch.float64)).flatten(-2).norm(dim=-1)

    def _guard_enumeration(self) -> None:
        if self.order > self.max_enumeration:
            raise ValueError(f"group: {self.name} has {self.order} elements; at most {self.max_enumeration} are listed")
