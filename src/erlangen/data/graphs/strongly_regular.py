"""Strongly regular graphs: the smallest pairs that no test below 3-WL separates."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

# The Latin square of order 5 that is not the table of a group (up to paratopism there are these two).
LOOP_OF_ORDER_5 = ((0, 1, 2, 3, 4), (1, 0, 3, 4, 2), (2, 3, 4, 0, 1), (3, 4, 1, 2, 0), (4, 2, 0, 1, 3))
NON_RESIDUE = {3: 2, 5: 2, 7: 3, 11: 2, 13: 2}


def rook_graph(n: int = 4) -> Float[Tensor, "m m"]:
    """Squares of an n x n board, joined in one row or one column; for n = 4 strongly regular, SR(16, 6, 2, 2)."""
    if n < 2:
        raise ValueError(f"n: at least 2, given {n}")
    row, column = torch.arange(n * n) // n, torch.arange(n * n) % n
    same = (row[:, None] == row) | (column[:, None] == column)
    return same.to(torch.get_default_dtype()) - torch.eye(n * n)


def shrikhande_graph() -> Float[Tensor, "16 16"]:
    """The other SR(16, 6, 2, 2): Z4 x Z4, joined by ±(1, 0), ±(0, 1), ±(1, 1)."""
    x, y = torch.arange(16) // 4, torch.arange(16) % 4
    dx, dy = (x[:, None] - x) % 4, (y[:, None] - y) % 4
    adjacency = torch.zeros(16, 16)
    for a, b in ((1, 0), (0, 1), (1, 1)):
        adjacency[(dx == a) & (dy == b)] = 1
        adjacency[(dx == -a % 4) & (dy == -b % 4)] = 1
    return adjacency


def latin_square_graph(square: Sequence[Sequence[int]]) -> Float[Tensor, "m m"]:
    """Cells of a Latin square of order n, joined where row, column or symbol agree: SR(n², 3n - 3, n, 6).

    Raises ValueError for an array that is not a Latin square.
    """
    symbol = torch.tensor([list(row) for row in square])
    n = len(symbol)
    every = torch.arange(n)
    if symbol.shape != (n, n) or not all(torch.equal(line.sort().values, every) for line in (*symbol, *symbol.T)):
        raise ValueError("square: every row and every column must hold 0, ..., n - 1 once")
    row, column = every.repeat_interleave(n), every.repeat(n)
    agree = [key[:, None] == key for key in (row, column, symbol.flatten())]
    return (agree[0] | agree[1] | agree[2]).to(torch.get_default_dtype()) - torch.eye(n * n)


def paley_graph(q: int) -> Float[Tensor, "q q"]:
    """The field of q elements, joined where the difference is a square: SR(q, (q-1)/2, (q-5)/4, (q-1)/4).

    Raises ValueError unless q is 1 modulo 4 and a prime or the square of 3, 5, 7, 11 or 13.
    """
    root = round(q**0.5)
    prime = q > 4 and all(q % d for d in range(2, root + 1))
    if q % 4 != 1 or not (prime or (root * root == q and root in NON_RESIDUE)):
        raise ValueError(f"q: a prime that is 1 modulo 4, or 9, 25, 49, 121, 169, given {q}")
    if prime:
        square = torch.zeros(q, dtype=torch.bool)
        square[torch.arange(1, q) ** 2 % q] = True
        return square[(torch.arange(q)[:, None] - torch.arange(q)) % q].to(torch.get_default_dtype())
    a, b = torch.arange(q) // root, torch.arange(q) % root  # a + b t, t² a non-residue
    square = torch.zeros(root, root, dtype=torch.bool)
    square[(a * a + NON_RESIDUE[root] * b * b) % root, 2 * a * b % root] = True
    square[0, 0] = False
    return square[(a[:, None] - a) % root, (b[:, None] - b) % root].to(torch.get_default_dtype())


def strongly_regular_25() -> list[Float[Tensor, "25 25"]]:
    """Five pairwise non-isomorphic SR(25, 12, 5, 6), of the fifteen that exist.

    The Paley graph (which is the Latin-square graph of Z5), the graph of the other Latin square of order 5, its
    complement, and two more in its switching class: add an isolated node, switch the neighbours of node 0 or of node 2
    so that this node becomes isolated, and drop it. The remaining ten have no construction as short and are left out.
    """
    loop = latin_square_graph(LOOP_OF_ORDER_5)
    complement = 1 - loop - torch.eye(25)
    return [paley_graph(25), loop, complement, _descendant(loop, 0), _descendant(loop, 2)]


def _descendant(adjacency: Tensor, node: int) -> Tensor:
    """The graph left when `adjacency` plus an isolated node is switched so that `node` is isolated, without `node`."""
    n = len(adjacency)
    wide = torch.zeros(n + 1, n + 1)
    wide[:n, :n] = adjacency
    inside = wide[node] > 0
    wide = torch.where(inside[:, None] != inside, 1 - wide, wide)
    kept = torch.arange(n + 1) != node
    return wide[kept][:, kept]
