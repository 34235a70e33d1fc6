"""A camera's frame and that of the harmonics: images turn about the optical axis z, harmonics have their pole at y."""

import functools
import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from erlangen.groups.harmonics import spherical_harmonics, wigner_D_all

Grid = Literal["square", "polar"]
Size = int | tuple[int, int]

# camera x, y, z (right, up, towards the eye) go to z, x, y, so that R_z(θ) becomes R_y(θ) and azimuth is the image's angle
TO_POLAR = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]], dtype=torch.float64)


def in_plane(theta: Tensor) -> Tensor:
    """R_z(θ), the turn of the camera's picture by θ counter-clockwise, `[*batch, 3, 3]`."""
    c, s, zero, one = torch.cos(theta), torch.sin(theta), torch.zeros_like(theta), torch.ones_like(theta)
    return torch.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).unflatten(-1, (3, 3))


@functools.cache
def _polar_matrices(l_max: int) -> tuple[Tensor, ...]:
    return tuple(wigner_D_all(l_max, TO_POLAR))


def polar_matrix(degree: int) -> Tensor:
    """D^l of the change of frame, float64: camera components of degree l to components with the pole on the axis."""
    return _polar_matrices(degree)[degree].clone()


def check_grid(image_size: Size, grid: Grid, order: int) -> tuple[int, int]:
    """Height and width; ValueError for a map that is not square, a warning where `order` is aliased on it."""
    if grid not in ("square", "polar"):
        raise ValueError(f"grid: {grid!r}; allowed: 'square', 'polar'")
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if grid == "square" and height != width:
        raise ValueError(f"image_size: {height} x {width} is not square; an in-plane rotation needs a square map")
    if min(height, width) < 2 and grid == "square":
        raise ValueError(f"image_size: {height}; at least 2")
    safe = int(math.pi * height / 4) if grid == "square" else (width - 1) // 2
    if order > safe:
        unit = "pixels" if grid == "square" else "angles"
        warnings.warn(f"degree {order} is aliased on a map of {width} {unit}; {safe} is safe", stacklevel=3)
    return height, width


def pixel_polar(size: int) -> tuple[Tensor, Tensor]:
    """Radius (1 at the inscribed circle) and angle from x to y, of pixel centres, `[size, size]`, float64."""
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = axis[None, :].expand(size, -1), -axis[:, None].expand(-1, size)
    return torch.hypot(x, y) / (size / 2), torch.atan2(y, x)


def ring_radii(rings: int) -> Tensor:
    """Radii of the rings of a polar map, 1 at the rim: the centres of equal steps."""
    return (torch.arange(rings, dtype=torch.float64) + 0.5) / rings


def square_rings(size: int, n_radial: int) -> Tensor:
    """Gaussian rings from the middle to the inscribed circle, unit norm over the pixels, `[n_radial, size, size]`.

    Unlike those of `groups.circular_harmonics` the last one lies on the circle, so that sums of them reach the rim.
    """
    radius = pixel_polar(size)[0]
    centres = torch.linspace(0, 1, n_radial, dtype=torch.float64)[:, None, None]
    spread = 0.5 / max(1, n_radial - 1)
    rings = torch.exp(-((radius - centres) ** 2) / (2 * spread**2)) * (radius <= 1)
    return rings / rings.flatten(1).norm(dim=1)[:, None, None]


def waves(angle: Tensor, m_max: int) -> Tensor:
    """√2 sin |m|φ for m < 0, 1, √2 cos mφ for m > 0, `[2 m_max + 1, *angle]`."""
    orders = torch.arange(-m_max, m_max + 1, dtype=angle.dtype).reshape(-1, *(1,) * angle.ndim)
    out = torch.where(orders < 0, torch.sin(-orders * angle), torch.cos(orders * angle))
    return torch.where(orders == 0, 1.0, math.sqrt(2)) * out


def lifted(l_max: int, radius: Tensor) -> list[Tensor]:
    """Y_lm over a point of the image at this radius and angle 0, lifted to the near half of the sphere.

    `[*radius, 2 l + 1]` a degree, pole on the optical axis; orders m < 0 vanish there. 0 outside the unit disc. The
    normalisation is "component".
    """
    inside = radius < 1
    r = torch.where(inside, radius, 0.0)
    points = torch.stack([torch.zeros_like(r), (1 - r.square()).sqrt(), r], -1)
    return [y * inside[..., None] for y in spherical_harmonics(l_max, points, normalization="component")]


def turn_map(x: Tensor, theta: Tensor, *, grid: Grid, fibre: int) -> Tensor:
    """A feature map turned counter-clockwise by θ: a polar one as a trigonometric polynomial in the angle, a square one by
    quarter turns; fields of charge p > 0, (Re, Im) in neighbouring channels, also turn by pθ."""
    if grid == "polar":
        spectrum = torch.fft.rfft(x, dim=-1)
        shift = theta.to(x.dtype) * torch.arange(spectrum.shape[-1], dtype=x.dtype, device=x.device)
        turned = torch.fft.irfft(spectrum * torch.polar(torch.ones_like(shift), -shift), n=x.shape[-1], dim=-1)
    else:
        turned = torch.rot90(x, round(float(theta) / (math.pi / 2)), (-2, -1))
    if not fibre:
        return turned
    real, imaginary = turned[:, 0::2], turned[:, 1::2]
    c, s = torch.cos(fibre * theta).to(x.dtype), torch.sin(fibre * theta).to(x.dtype)
    return torch.stack([c * real - s * imaginary, s * real + c * imaginary], 2).flatten(1, 2)
