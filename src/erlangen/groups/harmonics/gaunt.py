"""Integrals of three spherical harmonics: the symmetric coupling of a product, the antisymmetric one of a bracket."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.harmonics.constants import constant, fresh
from erlangen.groups.harmonics.spherical import check_degree, sphere_quadrature, spherical_harmonics
from erlangen.groups.harmonics.wigner import lifting


def gaunt_coefficients(
    l1: int, l2: int, l3: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "m1 m2 m3"]:
    """∫ Y_l1m1 Y_l2m2 Y_l3m3 over the sphere, harmonics with ∫ Y² = 1, `[2 l1 + 1, 2 l2 + 1, 2 l3 + 1]`.

        G = √((2 l1 + 1)(2 l2 + 1)(2 l3 + 1) / 4π) (l1 l2 l3; 0 0 0) · 3j,

    so it couples the degrees that satisfy the triangle inequality with an even sum, and is zero otherwise. J. A. Gaunt,
    "The Triplets of Helium", 1929.
    """
    _check(l1, l2, l3)
    return fresh(_gaunt(l1, l2, l3), dtype, device)


def bracket_coefficients(
    l1: int, l2: int, l3: int, *, dtype: torch.dtype | None = None, device: torch.device | str | None = None
) -> Float[Tensor, "m1 m2 m3"]:
    """∫ u · (∇Y_l1m1 × ∇Y_l2m2) Y_l3m3 over the sphere: the couplings that the Gaunt coefficients lack.

    The Poisson bracket of two functions on the sphere is antisymmetric and couples the degrees with an *odd* sum inside
    the triangle inequality (strictly: |l1 - l2| < l3 < l1 + l2), every one of them with a constant that is not zero. W.
    M. Elsasser, "Induction Effects in Terrestrial Magnetism", 1946, has the integral.
    """
    _check(l1, l2, l3)
    return fresh(_bracket(l1, l2, l3), dtype, device)


def couples(l1: int, l2: int, l3: int) -> bool:
    """Whether l3 occurs in the product of l1 and l2."""
    return abs(l1 - l2) <= l3 <= l1 + l2


def harmonics_and_gradients(l_max: int, points: Float[Tensor, "points 3"]) -> tuple[list[Tensor], list[Tensor]]:
    """Y_l `[points, 2 l + 1]` with ∫ Y² = 1, and the gradients of the solid harmonics r^l Y_l, `[points, 3, 2 l + 1]`.

    A derivative of a solid harmonic is harmonic of one degree less: ∂_a S_lm = √(l (2 l + 1)) Σ_m' C_{(a m') m} S_{l-1 m'}
    with the isometry C = `lifting(l)`.
    """
    values = spherical_harmonics(l_max, points, normalization="integral")
    gradients = [torch.zeros_like(points)[..., None]]
    for degree in range(1, l_max + 1):
        c = lifting(degree).unflatten(0, (3, 2 * degree - 1)) * math.sqrt(degree * (2 * degree + 1))
        gradients.append(torch.einsum("pb,abm->pam", values[degree - 1], c))
    return values, gradients


def _check(*degrees: int) -> None:
    for position, degree in enumerate(degrees, 1):
        check_degree(degree, f"l{position}")


def _shape(l1: int, l2: int, l3: int) -> tuple[int, ...]:
    return 2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1


@constant(_shape)
def _gaunt(l1: int, l2: int, l3: int) -> Tensor:
    if not couples(l1, l2, l3) or (l1 + l2 + l3) % 2:
        return torch.zeros(_shape(l1, l2, l3), dtype=torch.float64)
    points, weights = sphere_quadrature(l1 + l2 + l3)
    y = spherical_harmonics(max(l1, l2, l3), points, normalization="integral")
    pairs = (y[l1][:, :, None] * y[l2][:, None, :]).flatten(1)
    return _clean(pairs.mT @ (y[l3] * (4 * math.pi * weights[:, None])), _shape(l1, l2, l3))


@constant(_shape)
def _bracket(l1: int, l2: int, l3: int) -> Tensor:
    if not couples(l1, l2, l3) or (l1 + l2 + l3) % 2 == 0:
        return torch.zeros(_shape(l1, l2, l3), dtype=torch.float64)
    points, weights = sphere_quadrature(l1 + l2 + l3)
    y, gradient = harmonics_and_gradients(max(l1, l2, l3), points)
    turned = torch.linalg.cross(points[:, :, None].expand_as(gradient[l1]), gradient[l1], dim=1)
    pairs = torch.einsum("pam,pan->pmn", turned, gradient[l2]).flatten(1)  # u · (∇Y1 × ∇Y2) = (u × ∇Y1) · ∇Y2
    return _clean(pairs.mT @ (y[l3] * (4 * math.pi * weights[:, None])), _shape(l1, l2, l3))


def _clean(table: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The entries that are zero by symmetry come out of the quadrature as 1e-16: exactly zero here."""
    return torch.where(table.abs() > 1e-12 * table.abs().max(), table, 0.0).reshape(shape)
