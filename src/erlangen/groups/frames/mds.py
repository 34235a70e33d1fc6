"""A frame of one element: the pose of classical multidimensional scaling, its signs settled by moments."""

from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.frames.base import FrameBatch, OnDegenerate, choice, first_sample
from erlangen.groups.frames.pca import MIN_GAP
from erlangen.groups.frames.principal import Principal, homogeneous, principal, proper, signs

Chirality = Literal["ignore", "keep"]
Sign = Literal["moment", "average"]
MIN_MOMENT = 1e-9
BLOCK = 48 * 1024


class MDSFrame:
    """Coordinates that depend on the distances between points alone, as a frame.

    Classical scaling `-½ J D² J = V Λ Vᵀ`, `H = V_d Λ_d^{1/2}`, of points `X` are their principal coordinates
    `H = X_c U` (X_c centred, U the eigenvectors of the d x d covariance, falling), so that the cost is O(N d²) and not
    O(N³). `H = scale⁻¹ (x - t) U`; elements are `x = scale · H Uᵀ + t`, `[*B, F, d+1, d+1]`.

    Args:
        dim: how many coordinates `coordinates` keeps; None for all.
        scale: divide by the root mean square radius, so that the size of the cloud does not matter either.
        chirality: "ignore": mirror images agree (E(d)); "keep": d - 1 signs are settled and the last axis follows from
            determinant one (SE(d)).
        sign: how the sign of an axis is settled. "moment": the third moment `Σ_i h_ik³` is positive; where it vanishes the
            fifth; where that does too, the entry of largest magnitude. "average": all signs, frame averaging.
        center: subtract the centre (False: rotations only, elements `[*B, F, d, d]`).
        on_degenerate: where two variances agree, "raise" or "perturb" (a random one of the possible poses).
        differentiable: let gradients flow through the pose.

    The pose jumps where variances agree or a moment vanishes: see `margin`.

    Revisiting Transformation Invariant Geometric Deep Learning: Are Initial Representations All You Need? (Zhang, Wang,
    Zhang, Cui, Zhu, 2021, arXiv 2112.12345). The sign rule of the paper could not be checked against its code; this
    one does not depend on the order of the points, unlike the sign of the first entry.
    """

    continuous = False

    def __init__(
        self,
        dim: int | None = None,
        scale: bool = True,
        chirality: Chirality = "ignore",
        sign: Sign = "moment",
        *,
        center: bool = True,
        on_degenerate: OnDegenerate = "raise",
        differentiable: bool = True,
        min_gap: float = MIN_GAP,
        generator: torch.Generator | None = None,
    ) -> None:
        choice("chirality", chirality, ("ignore", "keep"))
        choice("sign", sign, ("moment", "average"))
        choice("on_degenerate", on_degenerate, ("raise", "perturb"))
        if dim is not None and dim < 1:
            raise ValueError(f"dim: {dim}; at least one coordinate is needed")
        self.dim, self.scale, self.chirality, self.sign = dim, scale, chirality, sign
        self.center, self.differentiable, self.min_gap = center, differentiable, min_gap
        self.on_degenerate, self.generator = on_degenerate, generator
        self.exact = on_degenerate != "perturb"
        self.size: int | None = 1 if sign == "moment" else None

    def __call__(self, x: Tensor, mask: Tensor | None = None) -> FrameBatch:
        if self.dim is not None and self.dim != x.shape[-1]:
            raise ValueError(f"dim: {self.dim} of {x.shape[-1]} coordinates have no inverse; `coordinates` gives them")
        found = self._principal(x, mask)
        axes = self._poses(found)
        stretched = axes * found.radius[..., None, None, None] if self.scale else axes
        elements = homogeneous(stretched, found.centre[..., None, :]) if self.center else stretched
        return FrameBatch(elements, axes.new_full(axes.shape[:-2], 1 / axes.shape[-3])).to(x.dtype)

    def coordinates(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The invariant coordinates `[*B, N, dim]` of clouds `[*B, N, n]` (`[*B, F, N, dim]` with sign="average")."""
        if self.dim is not None and self.dim > x.shape[-1]:
            raise ValueError(f"dim: {self.dim} coordinates of points with {x.shape[-1]}; at most that many")
        found = self._principal(x, mask)
        axes = self._poses(found)
        if self.scale:
            axes = axes / torch.where(found.radius > 0, found.radius, 1.0)[..., None, None, None]
        axes = axes[..., : self.dim] if self.dim is not None else axes
        points = found.columns.to(x.dtype).mT
        axes = axes.to(x.dtype)
        return points[..., None, :, :] @ axes if self.sign == "average" else points @ axes[..., 0, :, :]

    def margin(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The smaller of the relative gap between variances and, with sign="moment", the smallest |skewness|, `[*B]`."""
        found = principal(x, mask, center=self.center, differentiable=False)
        gap = found.gap
        if self.sign == "moment":
            skewness = _moments(found.axes.mT @ found.columns, 3).abs()
            gap = torch.minimum(gap, (skewness[..., :-1] if self.chirality == "keep" else skewness).amin(-1))
        return gap.to(x.dtype)

    def _principal(self, x: Tensor, mask: Tensor | None) -> Principal:
        found = principal(x, mask, center=self.center, differentiable=self.differentiable)
        degenerate = found.gap.detach() < self.min_gap
        if not bool(degenerate.any()):
            return found
        if self.on_degenerate == "raise":
            raise ValueError(
                f"x: the principal axes of sample {first_sample(degenerate)} are not defined (two variances agree); "
                "use on_degenerate='perturb', or add a little noise"
            )
        shape = found.covariance.shape
        source = self.generator.device if self.generator is not None else torch.device("cpu")
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64, device=source).to(found.axes.device)
        shaken = torch.linalg.eigh(found.covariance.detach() + 100 * self.min_gap * (noise + noise.mT)).eigenvectors
        axes = torch.where(degenerate[..., None, None], shaken.flip(-1), found.axes)
        return Principal(axes, found.centre, found.shares, found.radius, found.columns, found.covariance)

    def _poses(self, found: Principal) -> Tensor:
        """The axes with their signs, `[*B, F, n, n]`."""
        keep = self.chirality == "keep"
        if self.sign == "average":
            axes = proper(found.axes) if keep else found.axes
            choices = signs(axes.shape[-1], even=keep, device=axes.device)
            return axes[..., None, :, :] * choices[:, None, :]
        axes = found.axes * settled_signs(found.axes.detach(), found.columns.detach())[..., None, :]
        return (proper(axes) if keep else axes)[..., None, :, :]

    def __repr__(self) -> str:
        return f"MDSFrame(dim={self.dim}, scale={self.scale}, chirality={self.chirality!r}, sign={self.sign!r})"


def _moments(h: Tensor, power: int) -> Tensor:
    """`Σ_i h_ki^p / (Σ_i h_ki²)^{p/2}` of the rows of `h: [*B, n, N]`, at most one in magnitude, `[*B, n]`."""
    square = h * h
    odd = h if power == 3 else square * h
    total = (odd @ square.mT).diagonal(dim1=-2, dim2=-1)
    size = square.sum(-1)
    return total / torch.where(size > 0, size, 1.0).pow(power / 2)


def settled_signs(axes: Tensor, columns: Tensor) -> Tensor:
    """The signs `[*B, n]` of the axes `[*B, n, n]` for which the third moments of points `[*B, n, N]` are positive.

    Where a third moment vanishes the fifth decides, then the entry of largest magnitude. Works through the batch in
    blocks that stay in the cache: fresh memory for all of it would cost more than the arithmetic.
    """
    shape, size = columns.shape, columns.shape[-2] * columns.shape[-1]
    blocks = zip(
        axes.reshape(-1, *axes.shape[-2:]).split(max(1, BLOCK // size)),
        columns.reshape(-1, *shape[-2:]).split(max(1, BLOCK // size)),
        strict=True,
    )
    found = [_signs_of(turn.mT @ part) for turn, part in blocks]
    return torch.cat(found).reshape(shape[:-1])


def _signs_of(h: Tensor) -> Tensor:
    moment = _moments(h, 3)
    vague = moment.abs() < MIN_MOMENT
    if bool(vague.any()):
        peak = h.gather(-1, h.abs().argmax(-1, keepdim=True))
        unit = h / torch.where(peak == 0, 1.0, peak.abs())
        third, fifth = _moments(unit, 3), _moments(unit, 5)
        settled = torch.where(fifth.abs() < MIN_MOMENT, peak[..., 0], fifth)
        moment = torch.where(vague, torch.where(third.abs() < MIN_MOMENT, settled, third), moment)
    return torch.where(moment < 0, -1.0, 1.0).to(h)
