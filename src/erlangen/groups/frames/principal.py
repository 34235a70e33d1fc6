"""Centre and principal axes of clouds, in float64, with masks: what the frames of space are made from."""

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from erlangen.groups.frames.base import check_finite, checked_mask
from erlangen.groups.frames.eigenvectors import eigh_safe

_ROUND_OFF = 1e-14


@dataclass(frozen=True)
class Principal:
    """Axes `[*B, n, n]` (columns, by falling variance), centre `[*B, n]`, the shares `[*B, n]` of the variances in
    their sum, the root mean square radius `[*B]`, the centred points as columns `[*B, n, N]` (zero where masked), and
    their covariance over its trace `[*B, n, n]`."""

    axes: Tensor
    centre: Tensor
    shares: Tensor
    radius: Tensor
    columns: Tensor
    covariance: Tensor

    @property
    def gap(self) -> Tensor:
        """The smallest difference of neighbouring shares, `[*B]`: 0 where the axes are not defined."""
        if self.shares.shape[-1] == 1:
            return torch.where(self.radius > 0, 1.0, 0.0)
        return (self.shares[..., :-1] - self.shares[..., 1:]).amin(-1)


def centred(x: Tensor, mask: Tensor | None, center: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Points less their centre as columns `[*B, n, N]`, the centre `[*B, n]` and the number of points `[*B]`, in float64.

    Rows of three numbers are slow to add and multiply; columns of N are not.
    """
    if x.ndim < 2 or 0 in x.shape[-2:]:
        raise ValueError(f"x: shape {tuple(x.shape)}; needs clouds [..., N, n] of at least one point")
    if not x.is_floating_point():
        raise TypeError(f"x: {x.dtype}; needs floating-point points")
    mask = checked_mask(x, mask)
    columns = x.mT.to(torch.float64, memory_format=torch.contiguous_format, copy=True)
    if mask is None:
        count = columns.new_full(x.shape[:-2], float(x.shape[-2]))
    else:
        columns = torch.where(mask[..., None, :], columns, 0.0)
        count = mask.sum(-1).to(columns)
    centre = columns.sum(-1) / count[..., None]
    if not bool(torch.isfinite(centre).all()):
        check_finite(x, mask)
    if not center:
        return columns, torch.zeros_like(centre), count
    columns = columns.sub_(centre[..., None])
    return (columns if mask is None else columns * mask[..., None, :]), centre, count


def principal(x: Tensor, mask: Tensor | None = None, *, center: bool, differentiable: bool = True) -> Principal:
    """Principal axes of clouds `[*B, N, n]`; raises ValueError, naming the sample, for NaN and infinity."""
    columns, centre, count = centred(x, mask, center)
    flat = columns @ columns.mT
    total = flat.diagonal(dim1=-2, dim2=-1).sum(-1)
    scale = torch.ones_like(total)
    if bool(((total < 1e-200) | (total > 1e200)).any()):
        scale = columns.detach().abs().amax((-2, -1))
        scale = torch.where(scale > 0, scale, 1.0)
        inner = columns / scale[..., None, None]
        flat = inner @ inner.mT
        total = flat.diagonal(dim1=-2, dim2=-1).sum(-1)
    noise = (_ROUND_OFF * centre.detach().abs().amax(-1) / scale).square() * count
    real = total.detach() > noise
    share = torch.where(real[..., None, None], flat / torch.where(real, total, 1.0)[..., None, None], 0.0)
    shares, axes = eigh_safe(share) if differentiable else torch.linalg.eigh(share.detach())
    radius = torch.where(real, scale * (torch.where(real, total, 1.0) / count).sqrt(), 0.0)
    return Principal(axes.flip(-1), centre, shares.flip(-1), radius, columns, share)


def proper(axes: Tensor) -> Tensor:
    """Flip the last column where needed so that the determinant is one."""
    turn = torch.linalg.det(axes.detach()).sign()
    return torch.cat([axes[..., :-1], axes[..., -1:] * turn[..., None, None]], -1)


def signs(n: int, *, even: bool, device: torch.device | None = None) -> Tensor:
    """All choices of sign `[2^n, n]`, or the `2^(n-1)` with an even number of minus signs; float64, all plus first."""
    every = torch.tensor(list(itertools.product((1.0, -1.0), repeat=n)), dtype=torch.float64, device=device)
    return every[every.prod(-1) > 0] if even else every


def signed(axes: Tensor, *, reflections: bool) -> Tensor:
    """The axes `[*B, n, n]` with all signs, `[*B, F, n, n]`; without reflections only those of determinant one."""
    n = axes.shape[-1]
    turned = axes if reflections else proper(axes)
    return turned[..., None, :, :] * signs(n, even=not reflections, device=axes.device)[:, None, :]


def homogeneous(matrix: Tensor, shift: Tensor) -> Tensor:
    """Affine maps `[..., n+1, n+1]` from matrices `[..., n, n]` and shifts `[..., n]`, which broadcast."""
    n = matrix.shape[-1]
    top = torch.cat([matrix, shift.expand(*matrix.shape[:-2], n)[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., -1] = 1
    return torch.cat([top, bottom], -2)
