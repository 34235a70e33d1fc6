"""Hom_G(V, W): an orthonormal basis of the linear maps that commute with a group, and the projection on them."""

import functools
from typing import Any, Literal

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup
from erlangen.groups.characters import MAX_ORDER, inner_product
from erlangen.groups.finite import Symmetric
from erlangen.groups.irreps import Irreps
from erlangen.groups.null_space import average_over_group, null_space_of_generators, random_walk
from erlangen.groups.representations import Rep, StandardRep, SumRep, TensorRep, TrivialRep

Method = Literal["auto", "schur", "partitions", "average", "generators", "walk"]
DENSE_LIMIT = 4096


def hom_basis(source: Rep, target: Rep, *, method: Method = "auto", rtol: float = 1e-9) -> Tensor:
    """An orthonormal basis (Frobenius) of the maps M with ρ_W(g) M = M ρ_V(g) for all g, `[rank, dim W, dim V]`.

    Direct sums are solved part by part. Each part by Schur's lemma (irreps of SO(3) and O(3)), set partitions
    (tensor powers of the permutation representation), the average over a finite group, or the null space of the
    generators' constraints, which for orthogonal representations starts from the eigenvectors of one generic element
    of the algebra; beyond 4,096 entries compact groups take a random walk. The rank comes from the gap in the singular
    values and has to agree with the characters where these are known.

    Args:
        source: V.
        target: W, of the same group.
        method: one of the above for every part; "auto" chooses.
        rtol: constraints have to hold to this relative accuracy.

    Raises:
        ValueError: different groups, or no gap of 1e3 in the singular values, so that the rank is not certain.
    """
    return Projector(source, target, method=method, rtol=rtol).dense_basis()


def projector(source: Rep, target: Rep) -> "Projector":
    """The orthogonal projection on Hom_G(source, target), cached by the pair."""
    return _cached_projector(source, target)


class Projector:
    """P = Q Qᵀ on matrices `[dim W, dim V]`, applied part by part without ever forming P.

    Attributes:
        rank: the dimension of Hom_G(V, W).
        shape: `(dim W · dim V, dim W · dim V)`, the shape of P on row-major vectors.
    """

    def __init__(self, source: Rep, target: Rep, *, method: Method = "auto", rtol: float = 1e-9) -> None:
        if source.group != target.group:
            raise ValueError(f"reps: belong to different groups: {source.group}, {target.group}")
        self.source, self.target = source, target
        self._blocks: list[tuple[Tensor, Tensor, Tensor]] = []
        for rep_in, columns in _types(source):
            for rep_out, rows in _types(target):
                basis = _atomic(rep_in, rep_out, method, rtol)
                if len(basis):
                    self._blocks.append((rows, columns, basis))
        self._moved: dict[tuple[torch.dtype, torch.device], list[tuple[Any, Any, Tensor]]] = {}
        self.rank = sum(len(rows) * len(columns) * len(basis) for rows, columns, basis in self._blocks)
        size = source.dim * target.dim
        self.shape = (size, size)

    def __call__(self, m: Tensor) -> Tensor:
        """The nearest equivariant map, `[*B, dim W, dim V]` -> same shape."""
        if tuple(m.shape[-2:]) != (self.target.dim, self.source.dim):
            raise ValueError(
                f"m: expected a matrix {(self.target.dim, self.source.dim)} from {self.source} to {self.target}, given "
                f"{tuple(m.shape[-2:])}"
            )
        out = torch.zeros_like(m)
        for rows, columns, basis in self._at(m):
            rank, a, b = basis.shape
            block = m[..., rows, :][..., columns]
            if rank == a * b:  # every map commutes
                if isinstance(rows, slice) and isinstance(columns, slice):
                    out[..., rows, columns] = block
                else:
                    out[..., rows[:, None], columns] = block
                continue
            block = block.unflatten(-1, (-1, b)).unflatten(-3, (-1, a))
            kept = torch.einsum("rab,...manb->...mnr", basis.conj(), block)
            back = torch.einsum("rab,...mnr->...manb", basis, kept)
            back = back.flatten(-2, -1).flatten(-3, -2)
            if isinstance(rows, slice) and isinstance(columns, slice):
                out[..., rows, columns] = back
            else:
                out[..., rows[:, None], columns] = back
        return out

    def matvec(self, v: Tensor) -> Tensor:
        """P on row-major vectors, `[*B, dim W · dim V]`."""
        m = v.unflatten(-1, (self.target.dim, self.source.dim))
        return self(m).flatten(-2)

    @property
    def basis(self) -> Tensor:
        """Q, orthonormal columns `[dim W · dim V, rank]`, float64."""
        return self.dense_basis().flatten(1).mT

    def dense_basis(self) -> Tensor:
        """`[rank, dim W, dim V]`, float64 or complex128."""
        field = torch.complex128 if self.source.is_complex or self.target.is_complex else torch.float64
        out = torch.zeros(self.rank, self.target.dim, self.source.dim, dtype=field)
        start = 0
        for rows, columns, basis in self._blocks:
            for r in rows:
                for c in columns:
                    stop = start + len(basis)
                    out[start:stop, r[0] : r[-1] + 1, c[0] : c[-1] + 1] = basis.to(field)
                    start = stop
        return out

    def _at(self, m: Tensor) -> list[tuple[Any, Any, Tensor]]:
        key = (m.dtype, m.device)
        if key not in self._moved:
            self._moved[key] = [
                (_slice_or_index(rows, m.device), _slice_or_index(columns, m.device), basis.to(m))
                for rows, columns, basis in self._blocks
            ]
        return self._moved[key]

    def __repr__(self) -> str:
        return f"Projector({self.source} -> {self.target} of {self.source.group}: rank {self.rank} of {self.shape[0]})"


@functools.lru_cache(maxsize=256)
def _cached_projector(source: Rep, target: Rep) -> Projector:
    return Projector(source, target)


def _slice_or_index(places: Tensor, device: torch.device) -> Any:
    flat = places.flatten()
    first, last = int(flat[0]), int(flat[-1]) + 1
    if last - first == len(flat) and bool((flat == torch.arange(first, last)).all()):
        return slice(first, last)
    return flat.to(device)


def _types(rep: Rep) -> list[tuple[Rep, Tensor]]:
    """The different parts of a direct sum with the places of their copies, `[copies, dim of the part]`."""
    found: dict[Rep, list[Tensor]] = {}
    start = 0
    for part in _parts(rep):
        found.setdefault(part, []).append(torch.arange(start, start + part.dim))
        start += part.dim
    return [(part, torch.stack(places)) for part, places in found.items()]


def _parts(rep: Rep) -> list[Rep]:
    if isinstance(rep, SumRep):
        return [q for p in rep.parts for q in _parts(p)]
    if isinstance(rep, Irreps):
        return [
            Irreps(f"1x{t.degree}{'e' if t.parity == 1 else 'o'}", rep.group) for t in rep.terms for _ in range(t.mul)
        ]
    if rep.is_trivial and rep.dim == 1:
        return [TrivialRep(rep.group)]
    return [rep]


@functools.lru_cache(maxsize=4096)
def _atomic(source: Rep, target: Rep, method: Method, rtol: float) -> Tensor:
    chosen = _choose(source, target) if method == "auto" else method
    if chosen == "schur":
        return _schur(source, target)
    if chosen == "partitions":
        return _partitions(source, target)
    expected = inner_product(source, target)
    rank = None if expected is None else round(float(expected))
    if expected is not None and abs(float(expected) - round(float(expected))) > 1e-4:
        raise ValueError(
            f"reps: ⟨χ, ψ⟩ = {float(expected):.6g} is no integer: {source} or {target} is no representation"
        )
    if rank == 0:
        return torch.zeros(0, target.dim, source.dim, dtype=torch.float64)
    if chosen == "average":
        basis = average_over_group(source, target, rank)
    elif chosen == "walk":
        basis = random_walk(source, target, rank, rtol)
    else:
        basis = null_space_of_generators(source, target, rtol)
    if rank is not None and len(basis) != rank:
        raise ValueError(
            f"reps: the constraints leave {len(basis)} maps from {source} to {target}, but the characters count {rank}"
        )
    return basis


def _choose(source: Rep, target: Rep) -> Method:
    group = source.group
    if _is_spherical(source) and _is_spherical(target):
        return "schur"
    if isinstance(group, Symmetric) and _power(source) is not None and _power(target) is not None:
        return "partitions"
    if isinstance(group, FiniteGroup) and group.order <= MAX_ORDER:
        return "average"
    if source.dim * target.dim <= DENSE_LIMIT or not group.is_compact:
        return "generators"
    return "walk"


def _is_spherical(rep: Rep) -> bool:
    named = isinstance(rep, Irreps) or (rep.is_trivial and rep.dim == 1)
    return named and rep.group.name in ("SO(3)", "O(3)")


def _schur(source: Rep, target: Rep) -> Tensor:
    a, b = ((r.terms[0].degree, r.terms[0].parity) if isinstance(r, Irreps) else (0, 1) for r in (source, target))
    same = a[0] == b[0] and (source.group.name == "SO(3)" or a[1] == b[1])
    if not same:
        return torch.zeros(0, target.dim, source.dim, dtype=torch.float64)
    return torch.eye(source.dim, dtype=torch.float64)[None] / source.dim**0.5


def _power(rep: Rep) -> int | None:
    """k for the k-th tensor power of the permutation representation of S_n."""
    if isinstance(rep, TrivialRep):
        return 0
    if isinstance(rep, StandardRep):
        return 1
    if isinstance(rep, TensorRep):
        left, right = _power(rep.left), _power(rep.right)
        return None if left is None or right is None else left + right
    return None


def _partitions(source: Rep, target: Rep) -> Tensor:
    from erlangen.groups.permutations import perm_hom_basis

    group = source.group
    assert isinstance(group, Symmetric)
    k_in, k_out = _power(source), _power(target)
    if k_in is None or k_out is None:
        raise ValueError(f"method: partitions are for tensor powers of S_n's standard representation, given {source}")
    return perm_hom_basis(group.size, k_in, k_out).reshape(-1, target.dim, source.dim)
