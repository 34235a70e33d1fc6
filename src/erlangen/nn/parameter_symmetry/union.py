"""Disjoint sets over integers, many pairs at a time."""

import numpy as np


class DisjointSets:
    """Sets of the integers `0..size-1`; `0` is the set of what must stay as it is."""

    def __init__(self) -> None:
        self.parent = np.zeros(1, dtype=np.int64)

    def add(self, count: int) -> np.ndarray:
        """`count` new elements, each a set of its own."""
        new = np.arange(len(self.parent), len(self.parent) + count)
        self.parent = np.concatenate([self.parent, new])
        return new

    def find(self, elements: np.ndarray) -> np.ndarray:
        """The smallest element of the set of each element, in the shape given."""
        root = self.parent[elements]
        while True:
            above = self.parent[root]
            if np.array_equal(above, root):
                return root
            root = above

    def join(self, a: np.ndarray, b: np.ndarray) -> None:
        """Join the sets of `a[i]` and `b[i]` for every i (shapes that broadcast)."""
        a, b = np.broadcast_arrays(a, b)
        pairs = np.stack([self.find(a.ravel()), self.find(b.ravel())])
        pairs = np.unique(np.sort(pairs[:, pairs[0] != pairs[1]], axis=0), axis=1)
        for low, high in pairs.T:
            x, y = self._root(int(low)), self._root(int(high))
            if x != y:
                self.parent[max(x, y)] = min(x, y)

    def fix(self, elements: np.ndarray) -> None:
        """Put the elements into the set of 0."""
        self.join(np.unique(elements), np.zeros(1, dtype=np.int64))

    def _root(self, element: int) -> int:
        while self.parent[element] != element:
            self.parent[element] = self.parent[self.parent[element]]
            element = int(self.parent[element])
        return element
