"""Initialisations drawn without drawing a weight: given a layer, the next one is exactly Gaussian."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from erlangen.stats.activations import Activation


def sample_networks(
    activation: "str | Activation | Callable[[Tensor], Tensor]",
    depth: int,
    width: int,
    networks: int,
    *,
    C_b: float,
    C_W: float,
    K: float = 1.0,
    residual: float = 0.0,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Tensor:
    """The mean square `mean_i z_i^2` and `mean_i z_i^4` of every layer of many networks, `[2, depth, networks]`.

    One input, layers of equal width: `z^(l+1) | z^(l) ~ N(residual z, C_b + C_W mean_j s(z_j)^2)` for independent
    Gaussian weights and biases, so twenty thousand networks take seconds and every width is exact.
    """
    if min(depth, width, networks) < 1:
        raise ValueError(f"depth, width, networks: {depth}, {width}, {networks}; all must be at least 1")
    activation = Activation(activation)
    z = math.sqrt(K) * torch.randn(networks, width, generator=generator, dtype=dtype)
    moments = []
    for layer in range(depth):
        if layer:
            scale = (C_b + C_W * activation(z).square().mean(1, keepdim=True)).sqrt()
            z = residual * z + scale * torch.randn(networks, width, generator=generator, dtype=dtype)
        square = z.square()
        moments.append(torch.stack([square.mean(1), square.square().mean(1)]))
    return torch.stack(moments, 1)
