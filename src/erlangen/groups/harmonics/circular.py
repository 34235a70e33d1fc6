"""Circular harmonics on a pixel grid: rings with cos mφ and sin mφ on them, the steerable functions of the plane."""

import functools
import math

import torch
from jaxtyping import Float
from torch import Tensor


def circular_harmonics(
    image_size: int,
    m_max: int,
    n_radial: int,
    *,
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
) -> Float[Tensor, "radial orders height width"]:
    """R_n(r) cos mφ and R_n(r) sin mφ at the pixel centres, `[n_radial, 2 m_max + 1, image_size, image_size]`.

    Orders run -m_max .. m_max, sines (of |m|) at negative m, cosines elsewhere; φ turns counter-clockwise from x to the
    right to y upwards, so rotating the image by θ mixes (-m, m) by cos mθ, sin mθ. R_n are Gaussian rings at equal
    distances inside the inscribed disc, zero outside it; the ring at the centre carries order 0 only, where the angle is
    not defined. Every function has unit norm over the pixels, so `einsum` with an image gives its coefficients.

    Raises:
        ValueError: an image of fewer than 2 pixels, a negative order, fewer than one ring, or an order with more than
            half a turn between neighbouring pixels of the outermost ring.
    """
    if image_size < 2 or m_max < 0 or n_radial < 1:
        raise ValueError(
            f"image_size, m_max, n_radial: expected at least 2, 0, 1, given {image_size}, {m_max}, {n_radial}"
        )
    if m_max > math.pi * image_size / 2:
        raise ValueError(
            f"m_max: {m_max} cannot be sampled on {image_size} pixels; at most {int(math.pi * image_size / 2)}"
        )
    return _table(image_size, m_max, n_radial).to(dtype=dtype or torch.float64, device=device, copy=True)


@functools.cache
def _table(image_size: int, m_max: int, n_radial: int) -> Tensor:
    middle = (image_size - 1) / 2
    axis = torch.arange(image_size, dtype=torch.float64) - middle
    x, y = axis[None, :].expand(image_size, -1), -axis[:, None].expand(-1, image_size)
    radius, angle = torch.hypot(x, y), torch.atan2(y, x)
    edge = image_size / 2
    spacing = edge / n_radial
    centres = torch.arange(n_radial, dtype=torch.float64) * spacing
    rings = torch.exp(-((radius - centres[:, None, None]) ** 2) / (2 * (spacing / 2) ** 2)) * (radius <= edge)
    orders = torch.arange(-m_max, m_max + 1, dtype=torch.float64)[:, None, None]
    waves = torch.where(orders < 0, torch.sin(-orders * angle), torch.cos(orders * angle))
    table = rings[:, None] * waves
    if m_max:
        table[0, orders.flatten() != 0] = 0
        table[:, orders.flatten() != 0] = torch.where(radius == 0, 0.0, table[:, orders.flatten() != 0])
    norm = table.flatten(2).norm(dim=-1)[..., None, None]
    return torch.where(norm > 0, table / norm.clamp_min(1e-300), 0.0)
