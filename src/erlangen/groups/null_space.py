"""Three ways to the maps that commute with a group: averaging, the null space of generators, a random walk."""

from typing import Any

import torch
from torch import Tensor

from erlangen.groups.base import FiniteGroup
from erlangen.groups.elements import map_elem
from erlangen.groups.representations import Rep

GAP = 1e3
_FLOOR = 1e-8  # the rounding floor of singular values found through a Gram matrix in float64


def average_over_group(source: Rep, target: Rep, rank: int | None) -> Tensor:
    """The span of (1 / |G|) Σ_g ρ_W(g) M ρ_V(g)⁻¹ over random M, `[rank, dim W, dim V]`."""
    group = source.group
    assert isinstance(group, FiniteGroup)
    size = source.dim * target.dim
    probes = min((rank if rank is not None else size) + 4, size)
    m = _random((probes, target.dim, source.dim), source, target)
    total = torch.zeros_like(m)
    everything = group.elements()
    for start in range(0, group.order, 64):
        some: Any = map_elem(lambda e, i=start: e[i : i + 64], everything)
        left = target.matrix(some, torch.float64).to(m.dtype)
        right = source.matrix(group.inverse(some), torch.float64).to(m.dtype)
        total += torch.einsum("gab,pbc,gcd->pad", left, m, right)
    return _span(total / group.order, source, target)


def random_walk(source: Rep, target: Rep, rank: int | None, rtol: float) -> Tensor:
    """As averaging, for compact groups too large to list: averages over six Haar elements at a time, which shrink
    everything else geometrically, until nothing moves."""
    group = source.group
    if not group.is_compact:
        raise ValueError(f"method: a random walk needs a compact group, given {group}")
    size = source.dim * target.dim
    generator = torch.Generator().manual_seed(0)
    probes = min(rank + 4 if rank is not None else 16, size)
    while True:
        m = _random((probes, target.dim, source.dim), source, target)
        for _ in range(400):
            g = group.sample(6, generator=generator, dtype=torch.float64)
            left = target.matrix(g, torch.float64).to(m.dtype)
            right = source.matrix(group.inverse(g), torch.float64).to(m.dtype)
            after = torch.stack([left[k] @ m @ right[k] for k in range(6)]).mean(0)
            moved = float((after - m).abs().max())
            m = after
            if moved < rtol * 1e-4:
                break
        else:
            raise ValueError(f"reps: the random walk of {group} on maps from {source} to {target} does not settle")
        basis = _span(m, source, target)
        if len(basis) < probes or probes == size:
            return basis
        probes = min(2 * probes, size)


def null_space_of_generators(source: Rep, target: Rep, rtol: float) -> Tensor:
    """Maps with dρ_W(X) M = M dρ_V(X) for a basis of the algebra and ρ_W(h) M = M ρ_V(h) for discrete generators."""
    lie_in, discrete_in = source.generators()
    lie_out, discrete_out = target.generators()
    field = torch.promote_types(lie_in.dtype, lie_out.dtype)
    right = torch.cat([lie_in, discrete_in]).to(field)
    left = torch.cat([lie_out, discrete_out]).to(field)
    size = source.dim * target.dim
    if len(left) == 0:
        return torch.eye(size, dtype=field).reshape(size, target.dim, source.dim)
    scale = max(float(left.abs().amax()), float(right.abs().amax()), 1e-30)
    start = None
    if len(lie_in) and source.is_orthogonal and target.is_orthogonal and size > 300:
        start = _commuting_with_one(lie_in.to(field), lie_out.to(field), scale)
    if start is None:
        if size > 4096:
            raise ValueError(
                f"reps: {size} unknowns are too many for a dense null space from {source} to {target} (at most 4096)"
            )
        gram = torch.zeros(size, size, dtype=field)
        for a, b in zip(left, right, strict=True):
            gram += _gram(a, b)
        values, vectors = torch.linalg.eigh(gram)
        rank = _rank_by_gap(values, scale, source, target)
        basis = vectors[:, :rank].mT.reshape(rank, target.dim, source.dim)
    else:
        gram = torch.zeros(len(start), len(start), dtype=field)
        for a, b in zip(left, right, strict=True):
            defect = (a @ start - start @ b).flatten(1)
            gram += defect.conj() @ defect.mT
        values, vectors = torch.linalg.eigh(gram)
        rank = _rank_by_gap(values, scale, source, target)
        basis = torch.einsum("kr,kab->rab", vectors[:, :rank], start)
    if rank == 0:
        return basis
    worst = max(float((a @ basis - basis @ b).abs().max()) for a, b in zip(left, right, strict=True))
    if worst > max(rtol, 1e-9) * scale * 10:
        raise ValueError(f"reps: the maps found from {source} to {target} miss their constraints by {worst:.1e}")
    return basis


def _gram(a: Tensor, b: Tensor) -> Tensor:
    """LᴴL for L(M) = a M - M b on row-major vectors."""
    left, right = torch.eye(a.shape[0], dtype=a.dtype), torch.eye(b.shape[0], dtype=b.dtype)
    kron = torch.kron
    cross = kron(a, b.conj())
    return kron(a.mH @ a, right) - cross - cross.mH + kron(left, b.conj() @ b.mT)


def _commuting_with_one(lie_in: Tensor, lie_out: Tensor, scale: float) -> Tensor:
    """An orthonormal basis of the maps that commute with one generic element of the algebra: it is skew, so they pair
    eigenvectors of equal eigenvalue, and no matrix larger than a representation is decomposed."""
    weight = torch.randn(len(lie_in), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = torch.einsum("k,kij->ij", weight.to(lie_out.dtype), lie_out).to(torch.complex128)
    b = torch.einsum("k,kij->ij", weight.to(lie_in.dtype), lie_in).to(torch.complex128)
    out_values, out_vectors = torch.linalg.eigh(-1j * a)
    in_values, in_vectors = torch.linalg.eigh(-1j * b)
    i, j = ((out_values[:, None] - in_values).abs() < 1e-7 * scale).nonzero(as_tuple=True)
    pairs = out_vectors[:, i].mT[:, :, None] * in_vectors[:, j].mH[:, None, :]
    if lie_in.is_complex():
        return pairs
    # A real constraint: real and imaginary parts of the complex solutions span the real ones.
    both = torch.cat([pairs.real, pairs.imag]).flatten(1)
    overlap = both @ both.mT
    values, vectors = torch.linalg.eigh(overlap)
    keep = values > 1e-9
    basis = (vectors[:, keep] / values[keep].sqrt()).mT @ both
    return basis.reshape(-1, *pairs.shape[1:])


def _rank_by_gap(values: Tensor, scale: float, source: Rep, target: Rep) -> int:
    """How many singular values (squares given, ascending) are zero: there has to be a gap of 1e3 above them."""
    singular = values.clamp_min(0).sqrt()
    floor = _FLOOR * scale * max(1.0, len(values) ** 0.5)
    rank = int((singular <= 3 * floor).sum())
    if rank < len(singular) and float(singular[rank]) < GAP * floor:
        raise ValueError(
            f"reps: no gap in the singular values of the constraints from {source} to {target}: "
            f"{float(singular[rank]):.1e} is neither zero nor clearly not; the dimension of the solutions is uncertain"
        )
    return rank


def _span(m: Tensor, source: Rep, target: Rep) -> Tensor:
    """Orthonormal basis of the span of some matrices; the rank from the gap."""
    _, singular, vh = torch.linalg.svd(m.flatten(1), full_matrices=False)
    floor = 1e-11 * max(float(singular[0]) if len(singular) else 0.0, 1.0)
    rank = int((singular > GAP * floor).sum())
    if rank < len(singular) and float(singular[rank]) > floor * 10:
        raise ValueError(
            f"reps: no gap of {GAP:g} in the singular values of the averaged maps from {source} to {target}"
        )
    return vh[:rank].reshape(rank, *m.shape[1:])


def _random(shape: tuple[int, ...], source: Rep, target: Rep) -> Tensor:
    field = torch.complex128 if source.is_complex or target.is_complex else torch.float64
    return torch.randn(shape, generator=torch.Generator().manual_seed(1), dtype=field)
