"""A Gauss-Legendre by equally spaced grid on the sphere, and the transforms to and from spherical harmonics."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.harmonics.spherical import (
    Normalization,
    check_degree,
    check_normalization,
    gauss_legendre,
    legendre_table,
    scale,
    sphere_points,
    spherical_harmonics,
)

DENSE_DEGREE = 8  # up to here one matrix product beats the two of the separable transform


class S2Grid:
    """n_theta Gauss-Legendre heights by n_phi equal azimuths: integrals of products of harmonics are exact sums.

    `exact_for=k` makes the sum exact for products of k functions of degree up to `l_max` (2 for a transform and back, 3
    for the coefficients of a product). Coefficients are on the last axis, degree by degree, `l² + l + m`; the signal is
    on the last two. Degrees up to 8 go through one dense matrix, higher ones through Legendre functions in θ and then
    cosines and sines in φ, O(l_max³) a signal instead of O(l_max⁴).

    Args:
        l_max: the highest degree of the functions.
        exact_for: how many of them are multiplied.
        n_theta: heights; at least what exactness needs unless given.
        n_phi: azimuths, counted from z towards x about y; likewise.

    Raises:
        ValueError: a negative degree, fewer than one factor, or sizes below 1.
    """

    def __init__(self, l_max: int, *, exact_for: int = 2, n_theta: int | None = None, n_phi: int | None = None) -> None:
        check_degree(l_max)
        if exact_for < 1:
            raise ValueError(f"exact_for: expected at least 1, given {exact_for}")
        self.l_max, self.exact_for = l_max, exact_for
        self.n_theta = exact_for * l_max // 2 + 1 if n_theta is None else n_theta
        self.n_phi = exact_for * l_max + 1 if n_phi is None else n_phi
        if min(self.n_theta, self.n_phi) < 1:
            raise ValueError(f"n_theta, n_phi: expected at least 1, given {self.n_theta}, {self.n_phi}")

    @property
    def shape(self) -> tuple[int, int]:
        return self.n_theta, self.n_phi

    @property
    def points(self) -> Float[Tensor, "theta phi 3"]:
        """The grid as unit vectors, float64."""
        return sphere_points(gauss_legendre(self.n_theta)[0], _azimuth(self.n_phi))

    @property
    def weights(self) -> Float[Tensor, "theta phi"]:
        """Quadrature weights, float64, that sum to the area 4π."""
        return (gauss_legendre(self.n_theta)[1] * (2 * math.pi / self.n_phi))[:, None].expand(self.shape).clone()

    def matrix(self, l_max: int | None = None, *, normalization: Normalization = "integral") -> Tensor:
        """The harmonics at the points, `[(l_max + 1)², n_theta * n_phi]`, float64: coefficients times it is the signal."""
        degree = self.l_max if l_max is None else l_max
        return _dense(degree, self.n_theta, self.n_phi, normalization).clone()

    def to_grid(
        self, coefficients: Float[Tensor, "*batch coefficients"], *, normalization: Normalization = "integral"
    ) -> Float[Tensor, "*batch theta phi"]:
        """The signal Σ c_lm Y_lm(u) at the points; the number of coefficients says up to which degree."""
        check_normalization(normalization)
        degree = math.isqrt(coefficients.shape[-1]) - 1
        if (degree + 1) ** 2 != coefficients.shape[-1] or degree < 0 or degree > self.l_max:
            raise ValueError(
                f"coefficients: expected (l + 1)² of them with l <= {self.l_max}, given {coefficients.shape[-1]}"
            )
        if degree <= DENSE_DEGREE:
            table = _dense(degree, self.n_theta, self.n_phi, normalization).to(coefficients)
            return (coefficients @ table).unflatten(-1, self.shape)
        legendre, trigonometric = separable_tables(degree, self.n_theta, self.n_phi, normalization)
        by_order = coefficients[..., _by_order(degree)]  # [*batch, 2 l + 1, l + 1]; the Legendre table pads with zeros
        heights = torch.einsum("...ml,mlt->...tm", by_order, legendre.to(coefficients))
        return heights @ trigonometric.to(coefficients)

    def from_grid(
        self,
        signal: Float[Tensor, "*batch theta phi"],
        l_max: int | None = None,
        *,
        normalization: Normalization = "integral",
    ) -> Float[Tensor, "*batch coefficients"]:
        """The coefficients up to degree `l_max`, by quadrature: the inverse of `to_grid` on functions of that degree."""
        check_normalization(normalization)
        degree = self.l_max if l_max is None else l_max
        check_degree(degree)
        if tuple(signal.shape[-2:]) != self.shape:
            raise ValueError(f"signal: expected {self.shape} on the last two axes, given {tuple(signal.shape[-2:])}")
        # Σ_m Y² of "integral" is its own dual; the others are divided by the square of their scale.
        squares = [(scale(l, "integral") / scale(l, normalization)) ** 2 for l in range(degree + 1)]
        weighted = signal * self.weights.to(signal)
        if degree <= DENSE_DEGREE:
            table = _dense(degree, self.n_theta, self.n_phi, normalization).to(signal)
            out = weighted.flatten(-2) @ table.mT
        else:
            legendre, trigonometric = separable_tables(degree, self.n_theta, self.n_phi, normalization)
            heights = weighted @ trigonometric.to(signal).mT
            by_order = torch.einsum("...tm,mlt->...ml", heights, legendre.to(signal))
            out = by_order.flatten(-2)[..., _from_order(degree)]
        if normalization == "integral":
            return out
        dual = torch.tensor([s for l, s in enumerate(squares) for _ in range(2 * l + 1)], dtype=torch.float64)
        return out * dual.to(signal)

    def __repr__(self) -> str:
        return f"S2Grid(l_max={self.l_max}, exact_for={self.exact_for}, n_theta={self.n_theta}, n_phi={self.n_phi})"


def _azimuth(n_phi: int) -> Tensor:
    return torch.arange(n_phi, dtype=torch.float64) * (2 * math.pi / n_phi)


@functools.cache
def _dense(l_max: int, n_theta: int, n_phi: int, normalization: Normalization) -> Tensor:
    points = sphere_points(gauss_legendre(n_theta)[0], _azimuth(n_phi)).reshape(-1, 3)
    return torch.cat(spherical_harmonics(l_max, points, normalization=normalization), -1).mT.contiguous()


@functools.cache
def separable_tables(l_max: int, n_theta: int, n_phi: int, normalization: Normalization) -> tuple[Tensor, Tensor]:
    """Legendre functions `[2 l_max + 1, l_max + 1, n_theta]`, zero where l < |m|, and cos and sin `[2 l_max + 1, n_phi]`."""
    table = legendre_table(l_max, gauss_legendre(n_theta)[0])
    factors = torch.tensor([scale(l, normalization) for l in range(l_max + 1)], dtype=torch.float64)
    table = table * factors[:, None]
    orders = torch.arange(-l_max, l_max + 1).double()[:, None]
    azimuth = _azimuth(n_phi)
    trigonometric = torch.where(orders < 0, torch.sin(-orders * azimuth), torch.cos(orders * azimuth))
    trigonometric[orders.flatten() != 0] *= math.sqrt(2)
    return table[torch.arange(-l_max, l_max + 1).abs()], trigonometric


@functools.cache
def _by_order(l_max: int) -> Tensor:
    """Where coefficient (m, l) is in the flat order, `[2 l_max + 1, l_max + 1]`; 0 where there is none."""
    order = torch.arange(-l_max, l_max + 1)[:, None]
    degree = torch.arange(l_max + 1)
    return torch.where(degree >= order.abs(), degree**2 + degree + order, 0)


@functools.cache
def _from_order(l_max: int) -> Tensor:
    pairs = [(l, m) for l in range(l_max + 1) for m in range(-l, l + 1)]
    return torch.tensor([(m + l_max) * (l_max + 1) + l for l, m in pairs])
