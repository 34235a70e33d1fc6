"""A one-layer network on the ambient coordinates of a sphere, with its Laplacian in closed form."""

import torch
from torch import Tensor, nn

from erlangen.groups.manifolds import Manifold, Sphere
from erlangen.nn.flows.potential import Potential, TimePolynomial


class RidgePotential(Potential):
    """φ_t(x) = a(t)·tanh(W x + b(t)) on S^d ⊂ R^{d+1}; no symmetry of its own, to be symmetrised.

    Δ φ = Σ_w a_w tanh''(·) (|W_w|² - (W_w·x)²) - d x·∇φ on the unit sphere.
    """

    def __init__(self, dim: int, hidden: int = 64) -> None:
        super().__init__()
        if dim < 1 or hidden < 1:
            raise ValueError(f"dim, hidden: {dim}, {hidden}; at least 1")
        self.dim, self.hidden = dim, hidden
        self.weight = nn.Parameter(torch.randn(hidden, dim + 1) * 1.5)
        self.bias, self.outer = TimePolynomial(hidden), TimePolynomial(hidden)
        with torch.no_grad():
            self.bias.coefficients.normal_()

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weight.to(x.dtype).mT + self.bias(t)) @ self.outer(t)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(manifold, Sphere) or manifold.dim != self.dim:
            return super().field_and_divergence(manifold, t, x)
        weight, outer = self.weight.to(x.dtype), self.outer(t)
        along = x @ weight.mT
        inner = torch.tanh(along + self.bias(t))
        slope = 1 - inner.square()
        gradient = (outer * slope) @ weight
        radial = (x * gradient).sum(-1, keepdim=True)
        bend = -2 * outer * inner * slope
        spread = (bend * (weight.square().sum(-1) - along.square())).sum(-1)
        return gradient - radial * x, spread - self.dim * radial[..., 0]
