"""Exponential and logarithm between antisymmetric coordinates and rotations of R^n, with the cut locus named."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.elements import plane_rotation
from erlangen.groups.lie.cardinal import half_versine, sinc
from erlangen.groups.orthogonal import SO, antisymmetric_basis


def safe_norm(x: Tensor) -> Tensor:
    """‖x‖ over the last axis, with gradient 0 at 0."""
    squared = x.square().sum(-1)
    zero = squared == 0
    return torch.where(zero, torch.zeros_like(squared), torch.where(zero, torch.ones_like(squared), squared).sqrt())


def rotation_dimension(n: int) -> int:
    """n(n - 1)/2, the dimension of SO(n)."""
    return n * (n - 1) // 2


def rotation_exp(v: Float[Tensor, "*batch dim"], n: int) -> Float[Tensor, "*batch n n"]:
    """Coordinates in the basis of `SO(n)` -> rotation: an angle for n = 2, a rotation vector for n = 3.

    Defined and smooth everywhere; for n = 3 Rodrigues' formula with the full angle,
    I + sinc(θ) [v]× + (1 - cos θ)/θ² [v]×², its coefficients by series near θ = 0.

    Raises ValueError unless `v` has n(n - 1)/2 coordinates.
    """
    if v.shape[-1] != rotation_dimension(n):
        raise ValueError(
            f"v: SO({n}) has {rotation_dimension(n)} coordinates, given {v.shape[-1]} (shape {tuple(v.shape)})"
        )
    if n == 2:
        return plane_rotation(v[..., 0])
    if n == 3:
        planes = v.reshape(-1, 3).t().contiguous()
        x, y, z = planes.unbind(0)
        square = (planes * planes).sum(0)
        zero = square == 0
        angle = torch.where(zero, 0.0, torch.where(zero, 1.0, square).sqrt())
        a, b = sinc(angle), half_versine(angle)
        cos, bx, by, bz = 1 - b * square, b * x, b * y, b * z
        ax, ay, az, xy, xz, yz = a * x, a * y, a * z, bx * y, bx * z, by * z
        entries = [
            *(torch.addcmul(cos, bx, x), xy - az, xz + ay),
            *(xy + az, torch.addcmul(cos, by, y), yz - ax),
            *(xz - ay, yz + ax, torch.addcmul(cos, bz, z)),
        ]
        return torch.stack(entries, -1).view(*v.shape[:-1], 3, 3)
    if n == 1:
        return torch.ones(*v.shape[:-1], 1, 1, dtype=v.dtype, device=v.device)
    return torch.linalg.matrix_exp(torch.einsum("...k,kij->...ij", v, antisymmetric_basis(n, v.dtype, v.device)))


def rotation_log(rotation: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch dim"]:
    """Rotation -> coordinates with every plane angle in (-π, π]: the inverse of `rotation_exp` off the cut locus.

    Cut locus: rotations with a plane turned by π. There n = 2 answers π, n = 3 a rotation vector of length π whose
    sign is not determined by the matrix, and n > 3 raises `GroupLogError`. The derivative at the identity is finite
    and exact for n = 2, 3.
    """
    n = rotation.shape[-1]
    if n == 1:
        return rotation.new_zeros(*rotation.shape[:-2], 0)
    if n == 3:
        from erlangen.groups.rotations.vectors import axis_angle_of

        return axis_angle_of(rotation)
    if n == 2:
        return SO(2).log(rotation)
    # in float64, so that only the cut locus itself is refused and not what round-off of the input puts beside it
    return SO(n).log(rotation.double()).to(rotation.dtype)
