"""Debiasing without views: a second classifier takes the easy way, and what it gets wrong counts more for the first."""

import copy
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from erlangen._registry import objectives
from erlangen.data.batch import PairBatch
from erlangen.objectives.generalized_cross_entropy import generalized_cross_entropy
from erlangen.objectives.group_dro import sample_losses
from erlangen.objectives.precision import at_least_single
from erlangen.objectives.supervised import CrossEntropy
from erlangen.objectives.terms import LossTerms


@at_least_single
def relative_difficulty(biased: Float[Tensor, " batch"], debiased: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """`biased / (biased + debiased)` of two losses of each sample, without a graph; 1/2 where both are 0."""
    biased, debiased = biased.detach(), debiased.detach()
    tiny = torch.finfo(biased.dtype).tiny
    return (biased + tiny) / (biased + debiased + 2 * tiny)


@objectives.register(
    "learning_from_failure",
    summary="a biased classifier beside the classifier says which samples are hard for the easy attribute",
    paper="arXiv:2007.02561",
)
class LearningFromFailure(CrossEntropy):
    """`mean w CE(x) + mean GCE_q(x)`, the second of a biased network, with `w = CE_biased / (CE_biased + CE)`.

    The biased network is a copy of the encoder with a classifier of its own, trained by generalised cross-entropy, which
    goes by what is easy; samples that it gets wrong weigh most in the other. Where no sample contradicts the easy
    attribute there is nothing to weigh. J. Nam, H. Cha, S. Ahn, J. Lee, J. Shin, "Learning from Failure: Training Debiased
    Classifier from Biased Classifier", 2020, arXiv:2007.02561. The weights are the paper's equation on the batch's own
    losses; the released code takes running means of every sample's losses, divided by the largest of its class. Both
    networks start from the same weights.

    Arguments:
        q: of the generalised cross-entropy.
    """

    healthy: ClassVar[dict[str, str]] = {
        "weighted": "starts near log(classes) / 2 and falls",
        "biased": "falls; at once where there is an easy attribute",
        "conflict_weight": "the mean weight of a sample, 0 to 1; it rises where the biased network fails",
    }

    def __init__(self, q: float | int = 0.7) -> None:
        super().__init__()
        if not 0 <= q <= 1:
            raise ValueError(f"q: {q}; allowed: 0 .. 1")
        self.q = q
        self.biased: nn.Module | None = None
        self.biased_head: nn.Linear | None = None

    def attach(self, encoder: nn.Module, sample: Tensor) -> None:
        """Copy the encoder and the classifier."""
        if self.biased is None:
            if self.head is None:
                raise RuntimeError("objective: call setup(embedding_dim=..., num_classes=...) before attach")
            self.biased = copy.deepcopy(encoder).train(self.training)
            self.biased_head = copy.deepcopy(self.head)

    def _losses(self, encoder: nn.Module, batch: PairBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy of both networks sample by sample, and the biased network's logits."""
        if batch.label is None:
            raise ValueError("label: the batch has none; cross-entropy needs labels")
        if self.biased is None or self.biased_head is None:
            raise RuntimeError("objective: call setup(...) and attach(encoder, sample) before the first batch")
        logits, theirs = self._logits(encoder(batch.x)), self.biased_head(self.biased(batch.x))
        own, biased = (sample_losses(z, batch.label) for z in (logits, theirs))
        return own, biased, theirs

    def forward(self, encoder: nn.Module, batch: PairBatch) -> LossTerms:
        own, biased, theirs = self._losses(encoder, batch)
        assert batch.label is not None
        return LossTerms(
            {
                "weighted": (relative_difficulty(biased, own) * own).mean(),
                "biased": generalized_cross_entropy(theirs, batch.label, q=self.q),
            }
        )

    @torch.no_grad()
    def metrics(self, encoder: nn.Module, batch: PairBatch) -> dict[str, Tensor]:
        """The share of right answers and the mean weight."""
        if batch.label is None:
            return {}
        own, biased, _ = self._losses(encoder, batch)
        return {**super().metrics(encoder, batch), "conflict_weight": relative_difficulty(biased, own).mean()}
