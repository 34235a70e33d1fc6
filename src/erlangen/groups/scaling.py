"""Uniform scalings of a space of any dimension."""

import math

import torch
from torch import Tensor

from erlangen.groups.base import Batch, Device, LieGroup, Sampler
from erlangen.groups.elements import as_batch, draw_normal, leaves


class Scaling(LieGroup[Tensor]):
    """Uniform scalings x -> s x with s > 0. Element: `()`. Sampled log-normally with spread `radius` (default 0.5)."""

    name = "Scaling"
    dim = 1
    is_compact = False
    is_abelian = True
    is_connected = True
    acts_on_points = True
    matrix_dim = 1

    def identity(self, batch: Batch = (), *, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return torch.ones(as_batch(batch), dtype=dtype or torch.get_default_dtype(), device=device)

    def compose(self, g: Tensor, h: Tensor) -> Tensor:
        return g * h

    def inverse(self, g: Tensor) -> Tensor:
        return 1 / g

    def sample(
        self,
        batch: Batch = (),
        *,
        generator: torch.Generator | None = None,
        dtype: torch.dtype | None = None,
        device: Device = None,
        radius: float | int | None = None,
    ) -> Tensor:
        spread = 0.5 if radius is None else radius
        normal = draw_normal(as_batch(batch), generator, device)
        return torch.exp(spread * normal).to(dtype or torch.get_default_dtype())

    def log_prob(self, g: Tensor, *, radius: float | int | None = None) -> Tensor:
        spread = 0.5 if radius is None else radius
        return -(torch.log(g) / spread).square() / 2 - math.log(spread) - math.log(2 * math.pi) / 2

    def matrix(self, g: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        return g[..., None, None] if dtype is None else g[..., None, None].to(dtype)

    def point_matrix(self, g: Tensor, n: int | None = None, dtype: torch.dtype | None = None) -> Tensor:
        if n is None:
            raise ValueError("n: Scaling acts on points of any dimension; say which")
        m = self.matrix(g, dtype)
        return m * torch.eye(n, dtype=m.dtype, device=m.device)

    def algebra_basis(self, dtype: torch.dtype | None = None, device: Device = None) -> Tensor:
        return torch.ones(1, 1, 1, dtype=dtype or torch.get_default_dtype(), device=device)

    def exp(self, v: Tensor) -> Tensor:
        return torch.exp(v[..., 0])

    def log(self, g: Tensor) -> Tensor:
        return torch.log(g)[..., None]

    def distance(self, g: Tensor, h: Tensor) -> Tensor:
        return (torch.log(g) - torch.log(h)).abs()

    def contains(self, g: Tensor, atol: float = 1e-5) -> Tensor:
        return (g > 0) & torch.isfinite(g)

    def project(self, m: Tensor) -> Tensor:
        return m.abs().clamp_min(torch.finfo(leaves(m)[0].dtype).tiny)

    def parts(self) -> dict[str, Sampler]:
        return {"scale": self.sample}

    def grid(self, num: int) -> Tensor:
        """Identity, then scales from 1/2 to 2 equally spaced in the logarithm."""
        rest = torch.linspace(-math.log(2.0), math.log(2.0), max(num - 1, 1), dtype=torch.float64)
        return torch.cat([torch.ones(1, dtype=torch.float64), torch.exp(rest)])[:num]

    def label(self, g: Tensor) -> str:
        return f"scale {float(g):.3g}"
