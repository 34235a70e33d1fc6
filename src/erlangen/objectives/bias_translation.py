"""The two losses of a translator between the domains that labels name, which learns to move what goes with a label.

A translation network that is told labels as domains learns the easy attribute that goes with them and leaves the hard
content alone: Y. Jung, H. Shim, J. Yang, E. Yang, 2023, arXiv:2112.01021. The losses are those of StarGAN, Y. Choi et
al., 2018, arXiv:1711.09020, with least squares for the adversary and, for the critic's domains, generalised
cross-entropy, which listens to the samples that the easy attribute already explains.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.objectives.generalized_cross_entropy import generalized_cross_entropy
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms


@at_least_single
def critic_terms(
    real: Float[Tensor, "batch ..."],
    translated: Float[Tensor, "batch ..."],
    logits: Float[Tensor, "batch domains"],
    domain: Int[Tensor, " batch"],
    *,
    q: float | int = 0.7,
    domain_weight: float | int = 1.0,
) -> LossTerms:
    """`mean (real - 1)^2 + mean translated^2` and `GCE_q(logits, domain)` of the real images."""
    adversary = (real - 1).square().mean() + translated.square().mean()
    return LossTerms(
        {"adversary": adversary, "domain": (generalized_cross_entropy(logits, domain, q=q), domain_weight)}
    )


@at_least_single
def translator_terms(
    x: Float[Tensor, "batch channels height width"],
    back: Float[Tensor, "batch channels height width"],
    translated: Float[Tensor, "batch ..."],
    logits: Float[Tensor, "batch domains"],
    target: Int[Tensor, " batch"],
    *,
    cycle_weight: float | int = 10.0,
    domain_weight: float | int = 1.0,
) -> LossTerms:
    """`mean (translated - 1)^2`, the cross-entropy of the critic's domains with the target, and `mean |back - x|`.

    Arguments:
        back: x translated to the target and from there to its own domain.
        translated, logits: what the critic says of the translation.
    """
    return LossTerms(
        {
            "fooling": (translated - 1).square().mean(),
            "moving": (F.cross_entropy(logits, target), domain_weight),
            "cycle": ((back - x).abs().mean(), cycle_weight),
        }
    )
