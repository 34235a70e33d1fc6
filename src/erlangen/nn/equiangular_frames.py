"""Real vectors of small coherence that algebra gives: conference frames, Steiner frames, mutually unbiased bases.

Descent on random vectors ends about 1.22 times above the Welch bound, however long it runs; where one of these families
has enough vectors in few enough dimensions it is nearer, and exact.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

LARGEST = 4096
CYCLIC_DESIGNS = {
    (61, 5): ((0, 1, 3, 13, 34), (0, 4, 9, 23, 45), (0, 6, 17, 24, 32)),
    (91, 7): ((0, 8, 29, 51, 54, 61, 63), (0, 11, 16, 17, 31, 35, 58), (0, 13, 26, 39, 52, 65, 78)),
}
"""Base blocks modulo v of designs in which any two points are in exactly one block of k points."""
PRIMITIVE = {2: 0b111, 3: 0b1011, 5: 0b100101, 7: 0b10001001, 9: 0b1000010001, 11: 0b100000000101}


@dataclass(frozen=True)
class Family:
    """One construction: how many unit vectors in how many dimensions, their coherence, and how to make them."""

    name: str
    count: int
    dim: int
    coherence: float
    make: Callable[..., Tensor]

    def rows(self, count: int) -> Tensor:
        """The first `count` of the vectors, `[count, dim]` in float64."""
        made = self.make(count) if self.name == "unbiased bases" else self.make()
        return made[:count]


def best_frame(count: int, dim: int) -> Family | None:
    """The family of the smallest coherence with at least `count` vectors in at most `dim` dimensions."""
    return min((f for f in families(dim) if f.count >= count and f.dim <= dim), key=lambda f: f.coherence, default=None)


def families(dim: int) -> Iterator[Family]:
    """Every construction known here in at most `dim` dimensions."""
    for q in range(5, min(2 * dim, LARGEST), 4):
        if is_prime(q):
            yield Family("conference", q + 1, (q + 1) // 2, 1 / math.sqrt(q), partial(conference_frame, q))
    for v, k, blocks in _designs(dim):
        r = (v - 1) // (k - 1)
        if v * r // k <= dim and has_hadamard(r + 1):
            yield Family(f"Steiner S(2, {k}, {v})", v * (r + 1), v * r // k, 1 / r, partial(_steiner, blocks, v))
    for m in (2, 4, 6, 8, 10, 12):
        if 2**m <= dim:
            yield Family("unbiased bases", 2**m * (2 ** (m - 1) + 1), 2**m, 2 ** (-m / 2), partial(unbiased_bases, m))


def _designs(dim: int) -> Iterator[tuple[int, int, Callable[[], Tensor]]]:
    """(points, points in a block, the blocks) of designs with few enough blocks."""
    v = 4
    while v * (v - 1) // 2 <= dim:
        yield v, 2, partial(_pairs, v)
        v += 4
    for t in itertools.count(1):
        v = 6 * t + 3
        if v * (v - 1) // 6 > dim:
            break
        yield v, 3, partial(bose_triples, t)
    for n, q in ((3, 5), (3, 13), (5, 5)):
        points = q**n
        if points * (points - 1) // (q * (q - 1)) <= dim:
            yield points, q, partial(affine_lines, n, q)
    for v, k in CYCLIC_DESIGNS:
        yield v, k, partial(cyclic_blocks, v, k)


def is_prime(n: int) -> bool:
    """Whether n is a prime number."""
    return n > 1 and all(n % p for p in range(2, math.isqrt(n) + 1))


def _quadratic_characters(q: int) -> Tensor:
    """1 for squares modulo a prime q, -1 for the others, 0 for 0."""
    character = torch.full((q,), -1.0, dtype=torch.float64)
    character[torch.arange(1, q) ** 2 % q] = 1
    character[0] = 0
    return character


def conference_frame(q: int) -> Tensor:
    """q + 1 equiangular lines in (q + 1) / 2 dimensions, cosines 1 / sqrt(q), for a prime q = 1 modulo 4.

    From Paley's symmetric conference matrix S, S^2 = q I: `(I + S / sqrt(q)) / 2` projects on half the space, and its
    rows are the lines.
    """
    projection = torch.eye(q + 1, dtype=torch.float64) + _conference_matrix(q) / math.sqrt(q)
    drawn = torch.randn(q + 1, (q + 1) // 2, dtype=torch.float64, generator=torch.Generator().manual_seed(q))
    rows, _ = torch.linalg.qr(projection @ drawn)
    return rows / rows.norm(dim=1, keepdim=True)


def _conference_matrix(q: int) -> Tensor:
    index = torch.arange(q)
    s = torch.ones(q + 1, q + 1, dtype=torch.float64)
    s[1:, 1:] = _quadratic_characters(q)[(index[:, None] - index) % q]
    s[0, 0] = 0
    return s


def _second_paley(n: int) -> bool:
    return n % 8 == 4 and is_prime(n // 2 - 1)


def has_hadamard(n: int) -> bool:
    """Whether `hadamard` makes a matrix of this order."""
    return n in (1, 2) or (n % 4 == 0 and (is_prime(n - 1) or _second_paley(n) or has_hadamard(n // 2)))


def hadamard(n: int) -> Tensor:
    """A matrix of 1 and -1 with orthogonal rows whose first column is 1: one of Paley's two, or a doubled one."""
    if not has_hadamard(n):
        raise ValueError(f"n: {n}; no construction of a Hadamard matrix of this order is known here")
    if n == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    if n == 2 or not (is_prime(n - 1) or _second_paley(n)):
        half = hadamard(n // 2)
        return torch.cat([torch.cat([half, half], 1), torch.cat([half, -half], 1)])
    if not is_prime(n - 1):
        s, one = _conference_matrix(n // 2 - 1), torch.eye(n // 2, dtype=torch.float64)
        matrix = torch.cat([torch.cat([s + one, s - one], 1), torch.cat([s - one, -s - one], 1)])
        return matrix * matrix[:, :1]
    q, index = n - 1, torch.arange(n - 1)
    matrix = torch.ones(n, n, dtype=torch.float64)
    matrix[1:, 1:] = -_quadratic_characters(q)[(index[:, None] - index) % q] - torch.eye(q, dtype=torch.float64)
    return matrix


def _steiner(blocks: Callable[[], Tensor], v: int) -> Tensor:
    return steiner_frame(blocks(), v)


def steiner_frame(blocks: Tensor, v: int) -> Tensor:
    """v (r + 1) equiangular lines, cosines 1 / r, in as many dimensions as a design has blocks.

    Any two of the v points lie in one block, each point in r blocks; for each point the rows of a Hadamard matrix of
    order r + 1 without its first column stand on the point's blocks. M. Fickus, D. Mixon, J. Tremain, Steiner
    equiangular tight frames, 2012, arXiv:1009.5730.
    """
    r = (v - 1) // (blocks.shape[1] - 1)
    flat = blocks.flatten()
    order = flat.argsort(stable=True)
    of_point = (order // blocks.shape[1]).view(v, r)  # the blocks of each point
    signs = hadamard(r + 1)[:, 1:] / math.sqrt(r)
    rows = torch.zeros(v, r + 1, len(blocks), dtype=torch.float64)
    rows.scatter_(2, of_point[:, None].expand(v, r + 1, r), signs.expand(v, r + 1, r))
    return rows.flatten(0, 1)


def _pairs(v: int) -> Tensor:
    return torch.combinations(torch.arange(v))


def bose_triples(t: int) -> Tensor:
    """The blocks of a Steiner triple system on 6 t + 3 points (R. C. Bose, 1939)."""
    n = 2 * t + 1
    x, y = torch.combinations(torch.arange(n)).T
    blocks = [torch.arange(n)[:, None] + n * torch.arange(3)]
    for level in range(3):
        middle = (x + y) * (t + 1) % n  # t + 1 is 1/2 modulo n
        blocks.append(torch.stack([x + n * level, y + n * level, middle + n * ((level + 1) % 3)], 1))
    return torch.cat(blocks)


def affine_lines(n: int, q: int) -> Tensor:
    """The lines of n-dimensional space over the integers modulo a prime q, as blocks of q points."""
    points = torch.cartesian_prod(*[torch.arange(q)] * n)
    place = q ** torch.arange(n - 1, -1, -1)
    first = points.ne(0).to(torch.int64).argmax(1)
    directions = points[points.any(1) & (points[torch.arange(len(points)), first] == 1)]
    steps = torch.arange(q)[:, None, None] * directions
    lines = ((points[:, None, None] + steps) % q * place).sum(-1).transpose(1, 2).flatten(0, 1)
    return lines.sort(1).values.unique(dim=0)


def cyclic_blocks(v: int, k: int) -> Tensor:
    """All blocks of one of `CYCLIC_DESIGNS`: its base blocks moved by every number modulo v."""
    base = torch.tensor(CYCLIC_DESIGNS[v, k])
    return ((base + torch.arange(v)[:, None, None]) % v).flatten(0, 1).sort(1).values.unique(dim=0)


def unbiased_bases(m: int, count: int | None = None) -> Tensor:
    """Vectors of orthonormal bases of R^(2^m), m even, with cosines 2^(-m/2) between any two bases.

    There are 2^(m-1) + 1 bases; with `count` only as many are made as hold that many vectors.

    The standard basis, and for each a in GF(2^(m-1)) the characters times (-1)^Q_a with Kerdock's quadratic forms
    `Q_a(x, y) = sum_i Tr((a x)^(2^i + 1)) + y Tr(a x)`, i = 1 .. m/2 - 1: the form of a difference of any two of them is
    not singular. A. M. Kerdock, 1972; P. Cameron, J. Seidel, Quadratic forms over GF(2), 1973.
    """
    field = _Field(m - 1)
    half = 2 ** (m - 1)
    needed = half if count is None else min(half, max(1, math.ceil(count / (2 * half)) - 1))
    product = field.product(torch.arange(needed)[:, None], torch.arange(half))  # a x
    forms = torch.zeros_like(product)
    power = product
    for _ in range(m // 2 - 1):
        power = field.product(power, power)
        forms ^= field.trace(field.product(power, product))
    forms = torch.cat([forms, forms ^ field.trace(product)], 1)  # y = 0, y = 1
    x = torch.arange(2 * half)
    characters = 1 - 2 * _parity(x[:, None] & x).double()
    bases = (1 - 2 * forms.double())[:, None] * characters / math.sqrt(2 * half)
    return torch.cat([torch.eye(2 * half, dtype=torch.float64), bases.flatten(0, 1)])


def _parity(x: Tensor) -> Tensor:
    for shift in (16, 8, 4, 2, 1):
        x = x ^ (x >> shift)
    return x & 1


class _Field:
    """GF(2^degree) by logarithms; elements are numbers whose bits are coefficients."""

    def __init__(self, degree: int) -> None:
        size = 2**degree
        powers = [1]
        while len(powers) < size - 1:
            following = powers[-1] << 1
            powers.append(following ^ PRIMITIVE[degree] if following & size else following)
        self.degree, self.order = degree, size - 1
        self.exp = torch.tensor(powers)
        self.log = torch.zeros(size, dtype=torch.int64)
        self.log[self.exp] = torch.arange(size - 1)

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        """Elementwise."""
        found = self.exp[(self.log[a] + self.log[b]) % self.order]
        return found * ((a != 0) & (b != 0))

    def trace(self, a: Tensor) -> Tensor:
        """`a + a^2 + a^4 + ...`, which is 0 or 1."""
        total, power = a.clone(), a
        for _ in range(self.degree - 1):
            power = self.product(power, power)
            total = total ^ power
        return total
