"""Distances between rotations, paths and means; uniform draws."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.base import Batch, Device
from erlangen.groups.elements import as_batch, draw_normal
from erlangen.groups.lie.exponential import rotation_exp, rotation_log, safe_norm
from erlangen.groups.orthogonal import haar_orthogonal, rotation_angle, to_special
from erlangen.groups.rotations.checks import require_square
from erlangen.groups.rotations.planes import in_blocks
from erlangen.groups.rotations.procrustes import project
from erlangen.groups.rotations.quaternions import from_quaternion

_FAR = 0.9999  # sin(θ/2) beyond which the arcsine loses more than two digits: the last 1.6 degrees before half a turn


def chordal_distance(a: Float[Tensor, "*#batch n n"], b: Float[Tensor, "*#batch n n"]) -> Tensor:
    """‖A - B‖_F, `[*B]`: 2√2 sin(θ/2) in three dimensions; its gradient at A = B is 0."""
    require_square(a, "a")
    require_square(b, "b", n=a.shape[-1])
    return safe_norm((a - b).flatten(-2))


def geodesic_distance(a: Float[Tensor, "*#batch n n"], b: Float[Tensor, "*#batch n n"]) -> Tensor:
    """The angle of Aᵀ B in radians, `[*B]`; for n > 3 the root of the sum of the squared plane angles.

    n = 3: 2 asin(‖A - B‖_F / (2√2)), and near half a turn atan2(‖Aᵀ B - Bᵀ A‖_F / √8, (tr Aᵀ B - 1)/2), which is
    accurate from 0 to π, where acos of the trace loses half the digits and has infinite slope. The gradient has
    length 1/√2 everywhere but at 0 and π, where it is 0.
    """
    require_square(a, "a")
    require_square(b, "b", n=a.shape[-1])
    n = a.shape[-1]
    if n == 1:
        return (a - b)[..., 0, 0] * 0
    if n > 3:
        return rotation_angle(a.mT @ b)
    a, b = torch.broadcast_tensors(a, b)
    batch = a.shape[:-2]
    a, b = a.reshape(-1, n * n), b.reshape(-1, n * n)
    # the norm's gradient is 0 where the rotations are equal
    length = in_blocks(lambda p, q: torch.linalg.vector_norm(p - q, dim=-1), a, b)
    chord = length / (2 * math.sqrt(n - 1))
    far = chord.detach() > _FAR
    angle = 2 * torch.asin(torch.where(far, torch.zeros_like(chord), chord))
    try:
        rows = far.nonzero()[:, 0]
    except RuntimeError:  # under `torch.vmap` nobody can say which: both forms for all
        safe_a, safe_b = (torch.where(far[:, None], m, torch.ones_like(m)) for m in (a, b))
        wide = _wide_angle(safe_a.unflatten(-1, (n, n)), safe_b.unflatten(-1, (n, n)))
        return torch.where(far, wide, angle).view(batch)
    if len(rows):
        wide = _wide_angle(a[rows].unflatten(-1, (n, n)), b[rows].unflatten(-1, (n, n)))
        angle = angle.index_copy(0, rows, wide)
    return angle.view(batch)


def _wide_angle(a: Tensor, b: Tensor) -> Tensor:
    """The angle of Aᵀ B from its sine and cosine."""
    relative = a.mT @ b
    trace = torch.diagonal(relative, dim1=-2, dim2=-1).sum(-1)
    cos = (trace - 1) / 2 if a.shape[-1] == 3 else trace / 2
    return torch.atan2(safe_norm((relative - relative.mT).flatten(-2)) / math.sqrt(8), cos)


def mean(
    matrix: Float[Tensor, "*batch count n n"],
    weights: Float[Tensor, "*#batch count"] | None = None,
    *,
    metric: Literal["karcher", "chordal"] = "karcher",
    iterations: int = 20,
) -> Float[Tensor, "*batch n n"]:
    """The mean of rotations over the axis before the last two.

    "chordal": the nearest rotation to the weighted mean matrix, argmin Σ w ‖R - R_i‖². "karcher": argmin Σ w θ(R, R_i)²,
    by R <- R exp(Σ w log(Rᵀ R_i)) from the chordal mean until the step is round-off; unique when all rotations lie
    within a ball of radius π/2.

    Raises ValueError for negative weights or weights that sum to 0, and for no rotations.
    """
    require_square(matrix)
    if metric not in ("karcher", "chordal"):
        raise ValueError(f"metric: got {metric!r}; allowed are 'karcher', 'chordal'")
    if matrix.ndim < 3 or matrix.shape[-3] == 0:
        raise ValueError(f"matrix: expected rotations [..., count, n, n] with count >= 1, given {tuple(matrix.shape)}")
    if weights is None:
        weights = matrix.new_ones(matrix.shape[-3])
    total = weights.sum(-1, keepdim=True)
    if bool((weights < 0).any()) or bool((total <= 0).any()):
        raise ValueError("weights: must be at least 0 and not all 0")
    share = (weights / total)[..., None, None]
    n = matrix.shape[-1]
    out = project((share * matrix).sum(-3))
    if metric == "chordal":
        return out
    tolerance = 8 * torch.finfo(matrix.dtype).eps
    for _ in range(iterations):
        step = (share[..., 0] * rotation_log(out[..., None, :, :].mT @ matrix)).sum(-2)
        out = out @ rotation_exp(step, n)
        if bool((step.detach().abs() <= tolerance).all()):
            break
    return out


def slerp(
    a: Float[Tensor, "*#batch n n"], b: Float[Tensor, "*#batch n n"], t: Float[Tensor, "*#steps"] | float
) -> Tensor:
    """The point at time `t` of the shortest path A exp(t log(Aᵀ B)) with constant speed, A at 0 and B at 1.

    `t` broadcasts against the batch. Where Aᵀ B is a half turn the path is one of two (n <= 3) or refused (n > 3,
    `GroupLogError`).
    """
    require_square(a, "a")
    require_square(b, "b", n=a.shape[-1])
    velocity = rotation_log(a.mT @ b)
    time = t[..., None] if isinstance(t, Tensor) else t
    return a @ rotation_exp(time * velocity, a.shape[-1])


def random(
    batch: Batch = (),
    n: int = 3,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype | None = None,
    device: Device = None,
) -> Float[Tensor, "*batch n n"]:
    """Rotations uniform in Haar measure: a normalised Gaussian quaternion for n = 3, a sign-fixed QR otherwise.

    Raises ValueError for n < 1.
    """
    if n < 1:
        raise ValueError(f"n: a rotation has at least one row, given {n}")
    shape = as_batch(batch)
    if n == 3:
        drawn = from_quaternion(draw_normal((*shape, 4), generator, device))
    else:
        drawn = to_special(haar_orthogonal(shape, n, generator, device))
    return drawn.to(dtype or torch.get_default_dtype())
