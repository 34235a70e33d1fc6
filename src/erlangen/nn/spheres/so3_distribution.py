"""A head that turns coefficients into densities over rotations."""

from typing import Any

from torch import Tensor, nn

from erlangen.groups.harmonics import SO3Grid
from erlangen.nn.spheres.rotation_density import RotationDensity


class SO3Distribution(nn.Module):
    """Coefficients of a log-density on SO(3) to a `RotationDensity`: `[B, dim] -> log_prob, mode, sample, entropy`.

    `irreps` is the type of the input, "1x0+3x1+5x2+..." up to `l_max`: what an `InductionLayer` or a `DegreeLinear`
    puts out. The loss of pose estimation is `-head(x).log_prob(R).mean()`; the published one takes the nearest rotation of
    the grid instead of R.

    Args:
        l_max: the highest degree; details of a density are about 180° / l_max wide.
        grid_level: densities integrate to 1 over 72 · 8^level rotations (4,608 at level 2, 36,864 at 3, 2,359,296 at 5).

    Raises ValueError for a negative degree or a level `SO3Grid` has not.
    """

    def __init__(self, l_max: int, grid_level: int = 3) -> None:
        super().__init__()
        if l_max < 0:
            raise ValueError(f"l_max: {l_max}; at least 0")
        self.l_max, self.grid_level = l_max, SO3Grid(grid_level).level
        self.dim = sum((2 * l + 1) ** 2 for l in range(l_max + 1))

    @property
    def irreps(self) -> str:
        return "+".join(f"{2 * l + 1}x{l}" for l in range(self.l_max + 1))

    @property
    def symmetries(self) -> list[Any]:
        """Turning the coefficients turns the density; a density is not a tensor, so this is proved by tests."""
        return []

    def forward(self, coefficients: Tensor, *, grid_level: int | None = None) -> RotationDensity:
        if coefficients.shape[-1] != self.dim:
            raise ValueError(
                f"coefficients: last axis {coefficients.shape[-1]}, expected {self.dim} for l_max = {self.l_max}"
            )
        return RotationDensity(coefficients, grid_level=self.grid_level if grid_level is None else grid_level)

    def extra_repr(self) -> str:
        return f"l_max={self.l_max}, grid_level={self.grid_level}"
