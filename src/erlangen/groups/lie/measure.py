"""Evenly spaced rotations, and weights that turn samples of a known density into Haar measure."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.groups.base import Device
from erlangen.groups.elements import draw_uniform, plane_rotation


def equidistant_rotations(
    count: int, *, generator: torch.Generator | None = None, dtype: torch.dtype | None = None, device: Device = None
) -> Float[Tensor, "count 2 2"]:
    """`count` rotations of the plane at equal steps 2π/count from a random start: no rotation is counted twice.

    (`linspace(-π, π, n)`, as in released code, holds both ends, which are one rotation.) Without a generator the start
    is drawn from torch's global one.

    Raises ValueError unless `count` is at least 1.
    """
    if count < 1:
        raise ValueError(f"count: at least one sample is needed, given {count}")
    start = draw_uniform((1,), generator, device)
    angle = (torch.arange(count, dtype=torch.float64, device=start.device) + start) * (2 * math.pi / count)
    return plane_rotation(torch.remainder(angle + math.pi, 2 * math.pi) - math.pi).to(
        dtype or torch.get_default_dtype()
    )


def importance_weights(log_prob: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
    """Self-normalised weights 1/p of samples with these log-densities: their mean is 1 over the last axis."""
    return torch.softmax(-log_prob, -1) * log_prob.shape[-1]
