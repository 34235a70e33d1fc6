"""Cross-entropy on logits, for classes and for group elements."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from erlangen.objectives.terms import LossTerms


def _checked(label: Tensor, classes: int) -> Tensor:
    """Labels 0 .. classes - 1 on the device where the check runs without leaving it, or an error."""
    if label.is_floating_point() or label.dtype == torch.bool:
        raise TypeError(f"label: {label.dtype}; give class numbers as integers")
    low, high = (int(bound) for bound in torch.stack(label.aminmax()).tolist()) if label.numel() else (0, 0)
    if low == -1:
        unlabelled = int((label == -1).sum())
        raise ValueError(f"label: {unlabelled} of {len(label)} samples have none (-1); leave them out")
    if low < 0 or high >= classes:
        wrong = low if low < 0 else high
        raise ValueError(f"label: {wrong} is out of range for {classes} classes; allowed: 0 .. {classes - 1}")
    return label.to(torch.int64)


def cross_entropy(
    logits: Float[Tensor, "batch classes"],
    label: Int[Tensor, " batch"],
    *,
    label_smoothing: float = 0.0,
) -> LossTerms:
    """Mean over the batch of -log softmax(logits)[label].

    Raises:
        ValueError: an empty batch, or a label outside 0 .. classes - 1.
    """
    if len(logits) == 0:
        raise ValueError("logits: an empty batch; give at least one sample")
    loss = F.cross_entropy(
        logits if logits.dtype == torch.float64 else logits.float(),
        _checked(label, logits.shape[1]),
        label_smoothing=label_smoothing,
    )
    return LossTerms({"cross_entropy": loss})


def group_prediction(logits: Float[Tensor, "copies elements"], element: Int[Tensor, " copies"]) -> LossTerms:
    """Mean over transformed copies of -log softmax(logits)[g]: which element of the group acted?

    RotNet's loss for the rotations by 90 degrees, here for the elements of any finite group (S. Gidaris, P. Singh,
    N. Komodakis, "Unsupervised Representation Learning by Predicting Image Rotations", 2018, arXiv:1803.07728). Over a
    balanced batch, in which every image appears under every element, an encoder that is invariant under the group
    cannot get below log(order), whatever the head.
    """
    terms = cross_entropy(logits, element)
    return LossTerms({"group_prediction": terms["cross_entropy"]})
