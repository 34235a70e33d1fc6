"""Functions of a distance: a Bessel basis under a smooth cutoff."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def bessel_basis(distance: Float[Tensor, " edges"], cutoff: float, count: int) -> Float[Tensor, "edges count"]:
    """√(2 / c) sin(n π r / c) / r for n = 1 .. count, times the envelope that goes to zero at the cutoff c.

    The envelope 1 - 28 t⁶ + 48 t⁷ - 21 t⁸ (t = r / c) has two vanishing derivatives there, so forces are continuous; beyond
    the cutoff everything is zero. Source: Gasteiger, Groß and Günnemann, "Directional Message Passing for Molecular Graphs",
    2020, arXiv:2003.03123.
    """
    t = distance / cutoff
    order = torch.arange(1, count + 1, dtype=distance.dtype, device=distance.device) * math.pi
    envelope = 1 - 28 * t**6 + 48 * t**7 - 21 * t**8
    wave = torch.sin(order * t[:, None]) * (math.sqrt(2 / cutoff) / distance)[:, None]
    return torch.where(t[:, None] < 1, wave * envelope[:, None], 0.0)
