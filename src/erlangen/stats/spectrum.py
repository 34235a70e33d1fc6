"""How many directions a representation uses."""

import torch
from jaxtyping import Float
from torch import Tensor


def rankme(x: Float[Tensor, "samples dim"], *, epsilon: float = 1e-7) -> Float[Tensor, ""]:
    """RankMe: the exponential of the entropy of the normalised singular values.

    `exp(-sum p ln p)`, `p = s / ||s||_1 + epsilon`, of the rows as they are (not centred), as published. It depends on
    the number of samples: state it.

    Source: Garrido et al., "RankMe: Assessing the downstream performance of pretrained self-supervised
    representations by their rank", 2023, arXiv:2210.02885.
    """
    return _entropy_rank(_singular_values(x), epsilon)


def effective_rank(x: Float[Tensor, "samples dim"]) -> Float[Tensor, ""]:
    """The exponential of the entropy of the singular values of the centred rows.

    Source: Roy and Vetterli, "The effective rank: a measure of effective dimensionality", 2007.
    """
    return _entropy_rank(_singular_values(x.double() - x.double().mean(0)), 0.0)


def participation_ratio(x: Float[Tensor, "samples dim"]) -> Float[Tensor, ""]:
    """`(sum l)^2 / sum l^2` of the eigenvalues l of the covariance: d for white data, 1 for a line."""
    eigenvalues = _singular_values(x.double() - x.double().mean(0)).square()
    return eigenvalues.sum().square() / eigenvalues.square().sum()


def _singular_values(x: Tensor) -> Tensor:
    x = x.double()
    if not bool(torch.isfinite(x).all()):
        return torch.full((min(x.shape),), torch.nan, dtype=torch.float64, device=x.device)
    n, d = x.shape
    if n > 2 * d:  # R of QR has the singular values of x, with none of the squaring of a Gram matrix
        x = torch.linalg.qr(x, mode="r").R
    return torch.linalg.svdvals(x)


def _entropy_rank(s: Tensor, epsilon: float) -> Tensor:
    total = s.sum()
    p = s / total + epsilon
    entropy = -torch.xlogy(p, p).sum()
    return torch.where(total == 0, torch.nan, entropy.exp())
