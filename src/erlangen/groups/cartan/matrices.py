"""Cartan matrices by name: "A3", "E8", affine "A2~", twisted affine "A4^(2)", products "A2 x G2"."""

import re

from erlangen._registry import unknown_name

Matrix = tuple[tuple[int, ...], ...]

SMALLEST = {"A": 1, "B": 2, "C": 2, "D": 3, "E": 6, "F": 4, "G": 2}
LARGEST = {"E": 8, "F": 4, "G": 2}
ALLOWED = ["A3", "B3", "C3", "D4", "E6", "E7", "E8", "F4", "G2", "A2~", "E8~", "A2^(2)", "D4^(3)", "A2 x G2"]


def cartan_matrix(name: str) -> Matrix:
    """The matrix A[i][j] = ⟨α_i^∨, α_j⟩ in Bourbaki's order; an affine node comes first, as node 0.

    N. Bourbaki, "Groupes et algèbres de Lie", chapters 4-6, 1968; affine names after V. Kac, "Infinite dimensional Lie
    algebras", 1990: "B3~" is B_3^(1), and "A4^(2)", "D5^(2)", "E6^(2)", "D4^(3)" are the twisted ones.

    Raises ValueError for an unknown name or a rank outside its family.
    """
    pieces = [_one(piece.strip(), name) for piece in re.split(r"\s*×\s*|\s+x\s+", name.strip())]
    return _direct_sum(pieces)


def _one(piece: str, whole: str) -> Matrix:
    match = re.fullmatch(r"([A-G])_?(\d+)(~|\^\(([123])\))?", piece)
    if match is None:
        raise unknown_name("name", whole, ALLOWED)
    letter, rank = match[1], int(match[2])
    low, high = SMALLEST[letter], LARGEST.get(letter)
    if rank < low or (high is not None and rank > high):
        upper = "" if high is None else f" to {high}"
        raise ValueError(f"name: {whole!r}: type {letter} has ranks from {low}{upper}")
    twist = match[4] or "1"
    if match[3] is None:
        return finite_matrix(letter, rank)
    if twist == "1":
        return affine_matrix(letter, rank)
    made = twisted_matrix(letter, rank, int(twist))
    if made is None:
        raise ValueError(f"name: {whole!r} is not an affine type; twisted ones are A_n^(2), D_n^(2), E6^(2), D4^(3)")
    return made


def finite_matrix(letter: str, rank: int) -> Matrix:
    """The Cartan matrix of the simple Lie algebra X_rank."""
    a = [[2 if i == j else 0 for j in range(rank)] for i in range(rank)]

    def bond(i: int, j: int, there: int = 1, back: int = 1) -> None:
        a[i][j], a[j][i] = -there, -back

    if letter in "ABCFG":
        for i in range(rank - 1):
            bond(i, i + 1)
    if letter == "B":
        bond(rank - 2, rank - 1, 1, 2)
    elif letter == "C":
        bond(rank - 2, rank - 1, 2, 1)
    elif letter == "F":
        bond(1, 2, 1, 2)
    elif letter == "G":
        bond(0, 1, 3, 1)
    elif letter == "D":
        for i in range(rank - 2):
            bond(i, i + 1)
        bond(rank - 3, rank - 1)
    elif letter == "E":
        bond(0, 2)
        bond(1, 3)
        for i in range(2, rank - 1):
            bond(i, i + 1)
    return tuple(map(tuple, a))


def affine_matrix(letter: str, rank: int) -> Matrix:
    """X_rank^(1): the finite matrix with the node -θ in front, θ the highest root."""
    from erlangen.groups.cartan.roots import positive_roots, symmetrizer

    a = finite_matrix(letter, rank)
    theta = positive_roots(a)[-1]
    d = symmetrizer(a)
    labels = [sum(a[i][j] * theta[j] for j in range(rank)) for i in range(rank)]
    half_norm = sum(d[i] * labels[i] * theta[i] for i in range(rank)) // 2
    # ⟨θ^∨, α_j⟩ = (θ, α_j) / ((θ, θ) / 2) and (θ, α_j) = d_j ⟨α_j^∨, θ⟩
    top = (2, *(-d[j] * labels[j] // half_norm for j in range(rank)))
    return (top, *((-labels[i], *a[i]) for i in range(rank)))


def twisted_matrix(letter: str, rank: int, twist: int) -> Matrix | None:
    """The twisted affine matrix, or None where there is none of that name."""
    if twist == 2 and letter == "A" and rank % 2 == 0:
        n = rank // 2
        if n == 1:
            return ((2, -4), (-1, 2))
        a = [list(row) for row in finite_matrix("A", n + 1)]
        a[0][1], a[1][0] = -2, -1
        a[n - 1][n], a[n][n - 1] = -2, -1
        return tuple(map(tuple, a))
    dual = None
    if twist == 2 and letter == "A" and rank >= 5:
        dual = affine_matrix("B", (rank + 1) // 2)
    elif twist == 2 and letter == "D":
        dual = affine_matrix("C", rank - 1)
    elif twist == 2 and (letter, rank) == ("E", 6):
        dual = affine_matrix("F", 4)
    elif twist == 3 and (letter, rank) == ("D", 4):
        dual = affine_matrix("G", 2)
    return None if dual is None else tuple(zip(*dual, strict=True))


def _direct_sum(blocks: list[Matrix]) -> Matrix:
    size = sum(map(len, blocks))
    rows: list[tuple[int, ...]] = []
    for block in blocks:
        before = len(rows)
        rows += [(0,) * before + row + (0,) * (size - before - len(block)) for row in block]
    return tuple(rows)
