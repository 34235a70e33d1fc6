"""Euler angles in all twelve orders, about moving or fixed axes."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.rotations.checks import require_last, rotations

Axes = Literal["moving", "fixed"]
ORDERS = ("xyz", "xzy", "yxz", "yzx", "zxy", "zyx", "xyx", "xzx", "yxy", "yzy", "zxz", "zyz")


def _parse(order: str) -> tuple[tuple[int, int, int], Axes]:
    lower = order.lower()
    if lower not in ORDERS or order not in (lower, order.upper()):
        raise ValueError(
            f"order: got {order!r}; allowed are {', '.join(ORDERS)}, in capitals for moving (intrinsic) axes, in small "
            "letters for fixed (extrinsic) ones"
        )
    i, j, k = ("xyz".index(letter) for letter in lower)
    return (i, j, k), ("moving" if order.isupper() else "fixed")


def axis_rotation(angle: Float[Tensor, "*batch"], axis: int) -> Float[Tensor, "*batch 3 3"]:
    """The rotation by `angle` about coordinate axis 0, 1 or 2."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    one, zero = torch.ones_like(angle), torch.zeros_like(angle)
    j, k = (axis + 1) % 3, (axis + 2) % 3
    entries = [zero] * 9
    entries[4 * axis] = one
    entries[4 * j] = entries[4 * k] = cos
    entries[3 * j + k], entries[3 * k + j] = -sin, sin
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def from_euler(angles: Float[Tensor, "*batch 3"], order: str) -> Float[Tensor, "*batch 3 3"]:
    """Three angles in radians -> rotation matrix.

    Capitals turn about moving axes, "XYZ": R = Rx(a) Ry(b) Rz(c); small letters about fixed ones, "xyz":
    R = Rz(c) Ry(b) Rx(a), as in SciPy. There is no default order: two programs rarely mean the same.

    Raises ValueError for an order that is not one of the twelve.
    """
    require_last(angles, 3, "angles")
    axes, kind = _parse(order)
    first, second, third = (axis_rotation(angles[..., i], axis) for i, axis in enumerate(axes))
    return first @ second @ third if kind == "moving" else third @ second @ first


def to_euler(matrix: Float[Tensor, "*batch 3 3"], order: str, *, project: bool = False) -> Float[Tensor, "*batch 3"]:
    """Rotation matrix -> angles in radians: the outer two in (-π, π], the middle one in [-π/2, π/2] (three different
    axes) or [0, π] (the first axis again).

    Discontinuous; at the ends of the middle range only the sum or difference of the outer angles is determined, and the
    third is set to 0. The middle angle is an arctangent, accurate there too.

    Raises ValueError for an unknown order, and for a matrix that is not a rotation unless `project`.
    """
    axes, kind = _parse(order)
    m = rotations(matrix, project=project, n=3)
    i, j, k = axes if kind == "moving" else axes[::-1]  # fixed i, j, k are moving k, j, i
    repeated = i == k
    if repeated:
        k = 3 - i - j
    sign = 1.0 if (i, j, k) in ((0, 1, 2), (1, 2, 0), (2, 0, 1)) else -1.0
    if repeated:
        size = torch.hypot(m[..., i, j], m[..., i, k])
        middle = torch.atan2(size, m[..., i, i])
        first = torch.atan2(m[..., j, i], -sign * m[..., k, i])
        last = torch.atan2(m[..., i, j], sign * m[..., i, k])
    else:
        size = torch.hypot(m[..., i, i], m[..., i, j])
        middle = torch.atan2(sign * m[..., i, k], size)
        first = torch.atan2(-sign * m[..., j, k], m[..., k, k])
        last = torch.atan2(-sign * m[..., i, j], m[..., i, i])
    locked = size < (1e-7 if m.dtype == torch.float64 else 1e-4)
    together = torch.atan2(sign * m[..., k, j], m[..., j, j])  # the first angle when the last one is 0
    if kind == "moving":
        outer = (torch.where(locked, together, first), torch.where(locked, torch.zeros_like(last), last))
    else:  # the third angle of fixed axes is the first one about moving axes
        alone = torch.atan2(-sign * m[..., j, k] if repeated else sign * m[..., j, i], m[..., j, j])
        outer = (torch.where(locked, alone, last), torch.where(locked, torch.zeros_like(first), first))
    found = torch.stack([outer[0], middle, outer[1]], -1)
    return torch.where(found == -math.pi, math.pi, found)
