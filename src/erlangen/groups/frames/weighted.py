"""A continuous frame of SO(n), O(n), SE(n) and E(n): weighted poses that the points themselves span."""

import functools
import itertools

import torch
from torch import Tensor

from erlangen.groups.affine import SE, E
from erlangen.groups.base import Group
from erlangen.groups.frames.base import FrameBatch
from erlangen.groups.frames.pca import orthogonal_group
from erlangen.groups.frames.principal import centred, homogeneous, signs
from erlangen.groups.orthogonal import O

MAX_SIZE = 4096
FLAT = 1e-7


class WeightedFrame:
    """Poses spanned by tuples of points, weighted by the squared volume that the tuple spans.

    Every ordered choice of n - 1 of the centred points gives a pose by Gram-Schmidt, its last axis by determinant one
    (SO, SE) or with both signs (O, E); its weight is the Gram determinant of the choice over the sum. A pose jumps only
    where its weight vanishes, so that the average of a continuous function is continuous wherever the points span n - 1
    dimensions, also where variances agree. No unweighted frame of these groups can be continuous.

    `[*B, N, n]` -> elements `[*B, F, n, n]` or `[*B, F, n+1, n+1]`, weights `[*B, F]`; F is N (N-1) in space (twice that
    with reflections) and N in the plane. Points that span fewer dimensions r < n - 1 use choices of r points, completed
    by any orthonormal basis with all signs: exact for outputs that are invariant, points or vectors.

    Equivariant Frames and the Impossibility of Continuous Canonicalization (Dym, Lawrence, Siegel, 2024, arXiv 2402.16077)
    defines such frames; the weights here are polynomial in the points.

    Raises ValueError for more than `max_size` elements; draw a few of a larger frame with `StochasticFrame`.
    """

    exact = True
    continuous = True
    size: int | None = None

    def __init__(
        self, group: str | Group, *, max_size: int = MAX_SIZE, differentiable: bool = True, flat: float = FLAT
    ) -> None:
        self.group = orthogonal_group(group)
        self.affine, self.reflections = isinstance(self.group, (SE, E)), type(self.group) in (O, E)
        self.n: int = self.group.point_dim  # type: ignore[assignment]
        self.max_size = max_size
        self.differentiable = differentiable
        self.flat = flat

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> FrameBatch:
        if x.shape[-1] != self.n:
            raise ValueError(f"x: {self.group} moves points of {self.n} coordinates, given shape {tuple(x.shape)}")
        source = x if self.differentiable else x.detach()
        columns, centre, _ = centred(source, mask, self.affine)
        away = columns.mT
        scale = away.detach().abs().amax((-2, -1), keepdim=True)
        away = away / torch.where(scale > 0, scale, 1.0)
        rank = self._rank(away.detach()).clamp_max(self.n - 1)
        ranks = sorted(set(rank.flatten().tolist()), reverse=True) or [self.n - 1]
        found = [(rank == r, *self._poses(away[rank == r], r)) for r in ranks]
        if len(found) == 1:
            size = found[0][2].shape[-1]
            rotation = found[0][1].reshape(*rank.shape, size, self.n, self.n)
            weights = found[0][2].reshape(*rank.shape, size)
        else:
            size = max((part.shape[-3] for _, part, _ in found), default=1)
            rotation = torch.eye(self.n, dtype=away.dtype, device=away.device).repeat(*rank.shape, size, 1, 1)
            weights = away.new_zeros(*rank.shape, size)
            for chosen, part, weight in found:
                missing = size - part.shape[-3]
                part = torch.cat([part, part[:, :1].expand(-1, missing, -1, -1)], 1)
                rotation = rotation.index_put((chosen,), part)
                weights = weights.index_put((chosen,), torch.nn.functional.pad(weight, (0, missing)))
        elements = homogeneous(rotation, centre[..., None, :]) if self.affine else rotation
        return FrameBatch(elements, weights).to(x.dtype)

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The share of the (n-1)-th largest principal standard deviation in the largest, `[*B]`: 0 where the points
        span fewer than n - 1 dimensions, the only place where the frame jumps; infinite in the plane and the line."""
        columns, _, _ = centred(x.detach(), mask, self.affine)
        values = torch.linalg.svdvals(columns @ columns.mT)
        if self.n < 3:
            return torch.where(values[..., 0] > 0, torch.inf, 0.0).to(x.dtype)
        largest = values[..., 0]
        ratio = values[..., self.n - 2] / torch.where(largest > 0, largest, 1.0)
        return ratio.clamp_min(0).sqrt().to(x.dtype)

    def _rank(self, away: Tensor) -> Tensor:
        values = torch.linalg.eigvalsh(away.mT @ away)
        return (values > self.flat**2 * values[..., -1:].clamp_min(1e-300)).sum(-1)

    def _poses(self, away: Tensor, r: int) -> tuple[Tensor, Tensor]:
        """Rotations `[S, F, n, n]` and weights `[S, F]` of samples `[S, N, n]` that span r (at most n - 1) dimensions."""
        count = away.shape[-2]
        tuples = 1
        for k in range(r):
            tuples *= count - k
        choices = signs(self.n - r, even=False, device=away.device)
        total = tuples * (len(choices) if self.reflections else max(1, len(choices) // 2))
        if total > self.max_size:
            raise ValueError(
                f"x: {count} points give {total} poses, over max_size={self.max_size}; use fewer points, "
                "a larger max_size with StochasticFrame, or PCAFrame"
            )
        index = _choices(count, r).to(away.device)
        axes, volume = _gram_schmidt(away[:, index])
        total_volume = volume.sum(-1, keepdim=True)
        weights = volume / total_volume
        full = _completed(axes)
        full = torch.cat([full[..., :-1], full[..., -1:] * torch.linalg.det(full.detach()).sign()[..., None, None]], -1)
        if not self.reflections:
            choices = choices[choices.prod(-1) > 0]
        every = torch.cat([torch.ones(len(choices), r, dtype=choices.dtype, device=choices.device), choices], -1)
        rotation = (full[:, :, None] * every[:, None, :]).flatten(1, 2)
        return rotation, (weights[..., None] / len(every)).expand(*weights.shape, len(every)).flatten(1)

    def __repr__(self) -> str:
        return f"WeightedFrame({self.group})"


@functools.lru_cache(maxsize=16)
def _choices(count: int, r: int) -> Tensor:
    """Every ordered choice of r of `count` things, `[count! / (count - r)!, r]`."""
    every = list(itertools.permutations(range(count), r))
    return torch.tensor(every, dtype=torch.int64).reshape(len(every), r)


def _gram_schmidt(points: Tensor) -> tuple[Tensor, Tensor]:
    """Orthonormal columns `[..., n, r]` from r points `[..., r, n]`, and their Gram determinant `[...]`."""
    columns: list[Tensor] = []
    volume = points.new_ones(points.shape[:-2])
    for k in range(points.shape[-2]):
        v = points[..., k, :]
        for _ in range(2):
            for u in columns:
                v = v - (v * u).sum(-1, keepdim=True) * u
        square = (v * v).sum(-1)
        whole = (points[..., k, :] * points[..., k, :]).sum(-1)
        real = square.detach() > 1e-24 * whole.detach().clamp_min(1e-300)
        volume = volume * torch.where(real, square, 0.0)
        fallback = _away_from(columns, v.detach())
        columns.append(torch.where(real[..., None], v, fallback) / torch.where(real, square, 1.0).sqrt()[..., None])
    if not columns:
        return points.new_zeros(*points.shape[:-2], points.shape[-1], 0), volume
    return torch.stack(columns, -1), volume


def _away_from(columns: list[Tensor], like: Tensor) -> Tensor:
    """A unit vector orthogonal to the given ones: what stands in for a direction of weight zero."""
    n = like.shape[-1]
    basis = torch.stack(columns, -1).detach() if columns else like.new_zeros(*like.shape, 0)
    left = torch.eye(n, dtype=like.dtype, device=like.device) - basis @ basis.mT
    column = left.norm(dim=-2).argmax(-1)
    v = left.gather(-1, column[..., None, None].expand(*column.shape, n, 1))[..., 0]
    return v / v.norm(dim=-1, keepdim=True)


def _completed(axes: Tensor) -> Tensor:
    """Orthonormal columns `[..., n, r]` completed to a basis `[..., n, n]`."""
    columns = list(axes.unbind(-1))
    n = axes.shape[-2]
    if n == 3 and len(columns) == 2:
        columns.append(torch.linalg.cross(columns[0], columns[1]))
    while len(columns) < n:
        v = _away_from(columns, axes.new_zeros(*axes.shape[:-2], n))
        for u in columns:
            v = v - (v * u).sum(-1, keepdim=True) * u
        columns.append(v / v.norm(dim=-1, keepdim=True))
    return torch.stack(columns, -1)
