"""The two losses of a generator that is told the class and of the critic that also reads it.

A. Odena, C. Olah, J. Shlens, "Conditional Image Synthesis with Auxiliary Classifier GANs", 2017, arXiv:1610.09585.
"""

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.objectives.precision import at_least_single
from erlangen.objectives.terms import LossTerms


@at_least_single
def labelled_cross_entropy(logits: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Mean cross-entropy over the samples that have a label (not -1); 0 without any."""
    total = F.cross_entropy(logits, label, ignore_index=-1, reduction="sum")
    return total / (label >= 0).sum().clamp(min=1)


@at_least_single
def ac_gan_critic(
    real: Float[Tensor, " batch"],
    synthetic: Float[Tensor, " others"],
    real_logits: Float[Tensor, "batch classes"],
    real_label: Int[Tensor, " batch"],
    synthetic_logits: Float[Tensor, "others classes"],
    synthetic_label: Int[Tensor, " others"],
    *,
    class_weight: float | int = 1.0,
) -> LossTerms:
    """`source`: -mean log sigmoid(real) - mean log(1 - sigmoid(synthetic)); `class`: cross-entropy on both kinds.

    Arguments:
        real, synthetic: how real the critic takes each image for, before the sigmoid.
        real_label: class numbers, -1 for an image without one, which then counts in `source` only.
        synthetic_label: the classes that the generator was told.
    """
    source = F.softplus(-real).mean() + F.softplus(synthetic).mean()
    classes = labelled_cross_entropy(real_logits, real_label) + labelled_cross_entropy(
        synthetic_logits, synthetic_label
    )
    return LossTerms({"source": source, "class": (classes, class_weight)})


@at_least_single
def ac_gan_generator(
    synthetic: Float[Tensor, " others"],
    logits: Float[Tensor, "others classes"],
    label: Int[Tensor, " others"],
    *,
    class_weight: float | int = 1.0,
) -> LossTerms:
    """`fooling`: -mean log sigmoid(synthetic), the form that does not saturate; `class`: cross-entropy with the class told."""
    return LossTerms(
        {"fooling": F.softplus(-synthetic).mean(), "class": (labelled_cross_entropy(logits, label), class_weight)}
    )
