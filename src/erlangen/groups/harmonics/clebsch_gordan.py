"""Wigner 3j symbols and Clebsch-Gordan coefficients of real spherical harmonics, with e3nn's signs."""

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from erlangen._lazy import make_callable
from erlangen.groups.harmonics.constants import constant, fresh
from erlangen.groups.harmonics.gaunt import _bracket, _check, _gaunt, _shape, couples


def wigner_3j(
    l1: int, l2: int, l3: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "m1 m2 m3"]:
    """The invariant tensor of three degrees, Σ W² = 1, `[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]`: W = (D^l1 ⊗ D^l2 ⊗ D^l3) W.

    It is unique up to its sign, and therefore a Gaunt integral where l1 + l2 + l3 is even and a bracket integral where it
    is odd, both exact by quadrature. The sign is that of Condon and Shortley, ⟨l1 l1 l2 (l3 - l1) | l3 l3⟩ > 0, carried to
    the real basis as e3nn does.

    Raises:
        ValueError: a negative degree, or degrees that do not couple.
    """
    _check(l1, l2, l3)
    if not couples(l1, l2, l3):
        raise ValueError(f"l1, l2, l3: expected |l1 - l2| <= l3 <= l1 + l2, given {l1}, {l2}, {l3}")
    return fresh(_symbol(l1, l2, l3), dtype, device)


def clebsch_gordan(
    l1: int, l2: int, l3: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "m1 m2 m3"]:
    """√(2 l3 + 1) times `wigner_3j`: the isometry from degree l3 into l1 ⊗ l2, Σ_{m1 m2} C_{m1 m2 m} C_{m1 m2 n} = δ_mn."""
    return wigner_3j(l1, l2, l3, dtype=dtype, device=device) * math.sqrt(2 * l3 + 1)


@constant(_shape)
def _symbol(l1: int, l2: int, l3: int) -> Tensor:
    table = _gaunt(l1, l2, l3) if (l1 + l2 + l3) % 2 == 0 else _bracket(l1, l2, l3)
    table = table / table.norm()
    rows = [_complex_row(l1, l1), _complex_row(l2, l3 - l1), _complex_row(l3, l3).conj()]
    highest = torch.einsum("abc,a,b,c->", table.to(torch.complex128), *[row.conj() for row in rows])
    return table if highest.real > 0 else -table


def _complex_row(degree: int, m: int) -> Complex[Tensor, " m"]:
    """The row of order m of the unitary matrix from real to complex harmonics, with the phase (-i)^l that makes 3j real."""
    row = torch.zeros(2 * degree + 1, dtype=torch.complex128)
    if m == 0:
        row[degree] = 1.0
        return (-1j) ** degree * row
    sign = (-1) ** m if m > 0 else 1
    row[degree + abs(m)] = sign / math.sqrt(2)
    phase = torch.tensor(1j if m > 0 else -1j, dtype=torch.complex128)
    row[degree - abs(m)] = phase * sign / math.sqrt(2)
    return (-1j) ** degree * row


make_callable(
    __name__, "clebsch_gordan"
)  # the package's function of that name stays callable once this file is imported
