"""The fewest points on the sphere from which the coefficients of a product of functions can be read exactly."""

import functools
import math

import torch
from torch import Tensor

from erlangen.groups.harmonics.gaunt import harmonics_and_gradients
from erlangen.groups.harmonics.spherical import check_degree, gauss_legendre, sphere_points, spherical_harmonics

OVERSAMPLING = 1.1  # the interpolation matrix then has a condition number below 10 up to degree 24


def degrees_of(l_max: int) -> Tensor:
    """The degree of every coefficient in the order l² + l + m, `[(l_max + 1)²]`."""
    return torch.repeat_interleave(torch.arange(l_max + 1), 2 * torch.arange(l_max + 1) + 1)


@functools.cache
def half_grid(l_product: int, l_out: int) -> tuple[Tensor, Tensor]:
    """Points `[half, 3]`, one of every antipodal pair, and the matrix `[half, (l_out + 1)²]` from values to coefficients.

    For a function of degree `l_product` or less, the coefficients up to `l_out` of its even part are the values of the
    even part at these points times the columns of even degrees; likewise for the odd part. An even function of degree L
    is determined by (L + 1)(L + 2) / 2 values: a golden spiral with a tenth more points interpolates them well. Where
    `l_out` is much lower, a Gauss-Legendre quadrature of degree l_product + l_out takes fewer.
    """
    check_degree(l_product, "l_product")
    needed = (l_product + 1) * (l_product + 2) // 2
    spiral = int(OVERSAMPLING * needed)
    heights, turns = _quadrature_size(l_product + l_out)
    return _by_quadrature(heights, turns, l_out) if heights * turns < spiral else _spiral(spiral, l_product, l_out)


def full_grid(l_product: int, l_out: int) -> tuple[Tensor, Tensor]:
    """`half_grid` with both points of every pair: points `[2 half, 3]` and the matrix `[2 half, (l_out + 1)²]`."""
    points, matrix = half_grid(l_product, l_out)
    sign = 1 - 2 * (degrees_of(l_out) % 2)
    return torch.cat([points, -points]), torch.cat([matrix, matrix * sign]) / 2


def values_and_slopes(l_max: int, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Harmonics at the points and their derivatives along two tangents a, b with a × b = u, each `[(l_max + 1)², points]`.

    The bracket u · (∇f × ∇g) of two functions is then f_a g_b - f_b g_a.
    """
    values, gradients = harmonics_and_gradients(l_max, points)
    helper = torch.zeros_like(points)
    helper.scatter_(1, points.abs().argmin(1, keepdim=True), 1.0)
    a = torch.nn.functional.normalize(torch.linalg.cross(helper, points), dim=-1)
    b = torch.linalg.cross(points, a)
    slope = torch.cat(gradients, -1)
    return torch.cat(values, -1).mT, torch.einsum("pam,pa->mp", slope, a), torch.einsum("pam,pa->mp", slope, b)


def values(l_max: int, points: Tensor) -> Tensor:
    """Harmonics at the points, ∫ Y² = 1, `[(l_max + 1)², points]`."""
    return torch.cat(spherical_harmonics(l_max, points, normalization="integral"), -1).mT


def _spiral(count: int, l_product: int, l_out: int) -> tuple[Tensor, Tensor]:
    index = torch.arange(count, dtype=torch.float64)
    azimuth = index * (math.pi * (3 - math.sqrt(5)))
    height = (index + 0.5) / count
    sine = (1 - height.square()).sqrt()
    points = torch.stack([sine * torch.sin(azimuth), height, sine * torch.cos(azimuth)], -1)
    harmonics, degree = values(l_product, points).mT, degrees_of(l_product)
    matrix = torch.zeros(count, (l_out + 1) ** 2, dtype=torch.float64)
    for parity in (0, 1):
        columns = (degree % 2 == parity).nonzero()[:, 0]
        kept = columns < (l_out + 1) ** 2
        matrix[:, columns[kept]] = torch.linalg.pinv(harmonics[:, columns]).mT[:, kept]
    return points, matrix


def _quadrature_size(degree: int) -> tuple[int, int]:
    """Heights, and half of an even number of azimuths."""
    return degree // 2 + 1, degree // 2 + 1


def _by_quadrature(heights: int, turns: int, l_out: int) -> tuple[Tensor, Tensor]:
    nodes, weights = gauss_legendre(heights)
    points = sphere_points(nodes, torch.arange(turns, dtype=torch.float64) * (math.pi / turns)).reshape(-1, 3)
    share = (weights * (math.pi / turns))[:, None].expand(heights, turns).reshape(-1, 1)
    return points, 2 * share * values(l_out, points).mT
