"""A one-layer network on the Fourier modes of a torus, with its Laplacian in closed form."""

import torch
from torch import Tensor, nn

from erlangen.groups.manifolds import Manifold, Torus
from erlangen.nn.flows.potential import Potential, TimePolynomial


class TorusPotential(Potential):
    """φ_t(θ) = a(t)·tanh(W ψ(θ) + b(t)), ψ = cos and sin of m θ_j for m = 1 .. `harmonics`, on the torus of dimension n.

    ∂²φ/∂θ_j² = Σ_w a_w (tanh'' (W ψ_j')² + tanh' W ψ_j''), ψ_j' the derivative of the modes of angle j.
    """

    frequency: Tensor

    def __init__(self, dim: int, hidden: int = 64, *, harmonics: int = 3) -> None:
        super().__init__()
        if min(dim, hidden, harmonics) < 1:
            raise ValueError(f"dim, hidden, harmonics: {dim}, {hidden}, {harmonics}; at least 1")
        self.dim, self.hidden = dim, hidden
        self.register_buffer("frequency", torch.arange(1, harmonics + 1).double(), persistent=False)
        self.weight = nn.Parameter(torch.randn(hidden, dim, 2 * harmonics) / (dim * harmonics) ** 0.5)
        self.bias, self.outer = TimePolynomial(hidden), TimePolynomial(hidden)
        with torch.no_grad():
            self.bias.coefficients.normal_()

    def _modes(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        frequency = self.frequency.to(x.dtype)
        angle = x[..., None] * frequency
        cosine, sine = torch.cos(angle), torch.sin(angle)
        value = torch.cat([cosine, sine], -1)
        first = torch.cat([-sine * frequency, cosine * frequency], -1)
        return value, first, torch.cat([-cosine * frequency**2, -sine * frequency**2], -1)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        inner = torch.einsum("...jm,wjm->...w", self._modes(x)[0], self.weight.to(x.dtype)) + self.bias(t)
        return torch.tanh(inner) @ self.outer(t)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if not isinstance(manifold, Torus) or manifold.dim != self.dim:
            raise ValueError(f"manifold: {manifold.name}; this potential lives on Torus({self.dim})")
        weight, outer = self.weight.to(x.dtype), self.outer(t)
        value, first, second = self._modes(x)
        inner = torch.tanh(torch.einsum("...jm,wjm->...w", value, weight) + self.bias(t))
        slope = 1 - inner.square()
        moved = torch.einsum("...jm,wjm->...jw", first, weight)
        bent = torch.einsum("...jm,wjm->...jw", second, weight).sum(-2)
        field = (moved * (outer * slope)[..., None, :]).sum(-1)
        divergence = (outer * slope * bent - 2 * outer * inner * slope * moved.square().sum(-2)).sum(-1)
        return field, divergence
