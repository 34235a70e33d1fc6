"""The name of a connected Dynkin diagram: finite, affine, or neither."""

from collections.abc import Sequence
from math import factorial
from typing import Literal

from erlangen.groups.cartan.matrices import Matrix, affine_matrix, twisted_matrix

Kind = Literal["finite", "affine", "indefinite"]


def recognise_finite(a: Matrix, nodes: Sequence[int]) -> tuple[str, int] | None:
    """(letter, rank) of the connected subdiagram on `nodes`, or None where it is not of finite type.

    Reads off bonds and branches: a tree with at most one multiple bond or one branch node, as the classification says.
    B_2 = C_2 is called B2 and D_3 = A_3 is called A3.
    """
    rank = len(nodes)
    if rank == 1:
        return "A", 1
    bonds = [(i, j) for x, i in enumerate(nodes) for j in nodes[x + 1 :] if a[i][j]]
    if len(bonds) != rank - 1:
        return None
    neighbours: dict[int, list[int]] = {i: [] for i in nodes}
    for i, j in bonds:
        neighbours[i].append(j)
        neighbours[j].append(i)
    multiple = [(i, j) for i, j in bonds if a[i][j] * a[j][i] > 1]
    branches = [i for i in nodes if len(neighbours[i]) > 2]
    if not multiple:
        return _simply_laced(neighbours, branches, rank)
    if branches or len(multiple) > 1:
        return None
    i, j = multiple[0]
    product = a[i][j] * a[j][i]
    if product == 3 and rank == 2:
        return "G", 2
    if product != 2:
        return None
    if rank == 2:
        return "B", 2
    ends = [k for k in (i, j) if len(neighbours[k]) == 1]
    if not ends:
        return ("F", 4) if rank == 4 else None
    inner = i if ends[0] == j else j
    return ("B" if a[ends[0]][inner] == -2 else "C"), rank


def _simply_laced(neighbours: dict[int, list[int]], branches: list[int], rank: int) -> tuple[str, int] | None:
    if not branches:
        return "A", rank
    if len(branches) > 1 or len(neighbours[branches[0]]) > 3:
        return None
    arms = sorted(_arm(neighbours, branches[0], first) for first in neighbours[branches[0]])
    if arms[:2] == [1, 1]:
        return "D", rank
    if arms[:2] == [1, 2] and arms[2] <= 4:
        return "E", rank
    return None


def _arm(neighbours: dict[int, list[int]], branch: int, first: int) -> int:
    previous, current, length = branch, first, 1
    while True:
        onward = [k for k in neighbours[current] if k != previous]
        if not onward:
            return length
        previous, current, length = current, onward[0], length + 1


def recognise_affine(a: Matrix, nodes: Sequence[int]) -> str | None:
    """The name of an affine diagram in Kac's tables, or None."""
    block = tuple(tuple(a[i][j] for j in nodes) for i in nodes)
    return next((name for name, known in _affine_candidates(len(nodes)) if _isomorphic(block, known)), None)


def _affine_candidates(size: int) -> list[tuple[str, Matrix]]:
    """All affine Cartan matrices with `size` nodes."""
    n = size - 1
    out = [(f"A{n}~", affine_matrix("A", n))] if n >= 1 else []
    lowest = {"B": 3, "C": 2, "D": 4}
    out += [(f"{x}{n}~", affine_matrix(x, n)) for x, low in lowest.items() if n >= low]
    out += [
        (f"{x}{n}~", affine_matrix(x, n)) for x, ranks in (("E", (6, 7, 8)), ("F", (4,)), ("G", (2,))) if n in ranks
    ]
    twisted = [("A", 2 * n, 2), ("A", 2 * n - 1, 2), ("D", n + 1, 2)]
    twisted += [("E", 6, 2)] if n == 4 else []
    twisted += [("D", 4, 3)] if n == 2 else []
    for letter, rank, twist in twisted:
        allowed = n >= 1 if rank == 2 * n else n >= 3 if letter == "A" else n >= 2
        made = twisted_matrix(letter, rank, twist) if allowed else None
        if made is not None:
            out.append((f"{letter}{rank}^({twist})", made))
    return out


def _isomorphic(a: Matrix, b: Matrix) -> bool:
    """Whether a renumbering of nodes turns one matrix into the other; by backtracking along connected nodes."""
    size = len(a)

    def profile(m: Matrix, i: int) -> list[tuple[int, int]]:
        return sorted((m[i][j], m[j][i]) for j in range(size) if m[i][j])

    if sorted(profile(a, i) for i in range(size)) != sorted(profile(b, i) for i in range(size)):
        return False
    order, seen = [0], {0}
    for i in order:
        for j in range(size):
            if a[i][j] and j not in seen:
                seen.add(j)
                order.append(j)

    def extend(image: list[int]) -> bool:
        if len(image) == size:
            return True
        i = order[len(image)]
        for candidate in range(size):
            if candidate in image or profile(a, i) != profile(b, candidate):
                continue
            placed = zip(order, image, strict=False)
            if all(a[i][k] == b[candidate][x] and a[k][i] == b[x][candidate] for k, x in placed) and extend(
                [*image, candidate]
            ):
                return True
        return False

    return extend([])


def weyl_group_order(letter: str, rank: int) -> int:
    """|W| of a finite type (Bourbaki's tables)."""
    if letter == "A":
        return factorial(rank + 1)
    if letter in "BC":
        return 2**rank * factorial(rank)
    if letter == "D":
        return 2 ** (rank - 1) * factorial(rank)
    return {("E", 6): 51840, ("E", 7): 2903040, ("E", 8): 696729600, ("F", 4): 1152, ("G", 2): 12}[letter, rank]
