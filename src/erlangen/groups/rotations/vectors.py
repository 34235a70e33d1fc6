"""Rotations of space as three numbers: axis times angle, and Rodrigues' (Gibbs') vector. Neither can be continuous."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.lie.exponential import rotation_exp
from erlangen.groups.rotations.checks import require_last, rotations
from erlangen.groups.rotations.planes import dot, in_blocks
from erlangen.groups.rotations.quaternions import from_quaternion, quaternion_of, quaternion_planes


def from_axis_angle(v: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation vector (unit axis times angle in radians) -> rotation matrix; smooth everywhere, 0 included.

    The full angle: the reference code of Zhou et al. (2019) turns by 2θ here.
    """
    require_last(v, 3, "v")
    return rotation_exp(v, 3)


def axis_angle_of(matrix: Tensor) -> Tensor:
    """`to_axis_angle` without looking whether these are rotations."""
    return in_blocks(_axis_angle_rows, matrix.reshape(-1, 9)).view(*matrix.shape[:-2], 3)


def _axis_angle_rows(rows: Tensor) -> Tensor:
    planes = quaternion_planes(rows)
    w, vector = planes[0], planes[1:]
    square = dot(vector, vector)
    near = square < (1e-4 if rows.dtype == torch.float64 else 2.5e-3)
    # near 0: 2 atan2(s, w) / s = (2 / w) (1 - (s/w)²/3 + (s/w)⁴/5 - ...)
    inverse = 1 / torch.where(near, w, 1.0)
    t = torch.where(near, square, 0.0) * inverse * inverse
    series = 2 * inverse * (1 - t * (1 / 3 - t * (1 / 5 - t * (1 / 7 - t * (1 / 9 - t / 11)))))
    size = torch.where(near, 1.0, square).sqrt()
    factor = torch.where(near, series, 2 * torch.atan2(size, w) / size)
    return (factor * vector).t().contiguous()


def to_axis_angle(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 3"]:
    """Rotation matrix -> rotation vector of length at most π.

    Discontinuous at half a turn (the cut locus), where v and -v are one rotation and one of them is returned. Accurate
    to round-off at 0 and near π, and differentiable at the identity.

    Raises ValueError for a matrix that is not a rotation unless `project`.
    """
    return axis_angle_of(rotations(matrix, project=project, n=3))


def from_rodrigues(r: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rodrigues (Gibbs) vector tan(θ/2) · axis -> rotation matrix: R^3 onto the rotations by less than half a turn."""
    require_last(r, 3, "r")
    return from_quaternion(torch.cat([torch.ones_like(r[..., :1]), r], -1))


def to_rodrigues(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 3"]:
    """Rotation matrix -> Rodrigues vector tan(θ/2) · axis.

    Rotations by half a turn lie at infinity.

    Raises ValueError for a rotation by half a turn (to round-off), and for a matrix that is not a rotation unless
    `project`.
    """
    q = quaternion_of(rotations(matrix, project=project, n=3))
    w = q[..., 0]
    half_turn = w <= 4 * torch.finfo(q.dtype).eps
    if bool(half_turn.any()):
        index = half_turn.nonzero()[0].tolist()
        raise ValueError(
            f"matrix: entry {index or ''} is a rotation by half a turn ({math.pi:.4f}), which has no Rodrigues vector"
        )
    return q[..., 1:] / w[..., None]
