"""How far samples with known log-density are from an unnormalised target."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def reverse_kl(log_density: Float[Tensor, " samples"], log_target: Float[Tensor, " samples"]) -> Float[Tensor, ""]:
    """KL(q ‖ p) - log Z = E_q[log q - log p̃], estimated on samples of q; its gradient goes through the samples.

    `log_target` is log p̃ = log p + log Z at the samples, both densities with respect to the same measure. With a known
    log Z, add it for the divergence itself.

    Raises ValueError for shapes that differ or no samples.
    """
    _check(log_density, log_target)
    return (log_density - log_target).mean()


def effective_sample_size(
    log_density: Float[Tensor, " samples"], log_target: Float[Tensor, " samples"]
) -> Float[Tensor, ""]:
    """(Σ w)² / (N Σ w²) for the importance weights w = p̃ / q of samples of q: in [1/N, 1], 1 where q = p.

    Needs no normalisation of either density.
    """
    _check(log_density, log_target)
    weights = log_target - log_density
    count = math.log(len(weights))
    return torch.exp(2 * torch.logsumexp(weights, 0) - torch.logsumexp(2 * weights, 0) - count)


def _check(log_density: Tensor, log_target: Tensor) -> None:
    if log_density.shape != log_target.shape or not len(log_density):
        raise ValueError(
            f"log_target: shape {tuple(log_target.shape)}, expected that of log_density, {tuple(log_density.shape)}, "
            "with at least one sample"
        )
