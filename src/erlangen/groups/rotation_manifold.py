"""SO(n) as a Riemannian manifold."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from erlangen.groups.lie import nearest_orthogonal
from erlangen.groups.manifolds import Device, Manifold
from erlangen.groups.orthogonal import SO


class SpecialOrthogonal(Manifold):
    """SO(n) with ⟨A, B⟩ = tr AᵀB: real matrices `[n, n]`; tangent vectors at R are R times skew matrices."""

    def __init__(self, n: int) -> None:
        if n < 2:
            raise ValueError(f"n: SO(n) as a manifold needs n >= 2, given {n}")
        self.n, self.dim, self.shape, self.name = n, n * (n - 1) // 2, (n, n), f"SpecialOrthogonal({n})"

    @property
    def volume(self) -> float:
        """2^{n(n-1)/4} Π_{k=1}^{n-1} vol(S^k)."""
        spheres = math.prod(2 * math.pi ** ((k + 1) / 2) / math.gamma((k + 1) / 2) for k in range(1, self.n))
        return 2 ** (self.dim / 2) * spheres

    def sample(
        self,
        batch: Sequence[int] = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
    ) -> Tensor:
        kind = dtype or torch.get_default_dtype()
        return SO(self.n).sample(tuple(batch), generator=generator, dtype=kind, device=device)

    def project(self, x: Tensor) -> Tensor:
        return nearest_orthogonal(x, special=True)

    def retract(self, x: Tensor) -> Tensor:
        """Three Newton steps X (3 - XᵀX) / 2 to the polar factor: an error e becomes e⁸."""
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        for _ in range(3):
            x = x @ (3 * eye - x.mT @ x) / 2
        return x

    def project_tangent(self, x: Tensor, v: Tensor) -> Tensor:
        inside = x.mT @ v
        return x @ (inside - inside.mT) / 2

    def tangent_basis(self, x: Tensor) -> Tensor:
        i, j = torch.triu_indices(self.n, self.n, 1, device=x.device)
        basis = torch.zeros(self.dim, self.n, self.n, dtype=x.dtype, device=x.device)
        place = torch.arange(self.dim, device=x.device)
        basis[place, i, j], basis[place, j, i] = -(0.5**0.5), 0.5**0.5
        return x[..., None, :, :] @ basis

    def off(self, x: Tensor) -> Tensor:
        eye = torch.eye(self.n, dtype=x.dtype, device=x.device)
        orthogonal = (x.mT @ x - eye).abs().flatten(-2).amax(-1)
        return torch.maximum(orthogonal, (torch.linalg.det(x) - 1).abs())
