"""A pointwise nonlinearity on functions on SO(3), by a quadrature grid."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from erlangen.groups.harmonics import wigner_D_all
from erlangen.groups.rotations.euler import axis_rotation
from erlangen.nn.spheres.camera import TO_POLAR


def _circle(count: int) -> Tensor:
    return torch.arange(count, dtype=torch.float64) * (2 * torch.pi / count)


class RotationActivation(nn.Module):
    """f -> σ(f) for C functions on SO(3) up to degree `l_max`: `[B, dim] -> [B, dim]`, multiplicity C (2 l + 1) in degree l.

    f_c(R) = Σ_l √(2 l + 1) Σ_{nm} x_{l,c,n,m} D^l_{mn}(R). The grid is a multiple of four angles, at least 2 L + 1,
    about the optical axis, L + 1 Gauss-Legendre heights and 2 L + 1 turns for L = `l_max` + `extra`: without σ it gives the
    coefficients back exactly. σ makes degrees above L that fold back, so equivariance holds up to that aliasing, which
    `extra` lowers; for quarter turns about the optical axis z, which permute the grid, it is exact.

    Raises ValueError for sizes below 1.
    """

    table: Tensor
    back: Tensor

    def __init__(
        self, channels: int, l_max: int, *, activation: Callable[[Tensor], Tensor] = torch.relu, extra: int = 0
    ) -> None:
        super().__init__()
        if channels < 1 or l_max < 0 or extra < 0:
            raise ValueError(f"channels, l_max, extra: {channels}, {l_max}, {extra}; at least 1, 0, 0")
        self.channels, self.l_max, self.activation = channels, l_max, activation
        import numpy as np

        top = l_max + extra
        nodes, node_weights = np.polynomial.legendre.leggauss(top + 1)
        left, right = (axis_rotation(_circle(count), 1) for count in (4 * (top // 2 + 1), 2 * top + 1))
        tilt = axis_rotation(torch.acos(torch.from_numpy(nodes)), 0)
        rotations = torch.einsum("ij,ajk,bkl,clm->abcim", TO_POLAR.T, left, tilt, right).flatten(0, 2)
        weights = torch.from_numpy(node_weights / 2)[None, :, None].expand(len(left), -1, len(right))
        weights = weights / (len(left) * len(right))
        blocks = wigner_D_all(l_max, rotations)
        # coefficient (n, m) multiplies √(2l+1) D_mn
        table = torch.cat([(2 * l + 1) ** 0.5 * d.mT.flatten(1) for l, d in enumerate(blocks)], 1)
        self.register_buffer("table", table.mT.contiguous(), persistent=False)
        self.register_buffer("back", (table * weights.flatten()[:, None]).contiguous(), persistent=False)

    @property
    def symmetries(self) -> list[Any]:
        return []

    @property
    def irreps(self) -> str:
        """The type of input and output."""
        return "+".join(f"{self.channels * (2 * l + 1)}x{l}" for l in range(self.l_max + 1))

    def forward(self, x: Tensor) -> Tensor:
        sizes = [self.channels * (2 * l + 1) ** 2 for l in range(self.l_max + 1)]
        if x.shape[-1] != sum(sizes):
            raise ValueError(f"x: last axis {x.shape[-1]}, expected {sum(sizes)} for {self.irreps}")
        split = torch.cat([part.unflatten(-1, (self.channels, -1)) for part in x.split(sizes, -1)], -1)
        signal = self.activation(split @ self.table.to(x))
        found = signal @ self.back.to(x)
        widths = [(2 * l + 1) ** 2 for l in range(self.l_max + 1)]
        return torch.cat([part.flatten(-2) for part in found.split(widths, -1)], -1)

    def extra_repr(self) -> str:
        return f"{self.channels} functions, l_max={self.l_max}, {self.table.shape[1]} rotations"
