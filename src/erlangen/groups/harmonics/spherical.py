"""Real spherical harmonics in e3nn's basis, where degree 1 is (x, y, z), and a quadrature that integrates them."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Normalization = Literal["integral", "component", "norm"]


def check_degree(l_max: int, name: str = "l_max") -> None:
    """Raise ValueError for a negative degree."""
    if l_max < 0:
        raise ValueError(f"{name}: expected at least 0, given {l_max}")


def check_normalization(normalization: str) -> None:
    """Raise ValueError for a normalisation that does not exist."""
    if normalization not in ("integral", "component", "norm"):
        raise ValueError(f"normalization: expected 'integral', 'component' or 'norm', given {normalization!r}")


def scale(degree: int, normalization: Normalization) -> float:
    """What a harmonic with Σ_m Y² = 2 l + 1 is multiplied by to have the normalisation asked for."""
    if normalization == "integral":
        return 1 / math.sqrt(4 * math.pi)
    return 1.0 if normalization == "component" else 1 / math.sqrt(2 * degree + 1)


def spherical_harmonics(
    l_max: int, x: Float[Tensor, "*batch 3"], *, normalization: Normalization
) -> list[Float[Tensor, "*batch _"]]:
    """Real spherical harmonics of degrees 0 .. l_max at the directions `x` (any length but 0).

    The polar axis is y and the order m = -l .. l puts degree 1 at (x, y, z), as e3nn does.

    Args:
        l_max: the highest degree.
        x: directions; they are normalised, so a zero vector gives NaN.
        normalization: "integral": ∫ Y² = 1 over the sphere; "component": Σ_m Y² = 2 l + 1; "norm": Σ_m Y² = 1.

    Returns:
        One tensor `[*batch, 2 l + 1]` a degree.
    """
    check_degree(l_max)
    check_normalization(normalization)
    unit = x / x.norm(dim=-1, keepdim=True)
    factors = [scale(degree, normalization) for degree in range(l_max + 1)]
    # Degree 0 is constant, yet a direction that does not exist has none of it either.
    out = [unit[..., :1] * 0 + factors[0]]
    if l_max >= 1:
        out.append(unit * (math.sqrt(3) * factors[1]))
    if l_max < 2:
        return out
    across, along, front = unit.unbind(-1)
    # With y as the pole, the azimuth is that of (z, x): cosines[m] + i sines[m] = (z + i x)^m.
    cosines, sines = [None, front], [None, across]
    for _ in range(2, l_max + 1):
        c, s = cosines[-1], sines[-1]
        cosines.append(c * front - s * across)
        sines.append(c * across + s * front)
    columns = [_legendre_column(l_max, m, along) for m in range(l_max + 1)]
    for degree in range(2, l_max + 1):
        negative, positive = [], []
        for m in range(1, degree + 1):
            weight = columns[m][degree - m] * (math.sqrt(2) * factors[degree])
            negative.append(weight * sines[m])
            positive.append(weight * cosines[m])
        out.append(torch.stack([*negative[::-1], columns[0][degree] * factors[degree], *positive], -1))
    return out


def _legendre_column(l_max: int, m: int, z: Tensor) -> list:
    """Associated Legendre functions of order m and degrees m .. l_max over sin^m, scaled so that Σ_m Y² = 2 l + 1.

    The first is a number, the others polynomials in `z`.
    """
    first = 1.0
    for k in range(1, m + 1):
        first *= math.sqrt((2 * k + 1) / (2 * k))
    column: list = [first]
    for degree in range(m + 1, l_max + 1):
        a = math.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
        if degree == m + 1:
            column.append(z * (a * first))
            continue
        b = math.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
        value = (z * a) * column[-1]
        column.append(value - (a * b) * column[-2])
    return column


def sphere_quadrature(degree: int) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
    """Points and weights, float64, that average polynomials up to `degree` exactly over the sphere."""
    nodes, weights = gauss_legendre(degree // 2 + 1)
    azimuth = torch.arange(degree + 1, dtype=torch.float64) * (2 * math.pi / (degree + 1))
    points = sphere_points(nodes, azimuth)
    share = (weights / 2)[:, None].expand(len(nodes), degree + 1) / (degree + 1)
    return points.reshape(-1, 3), share.reshape(-1)


def sphere_points(nodes: Float[Tensor, " theta"], azimuth: Float[Tensor, " phi"]) -> Float[Tensor, "theta phi 3"]:
    """The product grid of heights `nodes` = cos θ along y and azimuths counted from z towards x."""
    sine = (1 - nodes.square()).sqrt()
    return torch.stack(
        [
            sine[:, None] * torch.sin(azimuth),
            nodes[:, None].expand(len(nodes), len(azimuth)),
            sine[:, None] * torch.cos(azimuth),
        ],
        -1,
    )


def gauss_legendre(count: int) -> tuple[Float[Tensor, " count"], Float[Tensor, " count"]]:
    """Nodes and weights on [-1, 1] that integrate polynomials up to degree 2 count - 1, exactly antisymmetric."""
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy((nodes - nodes[::-1]) / 2), torch.from_numpy((weights + weights[::-1]) / 2)


def legendre_table(l_max: int, nodes: Float[Tensor, " theta"]) -> Float[Tensor, "orders degrees theta"]:
    """Associated Legendre functions at cos θ = `nodes`, order first, zero where the degree is below the order.

    Times √2 cos mφ or √2 sin mφ (1 for m = 0) they are the harmonics with Σ_m Y² = 2 l + 1.
    """
    table = nodes.new_zeros(l_max + 1, l_max + 1, len(nodes))
    sine = (1 - nodes.square()).sqrt()
    for m in range(l_max + 1):
        for degree, value in enumerate(_legendre_column(l_max, m, nodes), m):
            table[m, degree] = value * sine**m
    return table
