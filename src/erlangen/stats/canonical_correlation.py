"""Canonical correlations of two representations and the similarities made of them."""

import torch
from jaxtyping import Float
from torch import Tensor


def canonical_correlations(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, ridge: float = 0.0
) -> Float[Tensor, " directions"]:
    """Correlations of the best matching pairs of directions, greatest first, `min(rank x, rank y)` of them.

    Singular values of the whitened cross-covariance. `ridge` is added to the variances relative to their mean; without
    it the correlations do not change under any invertible linear map of either side, and are all 1 for more dimensions
    than samples.

    Source: Hotelling, "Relations between two sets of variates", 1936.
    """
    one, two = _whitened(x, ridge)[0], _whitened(y, ridge)[0]
    _same(x, y)
    return torch.linalg.svdvals(one.T @ two)[: min(one.shape[1], two.shape[1])].clamp(max=1.0)


def mean_cca(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, ridge: float = 0.0
) -> Float[Tensor, ""]:
    """Mean canonical correlation; NaN for a constant representation."""
    return canonical_correlations(x, y, ridge=ridge).mean()


def svcca(
    x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"], *, variance: float = 0.99
) -> Float[Tensor, ""]:
    """Mean canonical correlation between the leading principal components that hold `variance` of either side.

    Source: Raghu et al., "SVCCA: singular vector canonical correlation analysis", 2017, arXiv:1706.05806.
    """
    if not 0 < variance <= 1:
        raise ValueError(f"variance: {variance}; must be between 0 and 1")
    _same(x, y)
    return mean_cca(_leading(x, variance), _leading(y, variance))


def pwcca(x: Float[Tensor, "samples dim1"], y: Float[Tensor, "samples dim2"]) -> Float[Tensor, ""]:
    """Canonical correlations weighted by how much of `x` their directions account for; not symmetric.

    `sum_i a_i rho_i / sum_i a_i` with `a_i = sum_j |<h_i, x_j>|` over the columns of `x` and canonical directions `h_i`
    of `x` in sample space.

    Source: Morcos, Raghu and Bengio, "Insights on representational similarity in neural networks with canonical
    correlation", 2018, arXiv:1806.05759.
    """
    _same(x, y)
    (one, centred), (two, _) = _whitened(x, 0.0), _whitened(y, 0.0)
    if not one.shape[1] or not two.shape[1]:
        return torch.tensor(torch.nan, dtype=torch.float64)
    u, rho, _ = torch.linalg.svd(one.T @ two, full_matrices=False)
    weight = (centred.T @ (one @ u)).abs().sum(0)
    return (weight * rho.clamp(max=1.0)).sum() / weight.sum()


def _same(x: Tensor, y: Tensor) -> None:
    if len(x) != len(y):
        raise ValueError(f"y: {len(y)} rows for {len(x)} rows of x; both must represent the same samples")
    if len(x) < 3:
        raise ValueError(f"x: {len(x)} samples are too few; at least 3 are needed")


def _whitened(x: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the column space `[samples, rank]` (shrunk by the ridge), and the centred rows."""
    if ridge < 0:
        raise ValueError(f"ridge: {ridge}; must not be negative")
    centred = x.double() - x.double().mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    keep = s > s[:1] * max(centred.shape) * torch.finfo(torch.float64).eps
    keep &= s > 1e-7 * x.double().abs().max() if len(s) else keep
    u, s = u[:, keep], s[keep]
    if ridge > 0:
        u = u * (s / (s.square() + ridge * s.square().mean()).sqrt())
    return u, centred


def _leading(x: Tensor, variance: float) -> Tensor:
    centred = x.double() - x.double().mean(0)
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    share = s.square().cumsum(0) / s.square().sum()
    count = int((share < variance - 1e-12).sum()) + 1
    return u[:, :count] * s[:count]
