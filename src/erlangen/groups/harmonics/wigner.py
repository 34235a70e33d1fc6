"""Wigner D matrices of real spherical harmonics, D¹(R) == R: from matrices by recursion, from angles by J matrices."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.harmonics.constants import constant, like
from erlangen.groups.harmonics.spherical import check_degree, sphere_quadrature, spherical_harmonics


@constant(lambda degree: (3 * (2 * degree - 1), 2 * degree + 1))
def lifting(degree: int) -> Tensor:
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
    K. Ruedenberg, "Rotation Matrices for Real Spherical Harmonics", 1996. e3nn goes through Euler angles instead;
    `wigner_D_from_angles` takes them.
    """
    return wigner_D_all(degree, rotation)[degree]


def wigner_D_all(l_max: int, rotation: Float[Tensor, "*batch 3 3"]) -> list[Float[Tensor, "*batch _ _"]]:
    """`wigner_D` for every degree 0 .. l_max, each `[*batch, 2 l + 1, 2 l + 1]`."""
    check_degree(l_max, "degree")
    out = [torch.ones_like(rotation[..., :1, :1]), rotation]
    for degree in range(2, l_max + 1):
        c = like(lifting(degree), rotation).unflatten(0, (3, 2 * degree - 1))
        half = torch.einsum("...ab,jbn->...jan", out[-1], c)
        full = torch.einsum("...ij,...jan->...ian", rotation, half)
        out.append(torch.einsum("iam,...ian->...mn", c, full))
    return out[: l_max + 1]


def wigner_D_from_angles(
    degree: int, alpha: Float[Tensor, "*batch"], beta: Float[Tensor, "*batch"], gamma: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch m m"]:
    """D^l of Y(α) X(β) Y(γ), angles about the axes y, x and y, e3nn's convention, by J matrices.

    With K the constant matrix that takes the axis y to x, D = Y(α) K Y(β) Kᵀ Y(γ), and every Y(·) mixes only the pairs
    (-m, m) by cos mφ and sin mφ: two constant matrices, no matrix exponential. D. Pinchon and P. E. Hoggan, "Rotation
    matrices for real spherical harmonics: general rotations of atomic orbitals in space-fixed axes", 2007.
    """
    check_degree(degree, "degree")
    alpha, beta, gamma = torch.broadcast_tensors(alpha, beta, gamma)
    k = like(_axis_x_to_y(degree), alpha)
    middle = k @ _about_y(degree, beta, k.mT)
    right = _about_y(degree, gamma, None)
    return _about_y(degree, alpha, middle @ right)


@constant(lambda degree: (2 * degree + 1, 2 * degree + 1))
def _axis_x_to_y(degree: int) -> Tensor:
    """K of one degree, the quarter turn about z that carries y to x: X(β) = K Y(β) Kᵀ."""
    rotation = torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return wigner_D(degree, rotation)


def _about_y(degree: int, angle: Tensor, matrix: Tensor | None) -> Tensor:
    """The rotation about the polar axis applied to `matrix` (the identity where None), `[*batch, 2 l + 1, columns]`.

    Component m takes cos mφ of itself and sin mφ of component -m.
    """
    order = torch.arange(-degree, degree + 1, device=angle.device).to(angle.dtype)
    turned = angle[..., None, None] * order[:, None]
    cosine, sine = torch.cos(turned), torch.sin(turned)
    if matrix is None:
        eye = torch.eye(2 * degree + 1, dtype=angle.dtype, device=angle.device)
        return cosine * eye - sine * eye.flip(0)
    return cosine * matrix - sine * matrix.flip(-2)
