"""The loss of split invariant-equivariant representations as a function of tensors."""

import torch
from jaxtyping import Float
from torch import Tensor

from erlangen.objectives.terms import LossTerms
from erlangen.objectives.vicreg_terms import invariance_loss, variance_loss, vicreg


def sie(
    first: tuple[Tensor, Tensor],
    second: tuple[Tensor, Tensor],
    predicted: Float[Tensor, "batch eq"],
    *,
    sim: float = 10.0,
    equi: float = 0.45,
    std: float = 10.0,
    cov: float = 1.0,
    gamma: float = 1.0,
    eps: float = 1e-4,
    statistics: tuple[Tensor, Tensor, Tensor] | None = None,
    check_finite: bool = True,
) -> LossTerms:
    """The terms of two views `(z_inv, z_eq)` and the prediction of the second one's z_eq from the first one's.

    sim [mse(z1_inv, z2_inv) + equi mse(predicted, z2_eq)] + std [v(z1) + v(z2)] / 2 + std v(predicted) / 2
    + cov [c(z1) + c(z2)], with v and c those of VICReg on z = [z_inv | z_eq]: what one half says the other need not
    repeat. The variance of the prediction keeps it from collapsing. Without an equivariant half it is VICReg. Q. Garrido,
    L. Najman, Y. LeCun, 2023, arXiv:2302.10283; weights are those of the released code.

    Arguments:
        statistics: z1, z2 and the prediction over which variance and covariance are taken, where that is more than the
            batch at hand: the batch of all processes.

    Raises:
        ValueError: shapes that differ, fewer than two samples, or values that are not finite.
    """
    for name, one, two in (("invariant", first[0], second[0]), ("equivariant", first[1], second[1])):
        if one.shape != two.shape:
            raise ValueError(f"second: its {name} part has shape {tuple(two.shape)}, the first {tuple(one.shape)}")
    whole = statistics or (torch.cat(first, 1), torch.cat(second, 1), predicted)
    terms = vicreg(*whole[:2], sim=0.0, std=std, cov=cov, gamma=gamma, eps=eps, check_finite=check_finite)
    found: dict[str, tuple[Tensor, float]] = {"invariance": (invariance_loss(first[0], second[0]), sim)}
    if predicted.shape[1] > 0:
        found["equivariance"] = (invariance_loss(predicted, second[1]), sim * equi)
        found["variance_predicted"] = (variance_loss(whole[2], gamma=gamma, eps=eps), std / 2)
    found |= {name: (terms[name], terms.weights[name]) for name in ("variance", "covariance")}
    return LossTerms(found)  # type: ignore[arg-type]
