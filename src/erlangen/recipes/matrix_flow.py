"""What a flow on SU(n) looks like without its symmetry: a network on matrix entries, for comparison."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from erlangen.groups.manifolds import SpecialUnitary
from erlangen.groups.unitary import antihermitian_basis


class MatrixFlow(nn.Module):
    """U̇ = U Σ_k v_k(t, U) E_k with a one-layer network v on the entries of U: any density, no symmetry.

    The divergence Σ_k dv_k(U E_k) is exact, so that the comparison is about the symmetry and not about noise.
    """

    basis: Tensor

    def __init__(self, n: int, hidden: int, *, steps: int) -> None:
        super().__init__()
        self.manifold, self.steps = SpecialUnitary(n), steps
        self.register_buffer("basis", antihermitian_basis(n, traceless=True, dtype=torch.float32) * math.sqrt(2))
        self.weight = nn.Parameter(torch.randn(hidden, 2 * n * n))
        self.bias = nn.Parameter(torch.randn(3, hidden))
        self.outer = nn.Parameter(torch.zeros(n * n - 1, hidden))

    def _rates(self, t: float, u: Tensor) -> tuple[Tensor, Tensor]:
        bias = self.bias[0] + t * self.bias[1] + t * t * self.bias[2]
        inner = torch.tanh(_entries(u) @ self.weight.mT + bias)
        directions = u[:, None] @ self.basis
        along = _entries(directions) @ self.weight.mT
        divergence = ((along * self.outer).sum(1) * (1 - inner.square())).sum(-1)
        speed = inner @ self.outer.mT
        return (directions * speed[..., None, None]).sum(1), divergence

    def _integrate(self, u: Tensor, step: float, start: float) -> tuple[Tensor, Tensor]:
        change = torch.zeros(len(u))
        eye = torch.eye(u.shape[-1], dtype=u.dtype)
        for index in range(self.steps):
            t = start + index * step
            v1, d1 = self._rates(t, u)
            v2, d2 = self._rates(t + step / 2, u + step / 2 * v1)
            v3, d3 = self._rates(t + step / 2, u + step / 2 * v2)
            v4, d4 = self._rates(t + step, u + step * v3)
            u = u + step / 6 * (v1 + 2 * (v2 + v3) + v4)
            u = u @ (3 * eye - u.mH @ u) / 2  # a Newton step towards the unitary polar factor
            change = change + step / 6 * (d1 + 2 * (d2 + d3) + d4)
        return u, change

    def sample_with_log_prob(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        start = self.manifold.sample((n,), generator=generator)
        u, change = self._integrate(start, 1 / self.steps, 0.0)
        return u, -change

    def log_prob(self, u: Tensor) -> Tensor:
        return self._integrate(u, -1 / self.steps, 1.0)[1]


def _entries(u: Tensor) -> Tensor:
    return torch.view_as_real(u).flatten(-3)
