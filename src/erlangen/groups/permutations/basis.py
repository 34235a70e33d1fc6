"""Bases of Hom((R^n)^⊗k_in, (R^n)^⊗k_out) under S_n without linear algebra: diagrams, orbits, and the change between."""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.groups.permutations.partitions import (
    Partition,
    growth_strings,
    is_coarser,
    mobius,
    set_partitions,
)

MAX_BYTES = 2**31


@functools.lru_cache(maxsize=64)
def _orbits(n: int, m: int) -> Tensor:
    """int64 `[n^m]`: the number, in the order of `set_partitions(m)`, of the equality pattern of every multi-index."""
    state = torch.zeros(1, dtype=torch.int64)  # the prefix of growth strings met so far, as a number
    tables = _automaton(m)
    index = torch.zeros(1, 0, dtype=torch.int64)
    for slot in range(m):
        index = torch.cat([index.repeat_interleave(n, 0), torch.arange(n).repeat(len(index))[:, None]], 1)
        state = state.repeat_interleave(n)
        same = index[:, :-1] == index[:, -1:]
        first = torch.where(same.any(1), same.to(torch.int8).argmax(1) if slot else state * 0, slot)
        state = tables[slot][state, first]
    return state


@functools.cache
def _automaton(m: int) -> tuple[Tensor, ...]:
    """For every slot: [strings of that length, first equal place (or the slot itself)] -> the string one longer."""
    tables = []
    strings: list[tuple[int, ...]] = [()]
    for slot in range(m):
        longer = list(growth_strings(slot + 1))
        number = {labels: i for i, labels in enumerate(longer)}
        table = torch.zeros(len(strings), slot + 1, dtype=torch.int64)
        for row, labels in enumerate(strings):
            for first in range(slot):
                table[row, first] = number[(*labels, labels[first])]
            table[row, slot] = number[(*labels, max(labels, default=-1) + 1)]
        tables.append(table)
        strings = longer
    return tuple(tables)


def orbit_index(n: int, order: int) -> Int[Tensor, "*axes"]:
    """For every multi-index of `order` entries below n, which equality pattern it has: int64 `[n, ..., n]`.

    The number is the place of the pattern in `set_partitions(order)`. Two multi-indices have the same number exactly
    when a permutation takes one to the other, so a tensor is S_n-invariant when it is constant on equal numbers.

    Raises ValueError for n < 1, for order < 0 and where the answer would take more than 2 GiB.
    """
    if n < 1 or order < 0:
        raise ValueError(f"n, order: at least 1 and 0, given {n} and {order}")
    _refuse(8 * (order + 2) * n**order, f"the orbits of order-{order} tensors over {n} nodes")
    return _orbits(n, order).reshape([n] * order).clone()


def _refuse(size: int, what: str) -> None:
    if size > MAX_BYTES:
        raise ValueError(f"n: {what} would take {size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} are allowed")


def _check(n: int, k_in: int, k_out: int) -> None:
    if n < 1 or k_in < 0 or k_out < 0:
        raise ValueError(f"n, k_in, k_out: at least 1, 0 and 0, given {n}, {k_in} and {k_out}")


def _one_hot(n: int, k_in: int, k_out: int, dtype: torch.dtype, device: torch.device | None) -> tuple[Tensor, Tensor]:
    """Indicators of the orbits that occur, as `[r, n^k_out, n^k_in]`, and their numbers `[r]`."""
    _check(n, k_in, k_out)
    orbits = _orbits_out_in(n, k_in, k_out)
    present = torch.tensor([i for i, p in enumerate(set_partitions(k_in + k_out)) if len(p) <= n])
    _refuse(
        len(present) * orbits.numel() * torch.finfo(dtype).bits // 8,
        f"{len(present)} maps between {n}^{k_in} and {n}^{k_out}",
    )
    rows = torch.full((len(set_partitions(k_in + k_out)),), -1)
    rows[present] = torch.arange(len(present))
    out = torch.zeros(len(present), orbits.numel(), dtype=dtype, device=device)
    out.scatter_(0, rows[orbits.flatten()].to(out.device)[None], 1.0)
    return out.reshape(-1, n**k_out, n**k_in), present


def _orbits_out_in(n: int, k_in: int, k_out: int) -> Tensor:
    """Orbit numbers of (input slots, output slots), laid out as a matrix `[n^k_out, n^k_in]`."""
    _refuse(8 * (k_in + k_out + 2) * n ** (k_in + k_out), f"maps between {n}^{k_in} and {n}^{k_out}")
    return _orbits(n, k_in + k_out).reshape(n**k_in, n**k_out).T


def perm_hom_basis(
    n: int, k_in: int, k_out: int, *, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Float[Tensor, "rank out_dim in_dim"]:
    """An orthonormal basis of the linear maps (R^n)^⊗k_in -> (R^n)^⊗k_out that commute with S_n.

    Each element is the indicator of one equality pattern of the slots, divided by the root of how many entries it has:
    the supports are disjoint, so the basis is orthonormal (Frobenius) by construction and no SVD is taken. The rank is
    the number of partitions of k_in + k_out slots into at most n blocks: Bell(k_in + k_out) once n >= k_in + k_out.

    Raises ValueError for n < 1, negative orders, and where the basis would take more than 2 GiB (`orbit_index` and
    `perm_projection` need n^(k_in + k_out) numbers only).

    Source: Maron, Ben-Hamu, Shamir, Lipman, Invariant and equivariant graph networks, 2019, arXiv:1812.09902.
    """
    ones, _ = _one_hot(n, k_in, k_out, dtype, device)
    return ones / ones.sum((1, 2), keepdim=True).sqrt()


def perm_projection(
    weight: Float[Tensor, "*batch out_dim in_dim"], n: int, k_in: int, k_out: int
) -> Float[Tensor, "*batch out_dim in_dim"]:
    """The orthogonal projection of a matrix on the equivariant maps: every entry becomes the mean over its orbit.

    Equal to averaging ρ_out(g) W ρ_in(g)ᵀ over all n! permutations, at the cost of one pass over W.

    Raises ValueError where the last two axes are not n^k_out and n^k_in.
    """
    _check(n, k_in, k_out)
    if weight.shape[-2:] != (n**k_out, n**k_in):
        raise ValueError(f"weight: expected [..., {n**k_out}, {n**k_in}], given {tuple(weight.shape)}")
    orbits = _orbits_out_in(n, k_in, k_out).flatten().to(weight.device)
    flat = weight.flatten(-2)
    total = flat.new_zeros(*flat.shape[:-1], len(set_partitions(k_in + k_out))).index_add(-1, orbits, flat)
    count = torch.bincount(orbits, minlength=total.shape[-1]).clamp(min=1)
    return (total / count)[..., orbits].reshape(weight.shape)


def orbit_basis(
    n: int, k_in: int, k_out: int, *, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Float[Tensor, "bell out_dim in_dim"]:
    """The maps that are 1 where the slots have *exactly* one equality pattern: disjoint supports, zero where it needs
    more than n different indices. Order of `set_partitions(k_in + k_out)`, inputs first."""
    ones, present = _one_hot(n, k_in, k_out, dtype, device)
    out = ones.new_zeros(len(set_partitions(k_in + k_out)), *ones.shape[1:])
    out[present.to(out.device)] = ones
    return out


def diagram_basis(
    n: int, k_in: int, k_out: int, *, dtype: torch.dtype = torch.float64, device: torch.device | None = None
) -> Float[Tensor, "bell out_dim in_dim"]:
    """The maps that are 1 where the slots have *at least* one equality pattern: what `contract` applies, as matrices."""
    orbits = orbit_basis(n, k_in, k_out, dtype=dtype, device=device)
    return torch.einsum("de,eoi->doi", diagram_from_orbit(k_in + k_out).to(orbits), orbits)


@functools.cache
def _relation(m: int, inverse: bool) -> Tensor:
    all_of = set_partitions(m)

    def entry(fine: Partition, coarse: Partition) -> int:
        return mobius(fine, coarse) if inverse else int(is_coarser(coarse, fine))

    return torch.tensor([[entry(fine, coarse) for coarse in all_of] for fine in all_of], dtype=torch.float64)


def diagram_from_orbit(order: int) -> Float[Tensor, "bell bell"]:
    """Z with diagram_π = Σ_σ Z[π, σ] orbit_σ: 1 where σ is π or coarser. Triangular for a linear extension, det 1."""
    return _relation(order, False).clone()


def orbit_from_diagram(order: int) -> Float[Tensor, "bell bell"]:
    """The inverse of `diagram_from_orbit`: the Möbius function of the partitions, integers."""
    return _relation(order, True).clone()
