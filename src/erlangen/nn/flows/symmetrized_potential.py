"""Any potential made invariant under a finite group of isometries."""

import torch
from torch import Tensor

from erlangen.groups.manifolds import Manifold
from erlangen.nn.flows.potential import Potential


class SymmetrizedPotential(Potential):
    """φ^G_t(x) = 1/|G| Σ_g φ_t(g^{-1} x) for orthogonal matrices g, `[order, dim, dim]`: all elements of a finite group.

    The gradient field is the average of g ∇φ(g^{-1} x), the Laplacian that of the Laplacians, all in one batch. On a
    torus the matrices act on angles and must be integer: permutations and sign changes.

    Raises ValueError where the matrices are not orthogonal, or not closed under products.
    """

    matrices: Tensor

    def __init__(self, potential: Potential, matrices: Tensor) -> None:
        super().__init__()
        if matrices.ndim != 3 or matrices.shape[-1] != matrices.shape[-2] or not len(matrices):
            raise ValueError(f"matrices: shape {tuple(matrices.shape)}; expected [order, dim, dim]")
        elements = matrices.detach().double()
        eye = torch.eye(elements.shape[-1], dtype=torch.float64, device=elements.device)
        if not torch.allclose(elements @ elements.mT, eye, atol=1e-6):
            raise ValueError("matrices: not all orthogonal")
        products = (elements[:, None] @ elements).flatten(0, 1).flatten(1)
        if float(torch.cdist(products, elements.flatten(1)).amin(1).max()) > 1e-5:
            raise ValueError(f"matrices: the {len(elements)} given are not closed under products, so are not a group")
        self.potential = potential
        self.register_buffer("matrices", elements)

    def _turned(self, x: Tensor) -> Tensor:
        return torch.einsum("gij,...i->g...j", self.matrices.to(x.dtype), x)

    def forward(self, t: Tensor, x: Tensor) -> Tensor:
        return self.potential(t, self._turned(x)).mean(0)

    def field_and_divergence(self, manifold: Manifold, t: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        field, divergence = self.potential.field_and_divergence(manifold, t, self._turned(x))
        back = torch.einsum("gij,g...j->...i", self.matrices.to(x.dtype), field) / len(self.matrices)
        return back, divergence.mean(0)
