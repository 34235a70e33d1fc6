"""Unit quaternions (w, x, y, z) and the ten-number symmetric representation whose eigenvector is one."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.lie.spectral import eigh_safe
from erlangen.groups.rotations.checks import (
    Degenerate,
    occurs,
    raise_degenerate,
    require_last,
    require_mode,
    rotations,
)
from erlangen.groups.rotations.planes import in_blocks, to_planes


def from_quaternion(
    q: Float[Tensor, "*batch 4"], *, scalar_last: bool = False, on_degenerate: Degenerate = "complete"
) -> Float[Tensor, "*batch 3 3"]:
    """Quaternion (w, x, y, z), or (x, y, z, w) with `scalar_last`, of any length but 0 -> rotation matrix.

    q and -q are one rotation, so `to_quaternion` cannot be continuous: no map from SO(3) to R^4 can (Zhou et al., 2019,
    arXiv:1812.07035). A zero quaternion becomes the identity, with gradient 0, or a ValueError naming the rows.
    """
    require_last(q, 4, "q")
    require_mode(on_degenerate)
    rows = q.reshape(-1, 4)
    out = in_blocks(lambda x: _matrix_rows(x.roll(1, -1) if scalar_last else x, on_degenerate), rows)
    return out.view(*q.shape[:-1], 3, 3)


def _matrix_rows(q: Tensor, on_degenerate: Degenerate) -> Tensor:
    """Quaternions `[N, 4]` -> matrices `[N, 9]`."""
    w, x, y, z = to_planes(q).unbind(0)
    square = torch.addcmul(torch.addcmul(torch.addcmul(w * w, x, x), y, y), z, z)
    least, most = square.detach().aminmax() if square.numel() else (square.new_ones(()), square.new_ones(()))
    if occurs((least <= 1e-18) | (most >= 1e18)):  # zero, or beyond what squares of float32 can hold
        size = q.detach().abs().amax(-1)
        zero = size == 0
        if on_degenerate == "raise" and occurs(zero):
            raise_degenerate(zero, "a quaternion of length 0")
        scale = torch.where(zero, torch.ones_like(size), size)
        w = torch.where(zero, torch.ones_like(size), w / scale)
        x, y, z = (torch.where(zero, torch.zeros_like(size), v / scale) for v in (x, y, z))
        square = w * w + x * x + y * y + z * z
    s = 2 / square
    sx, sy, sz = s * x, s * y, s * z
    xx, yy, zz = sx * x, sy * y, sz * z
    xy, xz, yz, wx, wy, wz = sx * y, sx * z, sy * z, sx * w, sy * w, sz * w
    entries = (1 - (yy + zz), xy - wz, xz + wy, xy + wz, 1 - (xx + zz), yz - wx, xz - wy, yz + wx, 1 - (xx + yy))
    return torch.stack(entries, -1)


def quaternion_planes(rows: Tensor) -> Tensor:
    """Matrices `[N, 9]` -> unit quaternions with w >= 0 as `[4, N]`, read off the largest row of 4 q qᵀ."""
    m = to_planes(rows)
    a, b, c = m[0], m[4], m[8]
    wx, wy, wz = m[7] - m[5], m[2] - m[6], m[3] - m[1]
    xy, xz, yz = m[1] + m[3], m[2] + m[6], m[5] + m[7]
    one_plus, one_minus, plus, minus = 1 + a, 1 - a, b + c, b - c
    ww, xx, yy, zz = one_plus + plus, one_plus - plus, one_minus + minus, one_minus - minus
    with torch.no_grad():
        is_w = (ww >= xx) & (ww >= yy) & (ww >= zz)
        is_x = (xx >= yy) & (xx >= zz)
        is_y = yy >= zz
    row = [
        torch.where(is_w, w, torch.where(is_x, x, torch.where(is_y, y, z)))
        for w, x, y, z in ((ww, wx, wy, wz), (wx, xx, xy, xz), (wy, xy, yy, yz), (wz, xz, yz, zz))
    ]
    square = row[0] * row[0]
    for entry in row[1:]:
        square = torch.addcmul(square, entry, entry)
    scale = square.rsqrt() * torch.where(row[0] < 0, -1.0, 1.0)
    return torch.stack([entry * scale for entry in row])


def quaternion_of(matrix: Tensor) -> Tensor:
    """`to_quaternion` without looking whether these are rotations."""
    out = in_blocks(lambda rows: quaternion_planes(rows).t(), matrix.reshape(-1, 9))
    return out.contiguous().view(*matrix.shape[:-2], 4)


def to_quaternion(
    matrix: Float[Tensor, "*batch 3 3"], *, scalar_last: bool = False, project: bool = False
) -> Float[Tensor, "*batch 4"]:
    """Rotation matrix -> unit quaternion with w >= 0; discontinuous at half a turn, where w = 0 and the sign jumps.

    The quaternion is read off the largest row of 4 q qᵀ, so that no entry is the root of a difference.

    Raises ValueError for a matrix that is not a rotation unless `project`.
    """
    q = quaternion_of(rotations(matrix, project=project, n=3))
    return q.roll(-1, -1) if scalar_last else q


def quaternion_product(p: Float[Tensor, "*#batch 4"], q: Float[Tensor, "*#batch 4"]) -> Tensor:
    """Hamilton's product of (w, x, y, z): the rotation of p after that of q."""
    require_last(p, 4, "p")
    require_last(q, 4, "q")
    a, b, c, d = p.unbind(-1)
    w, x, y, z = q.unbind(-1)
    entries = (
        a * w - b * x - c * y - d * z,
        a * x + b * w + c * z - d * y,
        a * y - b * z + c * w + d * x,
        a * z + b * y - c * x + d * w,
    )
    return torch.stack(entries, -1)


def quaternion_conjugate(q: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 4"]:
    """(w, -x, -y, -z): the inverse rotation of a unit quaternion."""
    require_last(q, 4, "q")
    return torch.cat([q[..., :1], -q[..., 1:]], -1)


_ROWS, _COLUMNS = torch.triu_indices(4, 4)
_PLACES = torch.zeros(4, 4, dtype=torch.int64)
_PLACES[_ROWS, _COLUMNS] = _PLACES[_COLUMNS, _ROWS] = torch.arange(10)


def from_10d(x: Float[Tensor, "*batch 10"], *, on_degenerate: Degenerate = "complete") -> Float[Tensor, "*batch 3 3"]:
    """Ten numbers as the upper triangle of a symmetric 4 x 4 matrix A -> the rotation of its quaternion
    argmin_{‖q‖=1} qᵀ A q, the eigenvector of the smallest eigenvalue.

    Continuous right inverse `to_10d`; the gap between the two smallest eigenvalues says how certain A is. Where the
    smallest eigenvalue is double (relative gap below 1e3 machine epsilons) the solver's choice is kept and gets gradient
    0, or, with `on_degenerate="raise"`, the rows are named in a ValueError.

    Source: Peretroukhin et al., A smooth representation of belief over SO(3), 2020, arXiv:2006.01031.
    """
    require_last(x, 10, "x")
    require_mode(on_degenerate)
    matrix = x[..., _PLACES.to(x.device)]
    values, vectors = eigh_safe(matrix)
    gap = (values[..., 1] - values[..., 0]).detach()
    double = gap <= 1e3 * torch.finfo(x.dtype).eps * values.detach().abs().amax(-1)
    q = vectors[..., 0]
    if occurs(double):
        if on_degenerate == "raise":
            raise_degenerate(double, "a double smallest eigenvalue")
        q = torch.where(double[..., None], q.detach(), q)
    return from_quaternion(q)


def to_10d(matrix: Float[Tensor, "*batch 3 3"], *, project: bool = False) -> Float[Tensor, "*batch 10"]:
    """The upper triangle of I - q qᵀ, for which `from_10d` returns this rotation; continuous, because q and -q agree.

    Raises ValueError for a matrix that is not a rotation unless `project`.
    """
    q = quaternion_of(rotations(matrix, project=project, n=3))
    outer = torch.eye(4, dtype=q.dtype, device=q.device) - q[..., :, None] * q[..., None, :]
    return outer[..., _ROWS.to(q.device), _COLUMNS.to(q.device)]
