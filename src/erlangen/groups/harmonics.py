"""Real spherical harmonics and Wigner D matrices in e3nn's basis, where degree 1 is (x, y, z) and D¹(R) == R."""

import functools
import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Normalization = Literal["integral", "component", "norm"]


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
    if l_max < 0:
        raise ValueError(f"l_max: expected at least 0, given {l_max}")
    if normalization not in ("integral", "component", "norm"):
        raise ValueError(f"normalization: expected 'integral', 'component' or 'norm', given {normalization!r}")
    unit = x / x.norm(dim=-1, keepdim=True)
    across, along, front = unit[..., 0], unit[..., 1], unit[..., 2]
    # With y as the pole, the azimuth is that of (z, x): cosines[m] + i sines[m] = (z + i x)^m.
    cosines, sines = [torch.ones_like(along)], [torch.zeros_like(along)]
    for _ in range(l_max):
        c, s = cosines[-1], sines[-1]
        cosines.append(c * front - s * across)
        sines.append(c * across + s * front)
    legendre = _legendre(l_max, along)
    out = []
    for degree in range(l_max + 1):
        negative = [math.sqrt(2) * legendre[degree, m] * sines[m] for m in range(degree, 0, -1)]
        positive = [math.sqrt(2) * legendre[degree, m] * cosines[m] for m in range(1, degree + 1)]
        value = torch.stack([*negative, legendre[degree, 0], *positive], -1)
        if normalization == "integral":
            value = value / math.sqrt(4 * math.pi)
        elif normalization == "norm":
            value = value / math.sqrt(2 * degree + 1)
        out.append(value)
    return out


def _legendre(l_max: int, z: Tensor) -> dict[tuple[int, int], Tensor]:
    """Associated Legendre functions without their factor sin^m, scaled so that Σ_m Y² = 2 l + 1."""
    p = {(0, 0): torch.ones_like(z)}
    for m in range(l_max + 1):
        if m:
            p[m, m] = p[m - 1, m - 1] * math.sqrt((2 * m + 1) / (2 * m))
        for degree in range(m + 1, l_max + 1):
            a = math.sqrt((4 * degree**2 - 1) / (degree**2 - m**2))
            value = z * p[degree - 1, m]
            if degree > m + 1:
                b = math.sqrt(((degree - 1) ** 2 - m**2) / (4 * (degree - 1) ** 2 - 1))
                value = value - b * p[degree - 2, m]
            p[degree, m] = a * value
    return p


def sphere_quadrature(degree: int) -> tuple[Float[Tensor, "points 3"], Float[Tensor, " points"]]:
    """Points and weights, float64, that average polynomials up to `degree` exactly over the sphere."""
    nodes, weights = _gauss_legendre(degree // 2 + 1)
    azimuth = torch.arange(degree + 1, dtype=torch.float64) * (2 * math.pi / (degree + 1))
    sine = (1 - nodes.square()).sqrt()
    points = torch.stack(
        [
            sine[:, None] * torch.sin(azimuth),
            nodes[:, None].expand(len(nodes), degree + 1),
            sine[:, None] * torch.cos(azimuth),
        ],
        -1,
    )
    share = (weights / 2)[:, None].expand(len(nodes), degree + 1) / (degree + 1)
    return points.reshape(-1, 3), share.reshape(-1)


def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    import numpy as np

    nodes, weights = np.polynomial.legendre.leggauss(count)
    return torch.from_numpy(nodes), torch.from_numpy(weights)


@functools.cache
def lifting(degree: int) -> Float[Tensor, "product degree"]:
    """The isometry from degree l into degree 1 ⊗ degree l - 1, `[3 (2 l - 1), 2 l + 1]`, in float64.

    Its entries are the coefficients of Y_l in the products x_i Y_{l-1}, by exact quadrature; the intertwiner is unique
    up to a factor, which makes its columns orthonormal.
    """
    points, weights = sphere_quadrature(2 * degree)
    harmonics = spherical_harmonics(degree, points, normalization="component")
    products = (points[:, :, None] * harmonics[degree - 1][:, None, :]).flatten(1)
    coefficients = torch.einsum("pa,pm,p->am", products, harmonics[degree], weights)
    return coefficients / coefficients.square().sum(0).mean().sqrt()


def wigner_D(degree: int, rotation: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch m m"]:
    """The matrix of a rotation on real spherical harmonics of one degree: Y_l(R x) = D^l(R) Y_l(x).

    D^l = Cᵀ (R ⊗ D^{l-1}) C with the isometry C = `lifting(l)`: a polynomial in the entries of R, so it has no singular
    angles, is exact to rounding and differentiates everywhere. The same recursion in coordinates is J. Ivanic and
    K. Ruedenberg, "Rotation Matrices for Real Spherical Harmonics", 1996. e3nn goes through Euler angles instead.
    """
    return wigner_D_all(degree, rotation)[degree]


def wigner_D_all(l_max: int, rotation: Float[Tensor, "*batch 3 3"]) -> list[Float[Tensor, "*batch _ _"]]:
    """`wigner_D` for every degree 0 .. l_max, each `[*batch, 2 l + 1, 2 l + 1]`."""
    if l_max < 0:
        raise ValueError(f"degree: expected at least 0, given {l_max}")
    out = [torch.ones_like(rotation[..., :1, :1]), rotation]
    for degree in range(2, l_max + 1):
        c = lifting(degree).to(rotation).unflatten(0, (3, 2 * degree - 1))
        half = torch.einsum("...ab,jbn->...jan", out[-1], c)
        full = torch.einsum("...ij,...jan->...ian", rotation, half)
        out.append(torch.einsum("iam,...ian->...mn", c, full))
    return out[: l_max + 1]
