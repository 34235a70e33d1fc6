"""Cross-entropy that listens less to what is hard: robust to wrong labels, and greedy for the easy attribute."""

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms


@at_least_single
def generalized_cross_entropy(
    logits: Float[Tensor, "batch classes"], label: Int[Tensor, " batch"], *, q: float | int = 0.7
) -> Float[Tensor, ""]:
    """Mean of `(1 - p_label^q) / q`: cross-entropy as q goes to 0, `1 - p_label` at q = 1.

    Z. Zhang, M. Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy Labels", 2018,
    arXiv:1805.07836. Its gradient is that of cross-entropy times p_label^q: samples that are already easy count most.

    Raises:
        ValueError: q outside 0 .. 1.
    """
    if not 0 <= q <= 1:
        raise ValueError(f"q: {q}; allowed: 0 .. 1")
    log_p = -F.cross_entropy(logits, label, reduction="none")
    return (-log_p if q == 0 else -(q * log_p).expm1() / q).mean()


@objectives.register(
    "generalized_cross_entropy",
    summary="a linear classifier that goes with the easy samples",
    paper="arXiv:1805.07836",
)
class GeneralizedCrossEntropy(CrossEntropy):
    """`(1 - p^q) / q` of a linear classifier on the embedding.

    Arguments:
        q: 0 is cross-entropy, 1 the mean absolute error.
    """

    healthy: ClassVar[dict[str, str]] = {
        "generalized_cross_entropy": "starts below 1 / q and falls; staying near it means that no sample is easy"
    }

    def __init__(self, q: float | int = 0.7) -> None:
        super().__init__()
        if not 0 <= q <= 1:
            raise ValueError(f"q: {q}; allowed: 0 .. 1")
        self.q = q

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        logits = self._logits(encoder(batch.x))
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        return LossTerms({"generalized_cross_entropy": generalized_cross_entropy(logits, batch.label, q=self.q)})
