"""Functions of the height along an axis: the potentials invariant under all rotations that fix it."""

import torch
from torch import Tensor, nn

from erlangen.groups.manifolds import Manifold, Sphere
from erlangen.nn.flows.potential import Potential, TimePolynomial


class ZonalPotential(Potential):
    """φ_t(x) = f_t(⟨x, e⟩) on S^d, f_t(s) = a(t)·tanh(w s + b(t)): invariant under the SO(d) that fixes the axis e.

    ∇φ = f'(s) (e - s x) and Δφ = (1 - s²) f''(s) - d s f'(s).

    `axis` is e, normalised here; it need not be a coordinate axis. Raises ValueError where it is zero.
    """

    axis: Tensor

    def __init__(self, axis: Tensor, hidden: int = 32) -> None:
        super().__init__()
        length = axis.double().norm()
        if axis.ndim != 1 or len(axis) < 2 or not bool(length > 0) or not bool(length.isfinite()):
            raise ValueError(f"axis: {axis.tolist()}; a finite vector other than 0, of length at least 2, is needed")
        self.register_buffer("axis", axis.double() / length)
        self.weight = nn.Parameter(torch.randn(hidden) * 2)
        self.bias, self.outer = TimePolynomial(hidden), TimePolynomial(hidden)
        with torch.no_grad():
            self.bias.coefficients.normal_()

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        height = x @ self.axis.to(x.dtype)
        return torch.tanh(height[..., None] * self.weight.to(x.dtype) + self.bias(t)) @ self.outer(t)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(manifold, Sphere):
            return super().field_and_divergence(manifold, t, x)
        axis, weight, outer = self.axis.to(x.dtype), self.weight.to(x.dtype), self.outer(t)
        height = (x @ axis)[..., None]
        inner = torch.tanh(height * weight + self.bias(t))
        slope = 1 - inner.square()
        first = (outer * weight * slope).sum(-1, keepdim=True)
        second = (-2 * outer * weight.square() * inner * slope).sum(-1, keepdim=True)
        divergence = (1 - height.square()) * second - manifold.dim * height * first
        return first * (axis - height * x), divergence[..., 0]
