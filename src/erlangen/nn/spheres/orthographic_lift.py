"""The fixed lift of an image to the sphere that a learned induction layer is compared with."""

from typing import Any

import torch
from torch import Tensor, nn

from erlangen.nn.spheres.camera import Grid, Size, check_grid, lifted, pixel_polar, polar_matrix, ring_radii, waves


class OrthographicLift(nn.Module):
    """Every pixel goes straight up to the near half of the unit sphere, then to harmonics: `[B, C, H, W] -> [B, dim]`.

    c_{l,m} = mean over the disc of f(x, y) Y_{lm}(x, y, √(1 - x² - y²)), for l = 0 .. `l_max`, laid out as
    "Cx0+Cx1+...+Cx{l_max}" (`mul_ir`, camera axes). The mean over the image is the integral over the half sphere with a
    weight that falls to 0 at the rim as the cosine of the angle to the axis. Nothing is learned.

    D. Klee, O. Biza, R. Platt, R. Walters, "Image to Sphere: Learning Equivariant Features for Efficient Pose
    Prediction", 2023, arXiv:2302.13926; their code samples a HEALPix grid and fades the rim over a chosen width.

    Raises ValueError for a map that is not square; warns where the degrees are aliased on it.
    """

    table: Tensor

    def __init__(self, in_channels: int, l_max: int, image_size: Size, *, grid: Grid = "square") -> None:
        super().__init__()
        if in_channels < 1 or l_max < 0:
            raise ValueError(f"in_channels, l_max: {in_channels}, {l_max}; at least 1 and 0")
        self.in_channels, self.l_max, self.grid = in_channels, l_max, grid
        self.height, self.width = check_grid(image_size, grid, l_max)
        self.dim = in_channels * (l_max + 1) ** 2
        if grid == "polar":
            angle = torch.arange(self.width, dtype=torch.float64) * (2 * torch.pi / self.width)
            radius, angle = (part.flatten() for part in torch.meshgrid(ring_radii(self.height), angle, indexing="ij"))
            weight = radius * (2 / (self.height * self.width))
        else:
            radius, angle = (part.flatten() for part in pixel_polar(self.height))
            weight = torch.full_like(radius, 4 / (torch.pi * self.height**2))
        table = []
        for degree, profile in enumerate(lifted(l_max, radius)):
            heights = torch.cat([profile[:, degree + 1 :].flip(-1), profile[:, degree:]], -1)
            turned = heights * waves(angle, degree).mT
            turned[:, torch.arange(2 * degree + 1) != degree] /= 2**0.5
            table.append((turned * weight[:, None]) @ polar_matrix(degree))
        self.register_buffer("table", torch.cat(table, 1), persistent=False)

    @property
    def irreps(self) -> str:
        """The type of the output."""
        return "+".join(f"{self.in_channels}x{degree}" for degree in range(self.l_max + 1))

    @property
    def symmetries(self) -> list[Any]:
        return []

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 4 or x.shape[1:] != (self.in_channels, self.height, self.width):
            raise ValueError(
                f"x: shape {tuple(x.shape)}; expected [batch, {self.in_channels}, {self.height}, {self.width}]"
            )
        flat = x.flatten(2) @ self.table.to(x)
        return torch.cat([flat[..., l * l : (l + 1) ** 2].flatten(1) for l in range(self.l_max + 1)], 1)

    def extra_repr(self) -> str:
        return f"{self.in_channels} channels -> {self.irreps}, {self.grid} {self.height} x {self.width}"
