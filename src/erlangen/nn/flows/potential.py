"""Scalar functions on a manifold whose gradients drive a flow."""

from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.manifolds import Manifold, riemannian_divergence


class Potential(nn.Module):
    """A time-dependent function φ_t on a manifold: `forward(t, x) -> [*batch]`.

    A subclass gives `forward`, which must treat batch entries separately; the gradient field and its divergence, the
    Laplacian of φ_t, then come from automatic differentiation, one forward-mode derivative a tangent direction. Closed
    forms override `field_and_divergence`.
    """

    @property
    def symmetries(self) -> list[Any]:
        """None is promised of a potential by itself."""
        return []

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} needs forward(t, x) -> value")

    def field(self, manifold: Manifold, t: Tensor, x: Tensor) -> Tensor:
        """∇_M φ_t(x): the ambient gradient projected onto the tangent space, `[*batch, *shape]`."""
        gradient = torch.func.grad(lambda y: self(t, y).sum())(x)
        return manifold.project_tangent(x, gradient)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """∇_M φ_t and Δ_M φ_t = div ∇_M φ_t, `[*batch, *shape]` and `[*batch]`."""
        return self.field(manifold, t, x), riemannian_divergence(manifold, lambda y: self.field(manifold, t, y), x)


class TimePolynomial(nn.Module):
    """Coefficients that are polynomials in time, c(t) = Σ_d c_d t^d, zero to begin with: `() -> [size]`."""

    def __init__(self, size: int, degree: int = 2) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.zeros(degree + 1, size))

    def forward(self, t: Tensor) -> Tensor:
        powers = t ** torch.arange(len(self.coefficients), dtype=t.dtype, device=t.device)
        return powers @ self.coefficients.to(t.dtype)
