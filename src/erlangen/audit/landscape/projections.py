"""Random linear maps from a few coordinates to all weights of a network, with columns of unit length."""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import unknown_name
from erlangen.groups.hadamard import hadamard_transform


class Projection(nn.Module):
    """`[..., dim] -> [..., size]`: `v -> P v`, linear; what P is made of are buffers drawn from a seed, never saved."""

    kind = ""

    def __init__(self, dim: int, size: int) -> None:
        super().__init__()
        if not 1 <= dim <= size:
            raise ValueError(f"dim: {dim}; between 1 and the {size} weights is needed")
        self.dim, self.size = dim, size

    def extra_repr(self) -> str:
        return f"dim={self.dim}, size={self.size}"


class DenseProjection(Projection):
    """Normal entries; columns normalised over the whole vector of weights. Holds `dim * size` numbers."""

    kind = "dense"
    rows: Tensor

    def __init__(self, dim: int, sizes: Sequence[int], *, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(dim, sum(sizes))
        rows = torch.randn(dim, self.size, generator=generator, dtype=dtype)
        self.register_buffer("rows", rows.div_(rows.norm(dim=1, keepdim=True)), persistent=False)

    def forward(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch size"]:
        return v @ self.rows


class OrthonormalProjection(DenseProjection):
    """Orthonormal columns, uniform over all such frames: a QR decomposition of normal entries."""

    kind = "orthonormal"

    def __init__(self, dim: int, sizes: Sequence[int], *, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(dim, sizes, generator=generator, dtype=dtype)
        q, r = torch.linalg.qr(self.rows.T.double())
        self.rows = (q * r.diagonal().sign()).T.contiguous().to(dtype)


class SparseProjection(Projection):
    """Very sparse signs: in the block of a tensor of n weights each entry is not zero with probability 1 / sqrt(n).

    The density per tensor is scikit-learn's default, as in the authors' code; a column is then normalised over all
    tensors. A column that came out empty gets one sign at a random place. O(dim sqrt(size)) numbers.
    """

    kind = "sparse"
    place: Tensor
    column: Tensor
    entry: Tensor

    def __init__(self, dim: int, sizes: Sequence[int], *, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(dim, sum(sizes))
        places, columns, start = [], [], 0
        for size in sizes:
            flat = _bernoulli_places(dim * size, 1 / math.sqrt(size), generator)
            columns.append(flat // size)
            places.append(start + flat % size)
            start += size
        column = torch.cat(columns)
        empty = (torch.bincount(column, minlength=dim) == 0).nonzero().squeeze(1)
        column = torch.cat([column, empty])
        place = torch.cat([*places, torch.randint(self.size, empty.shape, generator=generator)])
        sign = torch.randint(2, column.shape, generator=generator).to(dtype) * 2 - 1
        length = torch.bincount(column, minlength=dim).to(dtype).sqrt()
        for name, value in (("place", place), ("column", column), ("entry", sign / length[column])):
            self.register_buffer(name, value, persistent=False)

    def forward(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch size"]:
        terms = v[..., self.column] * self.entry
        zeros = torch.zeros((*terms.shape[:-1], self.size), dtype=terms.dtype, device=terms.device)
        return zeros.index_add(-1, self.place, terms)


class FastfoodProjection(Projection):
    """`P v = [H G Pi H B pad(v)] / (sqrt(L sum G²) sqrt(D/L))` cut to D, with L the power of two above D.

    H is the Walsh-Hadamard matrix, B random signs, Pi a permutation, G normal numbers on a diagonal: O(L log L) time
    and O(L) memory. Columns have unit length in expectation, exactly where D = L; their inner products have the mean
    square 3 / L there, against 1 / D of dense ones (the fourth moment of G). A vector padded with zeros has a
    transform that repeats, so the first H costs as much as `dim` is long; the columns of a seed are the same for
    every `dim`.

    Source: Le, Sarlos and Smola, Fastfood: Approximate Kernel Expansions in Loglinear Time, 2014, arXiv:1408.3060.
    """

    kind = "fastfood"
    signs: Tensor
    place: Tensor
    diagonal: Tensor

    def __init__(self, dim: int, sizes: Sequence[int], *, generator: torch.Generator, dtype: torch.dtype) -> None:
        super().__init__(dim, sum(sizes))
        full = 1 << max(0, self.size - 1).bit_length()
        short = 1 << max(0, dim - 1).bit_length()
        signs = torch.randint(2, (full,), generator=generator).to(dtype) * 2 - 1
        permutation = torch.randperm(full, generator=generator)
        diagonal = torch.randn(full, generator=generator, dtype=dtype)
        scale = math.sqrt(full * float(diagonal.double().square().sum())) * math.sqrt(self.size / full)
        self.register_buffer("signs", signs[:dim].clone(), persistent=False)
        self.register_buffer("place", permutation % short, persistent=False)
        self.register_buffer("diagonal", diagonal / scale, persistent=False)
        self.short = short

    def forward(self, v: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch size"]:
        mixed = hadamard_transform(nn.functional.pad(v * self.signs, (0, self.short - self.dim)))
        spread = mixed.index_select(-1, self.place) * self.diagonal
        return hadamard_transform(spread)[..., : self.size]


KINDS: dict[str, Callable[..., Projection]] = {
    kind.kind: kind for kind in (FastfoodProjection, DenseProjection, SparseProjection, OrthonormalProjection)
}
PROJECTIONS = tuple(KINDS)


def make_projection(
    kind: str, dim: int, sizes: Sequence[int], *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Projection:
    """The projection of a name: the same for the same seed, in every process.

    Arguments:
        kind: one of `PROJECTIONS`.
        dim: coordinates.
        sizes: how many weights each tensor has.

    Raises:
        ValueError: an unknown name; a `dim` below 1 or above the number of weights.
    """
    if kind not in KINDS:
        raise unknown_name("projection", kind, list(PROJECTIONS))
    return KINDS[kind](dim, sizes, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _bernoulli_places(count: int, probability: float, generator: torch.Generator) -> Tensor:
    """Where `count` independent coins of this probability fall heads, from the gaps between heads."""
    if probability >= 1:
        return torch.arange(count)
    found, last = [], -1
    while last < count:
        expected = probability * (count - last)
        draw = torch.rand(int(expected + 6 * math.sqrt(expected)) + 8, generator=generator, dtype=torch.float64)
        gaps = torch.floor(torch.log1p(-draw) / math.log1p(-probability)).to(torch.int64) + 1
        found.append(last + gaps.cumsum(0))
        last = int(found[-1][-1])
    places = torch.cat(found)
    return places[places < count]
