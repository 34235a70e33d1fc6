"""Frames: for every input a small set of group elements that moves with the input, `F(g·x) = g F(x)`.

Averaging a function over a frame makes it symmetric without averaging over the group: Frame Averaging for Invariant
and Equivariant Network Design (Puny, Atzmon, Ben-Hamu, Misra, Grover, Smith, Lipman, 2022, arXiv 2110.03336).
"""

import itertools
from typing import Any

import torch
from torch import Tensor


def check_cloud(x: Tensor) -> None:
    """Raise ValueError, naming the sample, for points that hold NaN or infinity."""
    finite = torch.isfinite(x).flatten(-2).all(-1)
    if not bool(finite.all()):
        index = (~finite).nonzero()[0].tolist()
        raise ValueError(f"x: NaN or infinity in sample {index or 0}; give finite points")


def principal_axes(x: Tensor, *, center: bool, min_gap: float = 1e-7) -> tuple[Tensor, Tensor]:
    """Axes `[*B, n, n]` (columns, by growing variance) and centre `[*B, n]` of a cloud `[*B, N, n]`, in float64.

    Raises ValueError where two variances agree within `min_gap` of their sum: the axes are not defined there
    (collinear points, equal points, regular polytopes).
    """
    check_cloud(x)
    x = x.double()
    centre = x.mean(-2) if center else torch.zeros_like(x[..., 0, :])
    away = x - centre.unsqueeze(-2)
    covariance = away.mT @ away
    variances, axes = torch.linalg.eigh(covariance)
    gaps = (variances[..., 1:] - variances[..., :-1]) / variances.sum(-1, keepdim=True).clamp_min(1e-300)
    close = (gaps < min_gap).any(-1)
    if bool(close.any()):
        index = close.nonzero()[0].tolist()
        raise ValueError(
            f"x: the principal axes of sample {index or 0} are not defined (two variances agree); "
            "add a little noise, or use a backbone that is symmetric by construction"
        )
    return axes, centre


def signs(n: int) -> Tensor:
    """All `2^n` choices of sign, `[2^n, n]`."""
    return torch.tensor(list(itertools.product((1.0, -1.0), repeat=n)), dtype=torch.float64)


def proper(axes: Tensor) -> Tensor:
    """Flip the last column where needed so that the determinant is one."""
    last = torch.linalg.det(axes).sign().unsqueeze(-1)
    return torch.cat([axes[..., :-1], axes[..., -1:] * last.unsqueeze(-1)], -1)


def pca_frame(x: Tensor, *, center: bool, reflections: bool) -> tuple[Tensor, Tensor]:
    """The PCA frame of `x: [*B, N, n]`: rotations `[F, *B, n, n]` and the centre `[*B, n]`.

    `F` is `2^n` with reflections and `2^(n-1)` without; all signs under SO(n) would silently give O(n).
    """
    axes, centre = principal_axes(x, center=center)
    n = x.shape[-1]
    if reflections:
        return torch.stack([axes * s.to(axes) for s in signs(n)]), centre
    return torch.stack([proper(torch.cat([axes[..., :-1] * s.to(axes), axes[..., -1:]], -1)) for s in signs(n - 1)]), (
        centre
    )


def canonical_axes(x: Tensor, *, center: bool, reflections: bool) -> tuple[Tensor, Tensor]:
    """One element of the frame: every axis points to where the third moment is positive.

    Exact where no third moment vanishes; point-symmetric clouds need the whole frame.
    """
    axes, centre = principal_axes(x, center=center)
    along = (x.double() - centre.unsqueeze(-2)) @ axes
    moment = along.pow(3).sum(-2)
    turn = torch.where(moment < 0, -1.0, 1.0)
    axes = axes * turn.unsqueeze(-2)
    return (axes if reflections else proper(axes)).unsqueeze(0), centre


def sort_frame(x: Tensor) -> Tensor:
    """The permutation `[*B, N]` that sorts the rows of `x: [*B, N, C]` lexicographically (`g⁻¹·x` is sorted).

    Rows that agree in every column are interchangeable, so that their order does not matter.
    """
    check_cloud(x)
    order = torch.arange(x.shape[-2], device=x.device).expand(x.shape[:-1])
    for column in reversed(range(x.shape[-1])):
        keys = torch.gather(x[..., column].detach(), -1, order)
        order = torch.gather(order, -1, torch.argsort(keys, dim=-1, stable=True))
    return order


def homogeneous(rotation: Tensor, shift: Tensor) -> Tensor:
    """Elements of E(n), `[..., n+1, n+1]`, from rotations `[..., n, n]` and shifts `[..., n]`."""
    n = rotation.shape[-1]
    shift = shift.expand(*rotation.shape[:-2], n)
    top = torch.cat([rotation, shift.unsqueeze(-1)], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom = torch.cat([bottom[..., :-1], torch.ones_like(bottom[..., -1:])], -1)
    return torch.cat([top, bottom], -2)


def frame_size(elements: Any) -> int:
    """The number of elements in a frame `[F, ...]`, whatever the encoding."""
    return frame_size(elements[0]) if isinstance(elements, tuple) else int(elements.shape[0])


def pick(elements: Any, i: int) -> Any:
    """The `i`-th element of a frame."""
    return tuple(pick(e, i) for e in elements) if isinstance(elements, tuple) else elements[i]
