"""Cubic interpolation of images at arbitrary places."""

import torch
from jaxtyping import Float
from torch import Tensor


def keys_weights(t: Tensor) -> list[Tensor]:
    """Weights of the four neighbours at -1, 0, 1, 2 for a place `t` in [0, 1) past the second."""
    return [
        ((-0.5 * t + 1.0) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1.0,
        ((-1.5 * t + 2.0) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    ]


def sample_bicubic(
    images: Float[Tensor, "count channels height width"],
    column: Float[Tensor, "count out_height out_width"],
    row: Float[Tensor, "count out_height out_width"],
) -> Float[Tensor, "count channels out_height out_width"]:
    """Images at fractional (row, column) places, zero outside.

    The kernel is the third-order one (a = -1/2) of R. Keys, "Cubic convolution interpolation for digital image
    processing", 1981. `torch.nn.functional.grid_sample` uses a = -3/4, which is only first-order: on smooth images it
    is worse than bilinear as soon as they are well resolved.
    """
    height, width = images.shape[-2:]
    left, top = column.floor(), row.floor()
    across, down = keys_weights(column - left), keys_weights(row - top)
    flat = images.flatten(-2)
    total = torch.zeros((), dtype=images.dtype, device=images.device)
    for i in range(4):
        y = top + (i - 1)
        for j in range(4):
            x = left + (j - 1)
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            place = (y.clamp(0, height - 1) * width + x.clamp(0, width - 1)).long()
            index = place.flatten(1)[:, None].expand(-1, images.shape[1], -1)
            value = torch.gather(flat, -1, index).unflatten(-1, tuple(column.shape[-2:]))
            total = total + value * (down[i] * across[j] * inside)[:, None]
    return total
